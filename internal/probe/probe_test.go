package probe

import (
	"bytes"
	"os/exec"
	"testing"
)

func run(t *testing.T, sh string, probes []Probe) Outputs {
	t.Helper()
	nonce := Nonce()
	cmd := exec.Command(sh, "-c", Script(nonce, probes))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", sh, err, errs.String())
	}
	outputs, err := Parse(nonce, out.Bytes(), errs.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return outputs
}

func TestEachProbeGetsItsOwnAnswer(t *testing.T) {
	for _, sh := range []string{"dash", "bash"} {
		got := run(t, sh, []Probe{
			{"a", "echo one; echo warn >&2; x=1; exit 3"},
			{"b", "printf 'no newline'; echo \"${x-unset}\""},
			{"empty", "true"},
			{"reads-stdin", "cat"},
		})
		want := Outputs{
			"a":           {Stdout: "one\n", Stderr: "warn\n", Exit: 3},
			"b":           {Stdout: "no newlineunset\n"},
			"empty":       {},
			"reads-stdin": {},
		}
		for name, w := range want {
			if got[name] != w {
				t.Errorf("%s: probe %s: got %+v, want %+v", sh, name, got[name], w)
			}
		}
	}
}

func TestATornAnswerIsAnError(t *testing.T) {
	nonce := Nonce()
	out, err := exec.Command("sh", "-c", Script(nonce, []Probe{{"a", "echo 1"}, {"b", "echo 2"}})).Output()
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(out)-1; cut++ {
		if _, err := Parse(nonce, out[:cut], nil); err == nil {
			t.Fatalf("an answer cut at byte %d of %d was accepted", cut, len(out))
		}
	}
}

func FuzzParseNeverPanics(f *testing.F) {
	f.Add([]byte("\nN begin a\nx\nN end a 0\n\nN done\n"))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = Parse("N", data, data) })
}
