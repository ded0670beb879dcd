package lock

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/crypto/bcrypt"
)

// A real registry: Debian's docker-registry, the program behind most of those
// that people run, on this machine's loopback with a folder of its own.
type realRegistry struct {
	host   string
	config string
	cmd    *exec.Cmd
}

const user, password = "ada", "correct horse"

func startRegistry(t *testing.T) *realRegistry {
	t.Helper()
	if _, err := exec.LookPath("docker-registry"); err != nil {
		t.Skip("docker-registry is not installed: locking goes untried against a real registry (.ci/setup installs it)")
	}
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "htpasswd"), user+":"+string(hash)+"\n")
	r := &realRegistry{host: freePort(t), config: filepath.Join(dir, "config.yml")}
	write(t, r.config, fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}
http: {addr: %s}
auth: {htpasswd: {realm: test, path: %s}}
`, filepath.Join(dir, "data"), r.host, filepath.Join(dir, "htpasswd")))
	r.start(t)
	t.Cleanup(r.stop)
	return r
}

func (r *realRegistry) start(t *testing.T) {
	t.Helper()
	r.cmd = exec.Command("docker-registry", "serve", r.config)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		response, err := http.Get("http://" + r.host + "/v2/")
		if err == nil {
			response.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("docker-registry does not answer: %v", err)
		}
	}
}

func (r *realRegistry) stop() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

func (r *realRegistry) push(t *testing.T, ref string, image remote.Taggable) {
	t.Helper()
	push(t, r.host+"/"+ref, image, remote.WithAuth(&authn.Basic{Username: user, Password: password}))
}

// login writes a Docker config that knows the registry, as docker login does.
func (r *realRegistry) login(t *testing.T, password string) {
	t.Helper()
	dir := t.TempDir()
	config, err := json.Marshal(map[string]any{"auths": map[string]any{r.host: map[string]string{
		"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.json"), string(config))
	t.Setenv("DOCKER_CONFIG", dir)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// refused checks an error and its hint, word by word.
func refused(t *testing.T, err error, message, hint string) {
	t.Helper()
	var failures Failures
	if !errors.As(err, &failures) {
		t.Fatalf("got %v, want Failures", err)
	}
	if failures.Error() != message || failures.Hint() != hint {
		t.Errorf("got  %s\n     (%s)\nwant %s\n     (%s)", failures.Error(), failures.Hint(), message, hint)
	}
	if strings.Contains(err.Error(), password) {
		t.Error("the error shows the password")
	}
}

func TestARealRegistry(t *testing.T) {
	r := startRegistry(t)
	first, second := made(t, "linux/amd64"), made(t, "linux/amd64")
	r.push(t, "web:1.4.2", index(t, map[string]v1.Image{"linux/amd64": first, "linux/arm64": made(t, "linux/arm64")}))
	r.push(t, "team/jobs:2.0.0", made(t, "linux/arm64"))
	web, jobs := r.host+"/web:1.4.2", r.host+"/team/jobs:2.0.0"
	amd := Resolver{Platform: "linux/amd64"}
	r.login(t, password)

	dir := t.TempDir()
	resolved, err := amd.Resolve(t.Context(), []string{web})
	if err != nil {
		t.Fatal(err)
	}
	if resolved[0].Digest != digestOf(t, first) {
		t.Errorf("got %s, want %s", resolved[0].Digest, digestOf(t, first))
	}
	renewed, _ := Lock{}.Renew(resolved)
	if err := Write(dir, renewed); err != nil {
		t.Fatal(err)
	}

	t.Run("an image for another platform", func(t *testing.T) {
		_, err := amd.Resolve(t.Context(), []string{jobs})
		refused(t, err, "resolve "+jobs+": there is no image for linux/amd64; it is made for linux/arm64",
			"choose a tag that is, or set servers.production.platform if the server is of that kind")
	})
	t.Run("a tag that is not there", func(t *testing.T) {
		_, err := amd.Resolve(t.Context(), []string{r.host + "/web:1.4.3"})
		refused(t, err, "resolve "+r.host+"/web:1.4.3: registry "+r.host+` has no tag "1.4.3" of web`, "did you mean 1.4.2?")
	})
	t.Run("an image that is not there", func(t *testing.T) {
		_, err := amd.Resolve(t.Context(), []string{r.host + "/wbe:1.4.2"})
		refused(t, err, "resolve "+r.host+"/wbe:1.4.2: registry "+r.host+` has no tag "1.4.2" of wbe`,
			"check the name: the registry lists no tags for it")
	})
	t.Run("wrong credentials, and none", func(t *testing.T) {
		r.login(t, "wrong")
		_, err := amd.Resolve(t.Context(), []string{web})
		refused(t, err, "resolve "+web+": registry "+r.host+" refused the login, or wants one (401)", "`docker login "+r.host+"`")
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		_, err = amd.Resolve(t.Context(), []string{web})
		refused(t, err, "resolve "+web+": registry "+r.host+" refused the login, or wants one (401)", "`docker login "+r.host+"`")
	})
	t.Run("through a mirror", func(t *testing.T) {
		r.push(t, "docker.io/library/caddy:2.11.4", first)
		got, err := Resolver{Platform: "linux/amd64", Mirror: r.host}.Resolve(t.Context(), []string{"caddy:2.11.4", web})
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Ref() != "caddy:2.11.4" || got[0].Digest != digestOf(t, first) || got[1].Digest != digestOf(t, first) {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("a tag that moved", func(t *testing.T) {
		r.push(t, "web:1.4.2", index(t, map[string]v1.Image{"linux/amd64": first, "linux/arm64": made(t, "linux/arm64")}))
		again, err := amd.Resolve(t.Context(), []string{web})
		if err != nil {
			t.Fatal(err)
		}
		if same, changes := renewed.Renew(again); len(changes) > 0 || !cmp.Equal(same, renewed) {
			t.Errorf("another platform's image was made anew, and the lock changed: %v", changes)
		}
		r.push(t, "web:1.4.2", index(t, map[string]v1.Image{"linux/amd64": second}))
		moved, err := amd.Resolve(t.Context(), []string{web})
		if err != nil {
			t.Fatal(err)
		}
		_, changes := renewed.Renew(moved)
		if len(changes) != 1 || changes[0].Kind != Moved || changes[0].Old != digestOf(t, first) || changes[0].New != digestOf(t, second) {
			t.Errorf("got %+v", changes)
		}
		if Refuse(changes, nil) == nil {
			t.Error("a tag that moved was not refused")
		}
	})
	t.Run("a registry that is down", func(t *testing.T) {
		r.stop()
		defer r.start(t)
		started := time.Now()
		_, err := amd.Resolve(t.Context(), []string{web, jobs})
		var failures Failures
		if !errors.As(err, &failures) || len(failures) != 1 || len(failures[0].Refs) != 2 {
			t.Fatalf("got %v, want one reason for both images", err)
		}
		for _, want := range []string{"resolve " + web + ", " + jobs + ": registry " + r.host + " can't be reached", "connection refused"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		if took := time.Since(started); took > 15*time.Second {
			t.Errorf("it took %s", took)
		}
		if kept, err := Read(dir); err != nil || !cmp.Equal(kept, renewed) {
			t.Errorf("the lock became %+v, %v", kept, err)
		}
	})
}
