//go:build lab

package hardening_test

import (
	"os"
	"testing"
	"time"
)

func TestZZTry(t *testing.T) {
	for _, role := range []string{"production", "audit"} {
		if only := os.Getenv("TRY_ROLE"); only != "" && only != role {
			continue
		}
		t.Run(role, func(t *testing.T) {
			s := bare(t, role)
			began := time.Now()
			s.converge()
			t.Logf("first run %s", time.Since(began))
			_ = os.WriteFile("/tmp/concerns/"+role+".container", []byte(s.where.Container), 0o644)
			s.on("apt-get install -y -q lynis >/dev/null 2>&1 || true")
			out := s.on("lynis audit system --no-colors --quick 2>&1 || true; cat /var/log/lynis-report.dat; ")
			_ = os.WriteFile("/tmp/concerns/lynis-"+role+".txt", []byte(out), 0o644)
			log := s.on("cat /var/log/lynis.log")
			_ = os.WriteFile("/tmp/concerns/lynis-"+role+".log", []byte(log), 0o644)
		})
	}
	for os.Getenv("TRY_KEEP") != "" {
		if _, err := os.Stat("/tmp/concerns/stop"); err == nil {
			return
		}
		time.Sleep(time.Second)
	}
}
