//go:build lab

package main

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/lab"
)

// delayed is the environment with both servers behind delaying, counting proxies.
func delayed(t testing.TB, roundTrip time.Duration) (dir string, proxies map[string]*lab.DelayProxy) {
	t.Helper()
	proxies = map[string]*lab.DelayProxy{}
	config := func(s string) string {
		for _, role := range []string{"production", "audit"} {
			server := stage.lab.Servers[role]
			proxy, err := lab.Delay(server.Address+":22", roundTrip)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { proxy.Close() })
			proxies[role] = proxy
			host, port, err := net.SplitHostPort(proxy.Addr)
			if err != nil {
				t.Fatal(err)
			}
			s = strings.Replace(s, "address: "+server.Address+"\n", "address: "+host+"\n    port: "+port+"\n    private: "+server.Address+"\n", 1)
		}
		return s
	}
	return variant(t, config), proxies
}

// A run that changes nothing pays a handshake and one batch a server:
// 7 round trips to log in and 2 for an exec, 3 when sudo's stdin is needed.
func TestE1ARunThatChangesNothingStaysWithinItsRoundTrips(t *testing.T) {
	const budget = 12
	for _, verb := range [][]string{{"plan"}, {"deploy", "--yes", "--no-verify"}} {
		dir, proxies := delayed(t, 50*time.Millisecond)
		// What servers let in of each other goes by the addresses of their own.
		r := holdfast(t, append(verb, "-C", dir)...)
		r.want(t, 0, "nothing to change")
		for role, proxy := range proxies {
			stats := proxy.Stats()
			t.Logf("%s: %s: %d round trips, %d bytes up, %d down; %s at 50 ms", verb[0], role, stats.RoundTrips, stats.BytesUp, stats.BytesDown, r.took.Round(time.Millisecond))
			if stats.RoundTrips > budget {
				t.Errorf("%s: %s took %d round trips, the budget is %d", verb[0], role, stats.RoundTrips, budget)
			}
		}
	}
}

// What a run costs that finds nothing to do. The goals for two servers on
// loopback: plan within 1 s, deploy without verify within 1.5 s, verify within
// 2 s, all within 100 MB.
func BenchmarkNoOp(b *testing.B) {
	if out, err := command(b.Context(), nil, "deploy", "-C", stage.dir, "--yes", "--no-verify").CombinedOutput(); err != nil {
		b.Fatalf("deploy first: %v\n%s", err, out)
	}
	for _, verb := range []struct {
		name string
		args []string
	}{
		{"plan", []string{"plan", "-C", stage.dir}},
		{"deploy-without-verify", []string{"deploy", "-C", stage.dir, "--yes", "--no-verify"}},
		{"verify", []string{"verify", "-C", stage.dir, "--gate", "critical"}},
	} {
		b.Run(verb.name, func(b *testing.B) {
			measure(b, verb.args...)
		})
	}
	b.Run("plan-at-50ms", func(b *testing.B) {
		dir, proxies := delayed(b, 50*time.Millisecond)
		measure(b, "plan", "-C", dir)
		for role, proxy := range proxies {
			b.ReportMetric(float64(proxy.Stats().RoundTrips)/float64(b.N), fmt.Sprintf("rtt-%s/op", role))
		}
	})
}

// measure runs the binary b.N times and reports its peak memory.
func measure(b *testing.B, args ...string) {
	b.Helper()
	var peak int64
	for b.Loop() {
		cmd := command(b.Context(), nil, args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %v\n%s", args, err, out)
		}
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			peak = max(peak, usage.Maxrss)
		}
	}
	b.ReportMetric(float64(peak)/1024, "MB-peak")
}
