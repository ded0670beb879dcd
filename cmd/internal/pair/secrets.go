package pair

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"holdfast/internal/environment"
	"holdfast/stacks/secrets"
)

// readSecrets opens the environment's secrets and refuses those that a service
// could not take or that anyone could know.
func readSecrets(env *environment.Environment, identityFiles []string) (secrets.Set, error) {
	identities, err := secrets.Identities(identityFiles, askPassphrase)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", env.SecretsPath(), err)
	}
	set, err := secrets.Load(env.SecretsPath(), identities)
	if err != nil {
		return nil, err
	}
	var missing environment.Errors
	for _, use := range env.SecretUses() {
		if len(set.Missing(use.Name)) > 0 {
			missing = append(missing, env.ErrorAt(use.Path, "secrets.age holds no "+use.Name, "add it: age -d "+env.SecretsPath()+", a line NAME: value, and encrypt it again to secrets.recipients"))
		}
	}
	if len(missing) > 0 {
		return nil, missing
	}
	if problems := secrets.Check(set, time.Now()); len(problems) > 0 {
		var texts []string
		for _, p := range problems {
			texts = append(texts, p.String())
		}
		return nil, fmt.Errorf("%s can't be used: %s", env.SecretsPath(), strings.Join(texts, "; "))
	}
	return set, nil
}

// InitSecrets generates what is missing in the environment's secrets.age and
// encrypts it to secrets.recipients. It reports whether it wrote the file; one
// that lacks nothing is left as it is.
func InitSecrets(dir string, identityFiles []string) (bool, error) {
	written, err := initSecrets(dir, identityFiles)
	if err != nil {
		return false, configError{err}
	}
	return written, nil
}

func initSecrets(dir string, identityFiles []string) (bool, error) {
	env, err := environment.Load(dir)
	if err != nil {
		return false, err
	}
	existing := secrets.Set{}
	if _, err := os.Stat(env.SecretsPath()); err == nil {
		identities, err := secrets.Identities(identityFiles, askPassphrase)
		if err != nil {
			return false, fmt.Errorf("open %s: %w", env.SecretsPath(), err)
		}
		if existing, err = secrets.Load(env.SecretsPath(), identities); err != nil {
			return false, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	set, err := secrets.Generate(existing, time.Now())
	if err != nil {
		return false, err
	}
	if len(existing) > 0 && len(set) == len(existing) {
		return false, nil
	}
	lines, err := env.SecretRecipients()
	if err != nil {
		return false, err
	}
	recipients, err := secrets.Recipients(lines)
	if err != nil {
		return false, err
	}
	return true, secrets.Save(env.SecretsPath(), set, recipients)
}
