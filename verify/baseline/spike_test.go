package baseline

import (
	"fmt"
	"holdfast/verify"
	"strings"
	"testing"
	"time"
)

func TestSpike(t *testing.T) {
	st := time.Now()
	b, err := Load(nil, "")
	fmt.Println(time.Since(st), err)
	f := &verify.Facts{Servers: map[string]*verify.Server{"production": {}}, Errors: []verify.CollectError{{What: "server.sshd", Server: "production", Message: "no sshd"}}}
	r := b.Evaluate(f, time.Now())
	for _, x := range r.Findings {
		fmt.Printf("%+v\n", x)
	}
	f.Servers["production"].SSHD = &verify.SSHD{PasswordAuthentication: "yes"}
	r = b.Evaluate(f, time.Now())
	for _, x := range r.Findings {
		fmt.Printf("%+v\n", x)
	}
	var sb strings.Builder
	sb.WriteString("extends: holdfast/v1\nrules:\n")
	for i := range 120 {
		fmt.Fprintf(&sb, "- {id: a.b%d, title: t, layer: server, severity: low, on: [production], each: 'server.listening.sockets.filter(s, !s.loopback)', subject: '{it.port}', holds: 'it.port in [22,80] || it.process == \"x\" && server.sshd.maxauthtries < 3', message: 'bad {it.port} {it.process}', fix: do}\n", i)
	}
	st = time.Now()
	b, err = Load([]byte(sb.String()), "x.yml")
	fmt.Println(time.Since(st), err)
	st = time.Now()
	r = b.Evaluate(f, time.Now())
	fmt.Println(time.Since(st), len(r.Findings))
	_, err = Load([]byte("rules:\n- {id: a.b, title: t, layer: server, severity: low, on: [production], holds: 'server.sshd.maxauthtrie < 3', message: x, fix: do}"), "x.yml")
	fmt.Println(err)
}
