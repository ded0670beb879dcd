package baseline

import (
	"os/exec"
	"strings"
	"testing"
)

// Provisioning and verification share no code path for truth: a mistake in one
// must not hide in the other.
func TestVerifyKnowsNeitherProvisionNorStacks(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "holdfast/verify/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for _, dep := range strings.Fields(string(out)) {
		if strings.HasPrefix(dep, "holdfast/provision") || strings.HasPrefix(dep, "holdfast/stacks") || strings.HasPrefix(dep, "holdfast/templates") {
			t.Errorf("verify depends on %s", dep)
		}
	}
}
