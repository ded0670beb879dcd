package nearest

import "testing"

func TestOneTypingErrorInThreeCharactersIsForgiven(t *testing.T) {
	words := []string{"address", "audit", "operators", "on"}
	for typed, want := range map[string]string{
		"adress": "address", "adderss": "address", "operator": "operators", "uadit": "audit",
		"no": "on", "zzz": "", "": "", "completely-different": "",
	} {
		if got := Word(typed, words); got != want {
			t.Errorf("Word(%q) = %q, want %q", typed, got, want)
		}
	}
}
