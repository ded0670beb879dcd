package pair

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"holdfast/internal/environment"
	"holdfast/internal/ui"
	"holdfast/stacks/secrets"
)

// readSecrets opens the environment's secrets and refuses those that a service
// could not take or that anyone could know, in holdfast.yml too.
func readSecrets(env *environment.Environment, identityFiles []string) (*secrets.File, error) {
	file, _, err := openSecrets(env, identityFiles)
	if err != nil {
		return nil, err
	}
	set := file.Wanted()
	var wrong environment.Errors
	for _, use := range env.SecretUses() {
		if len(set.Missing(use.Name)) > 0 {
			wrong = append(wrong, env.ErrorAt(use.Path, "secrets.age holds no "+use.Name, "add it: `holdfast secrets edit --set "+use.Name+"`"))
		}
	}
	wrong = append(wrong, publishedIn(env)...)
	if len(wrong) > 0 {
		return nil, wrong
	}
	if problems := secrets.Check(set, time.Now()); len(problems) > 0 {
		return nil, problemsError(env, problems)
	}
	return file, nil
}

// openSecrets reads secrets.age, with the identities that open it.
func openSecrets(env *environment.Environment, identityFiles []string) (*secrets.File, []age.Identity, error) {
	identities, err := secrets.Identities(identityFiles, askPassphrase)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", env.SecretsPath(), err)
	}
	file, err := secrets.Load(env.SecretsPath(), identities)
	return file, identities, err
}

func problemsError(env *environment.Environment, problems []secrets.Problem) error {
	var texts []string
	for _, p := range problems {
		texts = append(texts, p.String())
	}
	return ui.Hint(fmt.Errorf("%s can't be used: %s", env.SecretsPath(), strings.Join(texts, "; ")),
		"`holdfast secrets edit` changes your own; `holdfast secrets rotate NAME` makes one anew")
}

// publishedIn returns an error for each value of holdfast.yml that anyone can
// look up in upstream's examples.
func publishedIn(env *environment.Environment) []environment.Error {
	var wrong []environment.Error
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(v.Elem(), path)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
				walk(v.Field(i), strings.TrimPrefix(path+"."+name, "."))
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i), fmt.Sprintf("%s[%d]", path, i))
			}
		case reflect.Map:
			for _, key := range v.MapKeys() {
				walk(v.MapIndex(key), path+"."+key.String())
			}
		case reflect.String:
			if where := secrets.PublishedIn(v.String()); where != "" {
				wrong = append(wrong, env.ErrorAt(path, "it holds a value that is published in "+where+": anyone can look it up",
					"make one of your own; a secret belongs into secrets.age (`holdfast secrets edit`)"))
			}
		}
	}
	walk(reflect.ValueOf(env.Config), "")
	return wrong
}

// saveSecrets encrypts the secrets to secrets.recipients.
func saveSecrets(env *environment.Environment, file *secrets.File) error {
	lines, err := env.SecretRecipients()
	if err != nil {
		return err
	}
	recipients, err := secrets.Recipients(lines)
	if err != nil {
		return err
	}
	return secrets.Save(env.SecretsPath(), file, recipients)
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
	file := &secrets.File{}
	if _, err := os.Stat(env.SecretsPath()); err == nil {
		if file, _, err = openSecrets(env, identityFiles); err != nil {
			return false, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	set, err := secrets.Generate(file.Set, time.Now())
	if err != nil {
		return false, err
	}
	if len(file.Set) > 0 && len(set) == len(file.Set) {
		return false, nil
	}
	file.Put(set, time.Now())
	return true, saveSecrets(env, file)
}

// Vault is the secrets of an environment, opened to be looked at and changed
// without a server.
type Vault struct {
	env        *environment.Environment
	file       *secrets.File
	identities []age.Identity
}

// OpenVault opens the secrets of the environment folder in dir. What is wrong with
// single values is no error: they are opened to be mended. Every error wraps
// ErrConfig.
func OpenVault(dir string, identityFiles []string, u *ui.UI) (*Vault, error) {
	env, err := environment.Load(dir)
	if err != nil {
		return nil, configError{err}
	}
	file, identities, err := openSecrets(env, identityFiles)
	if err != nil {
		return nil, configError{err}
	}
	u.Redact(file.Set.Values())
	u.Redact(file.Wanted().Values())
	return &Vault{env, file, identities}, nil
}

// List describes the secrets that the environment's stacks need, and the user's own.
func (v *Vault) List() []secrets.Entry {
	uses := map[string][]string{}
	for _, use := range v.env.SecretUses() {
		uses[use.Name] = append(uses[use.Name], strings.TrimPrefix(use.Path, "stacks."))
	}
	return slices.DeleteFunc(v.file.List(uses), func(e secrets.Entry) bool {
		return e.Missing && !v.declares(e.Stack)
	})
}

// declares reports whether the environment has the stack that a secret is of.
func (v *Vault) declares(stack string) bool {
	switch stack {
	case "supabase":
		return v.env.Stacks.Supabase != nil
	case "trigger":
		return v.env.Stacks.Trigger != nil
	}
	return true
}

// Text returns the secrets in the form in which a person edits them. It fails
// while a rotation is unfinished: an edit could not be written then.
func (v *Vault) Text() ([]byte, error) {
	if v.file.Rotation != nil {
		return nil, configError{unfinished(v.file.Rotation)}
	}
	return v.file.Text()
}

// A Revision is what an edit changes.
type Revision struct {
	Added, Changed, Removed []string
	// Rotating are those of Changed that a running database has to follow, and what
	// is derived from them: the next deploy does it.
	Rotating []string
	values   secrets.Set
}

// Empty reports whether nothing changes.
func (r *Revision) Empty() bool { return len(r.Added)+len(r.Changed)+len(r.Removed) == 0 }

// ReviseText compares an edited text with what is there.
func (v *Vault) ReviseText(text []byte) (*Revision, error) {
	set, err := secrets.ParseText(text)
	if err != nil {
		return nil, configError{err}
	}
	return v.Revise(set)
}

// ReviseOne is Revise for one secret; an empty value removes it.
func (v *Vault) ReviseOne(name, value string) (*Revision, error) {
	set := secrets.Set{}
	for n, old := range v.file.Set {
		if n != name {
			set[n] = old
		}
	}
	if value != "" {
		set[name] = value
	} else if _, there := v.file.Set[name]; !there {
		return nil, configError{ui.Hint(fmt.Errorf("there is no secret %s to remove", name), "`holdfast secrets list` shows them")}
	}
	return v.Revise(set)
}

// Revise says what it would mean to have set in place of the present secrets, or
// why it can't be: a name or value against the rules, a published value, one that
// is needed and was removed. Its errors never hold a value and wrap ErrConfig.
func (v *Vault) Revise(set secrets.Set) (*Revision, error) {
	r := &Revision{values: secrets.Set{}}
	for _, name := range set.Names() {
		old, had := v.file.Set[name]
		switch {
		case !secrets.ValidName(name):
			return nil, configError{fmt.Errorf("%q is no name for a secret: upper-case letters, digits and \"_\"", name)}
		case !had:
			r.Added = append(r.Added, name)
		case old != set[name]:
			r.Changed = append(r.Changed, name)
		default:
			continue
		}
		r.values[name] = set[name]
	}
	for _, name := range v.file.Set.Names() {
		if _, kept := set[name]; !kept {
			r.Removed = append(r.Removed, name)
		}
	}
	if r.Empty() {
		return r, nil
	}
	if v.file.Rotation != nil {
		return nil, configError{unfinished(v.file.Rotation)}
	}
	for _, name := range r.Removed {
		if secrets.Known(name) && v.file.Set[name] != "" {
			return nil, configError{ui.Hint(fmt.Errorf("%s is needed by the stacks and can't be removed", name),
				"`holdfast secrets rotate "+name+"` replaces its value")}
		}
		for _, use := range v.env.SecretUses() {
			if use.Name == name {
				return nil, configError{environment.Errors{v.env.ErrorAt(use.Path, "it names "+name+", which can't be removed as long as it does", "")}}
			}
		}
	}
	followed, err := v.file.Follow(r.values, time.Now())
	if err != nil {
		return nil, configError{err}
	}
	for name := range followed {
		r.values[name] = followed[name]
	}
	if slices.ContainsFunc(r.Changed, secrets.Involved) {
		r.Rotating = followed.Names()
	}
	// What was wrong before is being mended, or another day's work.
	before := secrets.Check(v.file.Set, time.Now())
	problems := slices.DeleteFunc(secrets.Check(r.applied(v.file, set), time.Now()), func(p secrets.Problem) bool {
		_, touched := r.values[p.Name]
		return !touched && slices.Contains(before, p)
	})
	if len(problems) > 0 {
		return nil, configError{problemsError(v.env, problems)}
	}
	return r, nil
}

// applied is the set that a revision ends in.
func (r *Revision) applied(file *secrets.File, set secrets.Set) secrets.Set {
	next := secrets.Set{}
	for name := range set {
		next[name] = set[name]
	}
	for name := range r.values {
		next[name] = r.values[name]
	}
	return next
}

// Apply writes a revision. What a running database has to follow is noted as a
// rotation, which the next deploy carries out.
func (v *Vault) Apply(r *Revision) error {
	now := time.Now()
	for _, name := range r.Removed {
		v.file.Remove(name)
	}
	if len(r.Rotating) > 0 {
		v.file.Begin(r.values, now)
	} else {
		v.file.Put(r.values, now)
	}
	if err := saveSecrets(v.env, v.file); err != nil {
		return configError{err}
	}
	return nil
}

// Recipients returns the public keys that secrets.age is encrypted to, as they
// stand in secrets.recipients.
func (v *Vault) Recipients() ([]string, error) {
	lines, err := v.env.SecretRecipients()
	if err != nil {
		return nil, configError{err}
	}
	return lines, nil
}

// AddRecipient lets the holder of a public key open the secrets. The key may be an
// age or SSH public key or the path of a file that holds one.
func (v *Vault) AddRecipient(key string) (string, error) {
	if data, err := os.ReadFile(key); err == nil {
		key = strings.TrimSpace(string(data))
	}
	if _, err := secrets.Recipients([]string{key}); err != nil {
		return "", configError{err}
	}
	if strings.Contains(key, "\n") {
		return "", configError{errors.New("add a recipient: one public key at a time")}
	}
	err := v.readdress(func(lines []string) ([]string, error) {
		if i := slices.IndexFunc(lines, func(l string) bool { return sameKey(l, key) }); i >= 0 {
			return lines, nil
		}
		return append(lines, key), nil
	})
	return key, err
}

// RemoveRecipient takes away what the next version of the secrets is encrypted to.
// key is a recipient's public key or the comment behind it.
func (v *Vault) RemoveRecipient(key string) (removed string, err error) {
	err = v.readdress(func(lines []string) ([]string, error) {
		var found []int
		for i, l := range lines {
			if l = strings.TrimSpace(l); l != "" && l[0] != '#' && (sameKey(l, key) || strings.HasSuffix(l, " "+key)) {
				found = append(found, i)
			}
		}
		switch len(found) {
		case 1:
			removed = strings.TrimSpace(lines[found[0]])
			return slices.Delete(slices.Clone(lines), found[0], found[0]+1), nil
		case 0:
			return nil, ui.Hint(fmt.Errorf("no recipient is %q", key), "`holdfast secrets recipients` shows them")
		}
		return nil, ui.Hint(fmt.Errorf("%d recipients are called %q", len(found), key), "name one by its key")
	})
	return removed, err
}

// readdress changes secrets.recipients and encrypts the secrets to the new list.
// secrets.age comes first: a run that is killed in between is repeated by the same
// command, and nobody who was removed stays unnoticed.
func (v *Vault) readdress(change func(lines []string) ([]string, error)) error {
	path := v.env.RecipientsPath()
	data, err := os.ReadFile(path)
	if err != nil {
		return configError{err}
	}
	lines, err := change(strings.Split(strings.TrimRight(string(data), "\n"), "\n"))
	if err != nil {
		return configError{err}
	}
	recipients, err := secrets.Recipients(lines)
	if err != nil {
		return configError{err}
	}
	if err := secrets.Opens(v.identities, recipients); err != nil {
		return configError{ui.Hint(errors.New("you could not open the secrets any more: none of your identities would be among the recipients"),
			"add another key of yours first, or have somebody else do it")}
	}
	if err := secrets.Save(v.env.SecretsPath(), v.file, recipients); err != nil {
		return configError{err}
	}
	if text := strings.Join(lines, "\n") + "\n"; text != string(data) {
		temp := path + ".new"
		if err := errors.Join(os.WriteFile(temp, []byte(text), 0o644), os.Rename(temp, path)); err != nil {
			return configError{fmt.Errorf("write %s: %w", path, err)}
		}
	}
	return nil
}

// sameKey compares two recipients without their comments.
func sameKey(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	n := 1
	if len(x) > 1 && strings.HasPrefix(x[0], "ssh-") {
		n = 2
	}
	return len(x) >= n && len(y) >= n && slices.Equal(x[:n], y[:n])
}
