//go:build lab

package hardening_test

import "testing"

func TestZZ(t *testing.T) {
	s := bare(t, "production")
	s.converge()
	t.Log(s.on("apt-get install -y -qq --no-install-recommends ssh-audit >/dev/null 2>&1; ssh-audit --version; ssh-audit -b 127.0.0.1 || true; grep . /var/log/sudo.log | wc -c; wc -c /var/log/sudo.log; cat /var/log/holdfast/journal.jsonl | tail -3; nft list table inet holdfast; docker info 2>/dev/null | grep -i -A3 'live\\|security\\|logging'; time unattended-upgrade --dry-run; su - deploy -c umask; apt-config dump | grep -i origin; systemctl show -p DefaultLimitCORE"))
}
