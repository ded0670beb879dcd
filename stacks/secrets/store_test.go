package secrets

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/google/go-cmp/cmp"
)

// odd holds values that a careless format would change.
var odd = Set{
	"EMPTY": "", "SPACES": "  a  ", "QUOTES": `"a" 'b' \c`, "LINES": "-----BEGIN X-----\nab\n-----END X-----\n",
	"YAML": "a: b # c", "NUMBER": "0123", "TRUE": "yes", "NULL": "~", "DOLLAR": "$HOME ${X} `id`", "UNICODE": "päß\u202e☃\U0001f600\x7f\u0085",
}

// key is one way to open a file: a public line and the file of the private half.
type key struct{ recipient, path string }

func sshKey(t *testing.T, kind, passphrase string, more ...string) key {
	t.Helper()
	path := filepath.Join(t.TempDir(), "id_"+kind)
	args := append([]string{"-q", "-t", kind, "-N", passphrase, "-C", "ada@laptop", "-f", path}, more...)
	if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	line, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return key{strings.TrimSpace(string(line)), path}
}

func ageKey(t *testing.T) key {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new", "identity.txt")
	recipient, err := NewIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	return key{recipient, path}
}

func identities(t *testing.T, passphrase string, paths ...string) []age.Identity {
	t.Helper()
	ids, err := Identities(paths, func(string) ([]byte, error) { return []byte(passphrase), nil })
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func saved(t *testing.T, set Set, keys ...key) string {
	t.Helper()
	var lines []string
	for _, k := range keys {
		lines = append(lines, k.recipient)
	}
	recipients, err := Recipients(lines)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "secrets.age")
	if err := Save(path, &File{Set: set}, recipients); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatIsSavedIsLoadedByEveryKindOfKey(t *testing.T) {
	set := generated(t)
	maps.Copy(set, odd)
	for name, k := range map[string]key{
		"age":                   ageKey(t),
		"ssh ed25519":           sshKey(t, "ed25519", ""),
		"ssh rsa":               sshKey(t, "rsa", ""),
		"ssh rsa, old PEM":      sshKey(t, "rsa", "", "-m", "PEM"),
		"ssh ed25519 encrypted": sshKey(t, "ed25519", "open sesame"),
		"ssh rsa encrypted PEM": sshKey(t, "rsa", "open sesame", "-m", "PEM"),
	} {
		t.Run(name, func(t *testing.T) {
			path := saved(t, set, ageKey(t), k)
			got, err := Load(path, identities(t, "open sesame", k.path))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(set, got.Set); diff != "" {
				t.Error(diff)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
		})
	}
}

// TestTheAgeToolOpensOurFilesAndWeOpenIts is principle 7: the file must stay
// readable when Holdfast is gone.
func TestTheAgeToolOpensOurFilesAndWeOpenIts(t *testing.T) {
	set := Set{"JWT_SECRET": "a+b/c=", "LINES": "a\nb"}
	for name, k := range map[string]key{"age": ageKey(t), "ssh ed25519": sshKey(t, "ed25519", ""), "ssh rsa": sshKey(t, "rsa", "")} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command("age", "--decrypt", "-i", k.path, saved(t, set, k)).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			want := heading + "JWT_SECRET: \"a+b/c=\"\nLINES: \"a\\nb\"\n"
			if diff := cmp.Diff(want, string(out)); diff != "" {
				t.Error(diff)
			}

			for _, format := range [][]string{nil, {"--armor"}} {
				path := filepath.Join(t.TempDir(), "secrets.age")
				command := exec.Command("age", append(format, "-r", k.recipient, "-o", path)...)
				command.Stdin = strings.NewReader("# mine\nB: plain\nA: 'single'\nC: 0123\nD: |\n  two\n  lines\nE:\n")
				if out, err := command.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				got, err := Load(path, identities(t, "", k.path))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(Set{"A": "single", "B": "plain", "C": "0123", "D": "two\nlines\n", "E": ""}, got.Set); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestAgeKeygenReadsANewIdentity(t *testing.T) {
	k := ageKey(t)
	out, err := exec.Command("age-keygen", "-y", k.path).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != k.recipient {
		t.Errorf("%v: %s", err, out)
	}
	if info, _ := os.Stat(k.path); info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestANewIdentityNeverReplacesOneThatIsThere(t *testing.T) {
	k := ageKey(t)
	before, err := os.ReadFile(k.path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := NewIdentity(k.path); err != nil || again != k.recipient {
		t.Errorf("got %q, %v, want the recipient of the one that is there", again, err)
	}
	if after, err := os.ReadFile(k.path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file changed (%v)", err)
	}
	if _, err := NewIdentity(sshKey(t, "ed25519", "").path); err == nil {
		t.Error("an SSH key was taken for an age identity")
	}
}

func TestAnIdentityFileCanItselfBeEncrypted(t *testing.T) {
	k := ageKey(t)
	plain, err := os.ReadFile(k.path)
	if err != nil {
		t.Fatal(err)
	}
	recipient, err := age.NewScryptRecipient("open sesame")
	if err != nil {
		t.Fatal(err)
	}
	recipient.SetWorkFactor(10)
	var b bytes.Buffer
	text := armor.NewWriter(&b)
	w, err := age.Encrypt(text, recipient)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(plain)
	if err := errors.Join(w.Close(), text.Close()); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(t.TempDir(), "identity.age")
	if err := os.WriteFile(locked, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	path := saved(t, Set{"A": "1"}, k)
	if got, err := Load(path, identities(t, "open sesame", locked)); err != nil || got.Set["A"] != "1" {
		t.Errorf("%v %v", got, err)
	}
	_, err = Load(path, identities(t, "wrong", locked))
	if want := "use identity " + locked + ": the passphrase is wrong"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want it to contain %q", err, want)
	}
}

func TestSaveIsAtomicAndWritesTheSameTextForTheSameSet(t *testing.T) {
	k := ageKey(t)
	path := saved(t, Set{"B": "1", "A": "2"}, k)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	recipients, err := Recipients([]string{k.recipient})
	if err != nil {
		t.Fatal(err)
	}
	for name, wrong := range map[string]Set{
		"a name with a line feed": {"A\nB": "x"},
		"lower case":              {"a": "x"},
		"bytes that are no text":  {"A": "\xff"},
		"NUL":                     {"A": "\x00"},
		"too much":                {"A": strings.Repeat("x", maxPlain)},
	} {
		if err := Save(path, &File{Set: wrong}, recipients); err == nil {
			t.Errorf("%s was saved", name)
		}
	}
	if err := Save(path, &File{}, nil); err == nil || !strings.Contains(err.Error(), "nobody could open them") {
		t.Errorf("saved for nobody: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a failed save changed the file (%v)", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("a failed save left %v (%v)", entries, err)
	}
	a, errA := marshal(&File{Set: Set{"B": "1", "A": "2"}})
	b, errB := marshal(&File{Set: Set{"A": "2", "B": "1"}})
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Error("the text depends on the order of the map")
	}
}

func TestLoadSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	k, other := ageKey(t), sshKey(t, "ed25519", "")
	path := saved(t, Set{"A": "hunter2"}, k)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	locked := sshKey(t, "ed25519", "open sesame")
	lockedFile := saved(t, Set{"A": "hunter2"}, locked)
	file := func(content []byte) string {
		name := filepath.Join(t.TempDir(), "secrets.age")
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	plainAge := func(text string) string {
		recipient, err := age.ParseX25519Recipient(k.recipient)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		w, err := age.Encrypt(&b, recipient)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(text))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return file(b.Bytes())
	}
	ids := identities(t, "", k.path)
	for name, c := range map[string]struct {
		path string
		ids  []age.Identity
		is   error
		want string
		hint bool
	}{
		"no file":              {filepath.Join(t.TempDir(), "secrets.age"), ids, fs.ErrNotExist, "there are no secrets yet", true},
		"no identity":          {path, nil, ErrNoIdentity, "no identity", true},
		"another's identity":   {path, identities(t, "", other.path), ErrWrongIdentity, "it was not encrypted to " + other.path, true},
		"a wrong passphrase":   {lockedFile, identities(t, "wrong", locked.path), nil, "use identity " + locked.path, false},
		"not an age file":      {file([]byte("A: hunter2\n")), ids, ErrDamaged, "is no age file", true},
		"an empty file":        {file(nil), ids, ErrDamaged, "is no age file", true},
		"cut":                  {file(good[:len(good)-60]), ids, ErrDamaged, "damaged", true},
		"no YAML":              {plainAge("A: \"hunter2\nB"), ids, nil, "they are not YAML", false},
		"a list":               {plainAge("- hunter2\n"), ids, nil, "they are not a list of NAME: value", false},
		"a value that nests":   {plainAge("A: {b: hunter2}\n"), ids, nil, "line 1: the value of A is not text", false},
		"a name twice":         {plainAge("A: hunter2\nA: b\n"), ids, nil, "line 2: A is there twice", false},
		"a name in lower case": {plainAge("A: b\nhunter2: b\n"), ids, nil, "line 2 does not start with a name", false},
		"two documents":        {plainAge("A: hunter2\n---\nB: c\n"), ids, nil, "more than one YAML document", false},
		"an alias":             {plainAge("A: &a hunter2\nB: *a\n"), ids, nil, "line 2: the value of B is not text", false},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Load(c.path, c.ids)
			if err == nil || set != nil || !strings.Contains(err.Error(), c.want) || (c.is != nil && !errors.Is(err, c.is)) {
				t.Fatalf("got %v, want it to contain %q", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error repeats a secret, or has lines: %q", err)
			}
			var h interface{ Hint() string }
			if errors.As(err, &h) != c.hint {
				t.Errorf("has a hint: %v", !c.hint)
			}
		})
	}
}

// TestEveryChangedByteIsNoticed flips each byte of a binary file in turn.
func TestEveryChangedByteIsNoticed(t *testing.T) {
	k := ageKey(t)
	recipient, err := age.ParseX25519Recipient(k.recipient)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, recipient)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte("A: hunter2\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ids := identities(t, "", k.path)
	for i := range b.Bytes() {
		changed := bytes.Clone(b.Bytes())
		changed[i] ^= 1
		if _, err := decrypt(changed, ids); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrWrongIdentity) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}

func TestIdentitiesSaysOfEachPathWhyItCantBeUsed(t *testing.T) {
	dir := t.TempDir()
	ecdsa, good := sshKey(t, "ecdsa", ""), ageKey(t)
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	paths := []string{missing, ecdsa.path, ecdsa.path + ".pub", junk, dir}
	_, err := Identities(paths, nil)
	if !errors.Is(err, ErrNoIdentity) {
		t.Fatal(err)
	}
	for _, want := range []string{
		missing + " does not exist", ecdsa.path + " is no SSH private key that age can use",
		ecdsa.path + ".pub is a public key", junk + " is neither an age identity", dir + " can't be read",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the error repeats a file's content")
	}
	if _, err := Identities(nil, nil); !errors.Is(err, ErrNoIdentity) {
		t.Error(err)
	}
	if ids, err := Identities(append(paths, good.path), nil); err != nil || len(ids) != 1 {
		t.Errorf("%d identities, %v", len(ids), err)
	}
}

func TestAPassphraseIsAskedForOnlyWhenItIsNeeded(t *testing.T) {
	locked, plain := sshKey(t, "ed25519", "open sesame"), ageKey(t)
	ask := func(string) ([]byte, error) { t.Error("a passphrase was asked for"); return nil, errors.New("no") }
	ids, err := Identities([]string{locked.path, plain.path}, ask)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(saved(t, Set{"A": "1"}, locked, plain), ids); err != nil {
		t.Error(err)
	}
	ids, err = Identities([]string{locked.path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Load(saved(t, Set{"A": "1"}, locked), ids)
	if want := "it needs a passphrase, and nobody can be asked"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want it to contain %q", err, want)
	}
}

func TestRecipientsRefusesWhatIsNoPublicKeyWithoutRepeatingIt(t *testing.T) {
	private, err := os.ReadFile(ageKey(t).path)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(strings.TrimSpace(string(private)), "\n")[2]
	for line, want := range map[string]string{
		secret:                           "it is a private key",
		"ssh-ed25519 AAAAhunter2":        "torn or mistyped",
		"age1hunter2":                    "torn or mistyped",
		"hunter2":                        "neither an age public key",
		sshKey(t, "ecdsa", "").recipient: `SSH keys of the type "ecdsa-sha2-nistp256"`,
		"# only a comment":               "there are none",
	} {
		_, err := Recipients([]string{line})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), secret) {
			t.Errorf("got %v, want it to contain %q", err, want)
		}
	}
}

// FuzzFormat: what is written is read back as it was.
func FuzzFormat(f *testing.F) {
	for _, value := range odd {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		file := &File{Set: Set{"A": value, "B": "1"}, Made: map[string]time.Time{"A": now}, Rotation: &Rotation{Began: now, New: Set{"C": value}}}
		data, err := marshal(file)
		if err != nil {
			if utf8.ValidString(value) && !strings.Contains(value, "\x00") && len(value) < maxPlain/8 {
				t.Fatal(err)
			}
			return
		}
		got, err := unmarshal(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(file, got); diff != "" {
			t.Errorf("%q: %s", value, diff)
		}
	})
}

// FuzzUnmarshal: whatever was encrypted, reading it ends, and what it accepts
// can be written again.
func FuzzUnmarshal(f *testing.F) {
	f.Add("A: b\nC: |\n  d\n")
	f.Add("A: &a [*a]\n")
	f.Add("--- !!binary x")
	f.Add("A: b # 2026-11-23T12:00:00Z\nrotation:\n  began: 2026-11-23T12:00:00Z\n  A: c\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := unmarshal([]byte(text))
		if err != nil {
			return
		}
		data, err := marshal(file)
		if err != nil {
			return // such as a NUL by way of an escape
		}
		if again, err := unmarshal(data); err != nil || !cmp.Equal(file, again) {
			t.Errorf("%v: %v became %v", err, file, again)
		}
	})
}
