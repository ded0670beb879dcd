//go:build lab

package hardening_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast/internal/environment"
	"holdfast/internal/lab"
	"holdfast/internal/probe"
	"holdfast/provision"
	"holdfast/provision/transport"
)

// A first run beside what apt alone needs to download and install the same
// packages on another bare server. The goal is a ratio of 1.15 at most.
func BenchmarkFirstProvision(b *testing.B) {
	for _, role := range []string{lab.Production, lab.Audit} {
		b.Run(role, func(b *testing.B) {
			var hardening, packages time.Duration
			for b.Loop() {
				s := untouched(b, role, "first-"+role)
				began := time.Now()
				if err := s.apply(b.Context(), s.plan()); err != nil {
					b.Fatal(err)
				}
				hardening += time.Since(began)
				s.on(`while [ "$(systemctl is-active apt-daily-upgrade.service)" = activating ]; do sleep 0.5; done`)
				after := s.packages()

				s = untouched(b, role, "packages-"+role)
				var added []string
				for name := range after {
					if before := s.packages(); !before[name] {
						added = append(added, name)
					}
				}
				apt := "apt-get -y -q -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o APT::Install-Recommends=false "
				began = time.Now()
				var out bytes.Buffer
				if err := s.Run(b.Context(), "export LC_ALL=C DEBIAN_FRONTEND=noninteractive; "+apt+"update && "+apt+"install "+strings.Join(added, " "), nil, &out, &out); err != nil {
					b.Fatalf("%v: %s", err, out.String())
				}
				packages += time.Since(began)
				discard(b, "first-"+role, "packages-"+role)
			}
			b.ReportMetric(hardening.Seconds()/float64(b.N), "s/first-run")
			b.ReportMetric(packages.Seconds()/float64(b.N), "s/apt-alone")
			b.ReportMetric(hardening.Seconds()/packages.Seconds(), "ratio")
		})
	}
}

// untouched is a new bare server that is to become role, as a deploy would meet
// it: nothing is left out.
func untouched(b *testing.B, role, name string) *server {
	b.Helper()
	where, err := pair.Scratch(b.Context(), name, lab.Debian13)
	if err != nil {
		b.Fatal(err)
	}
	s := newServer(b, role, where)
	s.login("root")
	s.on("systemctl is-system-running --wait >/dev/null || true")
	return s
}

func discard(b *testing.B, names ...string) {
	b.Helper()
	for _, name := range names {
		if err := pair.Discard(context.WithoutCancel(b.Context()), name); err != nil {
			b.Error(err)
		}
	}
}

// packages are the names of those that are installed.
func (s *server) packages() map[string]bool {
	s.t.Helper()
	names := map[string]bool{}
	for line := range strings.Lines(s.on(`dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n'`)) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "ii" {
			names[fields[1]] = true
		}
	}
	return names
}

// nothingToDo is a complete run on a hardened server, from the first byte to
// the end: log in, observe, compare.
func (s *server) nothingToDo(ctx context.Context, known, address string, resources []provision.Resource) error {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	conn, err := transport.Dial(ctx, transport.Target{
		Address: host, Port: port, User: "deploy", HostKey: s.where.HostKeyFingerprint,
		Identity: pair.Key, KnownHosts: []string{known},
	}, transport.Options{Config: "none"})
	if err != nil {
		return err
	}
	defer conn.Close()
	nonce := probe.Nonce()
	var stdout, stderr bytes.Buffer
	command := transport.Command{Script: probe.Script(nonce, provision.Probes(resources)), Sudo: true, Stdout: &stdout, Stderr: &stderr}
	if err := conn.Run(ctx, command); err != nil {
		return err
	}
	outputs, err := probe.Parse(nonce, stdout.Bytes(), stderr.Bytes())
	if err != nil {
		return err
	}
	facts, err := provision.ParseFacts(s.role, outputs)
	if err != nil {
		return err
	}
	if plan := provision.Diff(resources, facts); len(plan.Changes) > 0 {
		return fmt.Errorf("there is something to do: %+v", plan.Changes)
	}
	return nil
}

// A run that finds nothing to do, in this process: connecting, observing and
// comparing. The goals are 0.6 s on loopback, 1.2 s at 50 ms, 12 round trips.
// What a process costs beside it is measured in cmd/holdfast.
func BenchmarkNoOp(b *testing.B) {
	for _, role := range []string{lab.Production, lab.Audit} {
		s := hardened(b, role)
		resources, known := s.resources(), filepath.Join(b.TempDir(), "known_hosts")
		near := net.JoinHostPort(s.where.Address, "22")
		b.Run(role, func(b *testing.B) {
			for b.Loop() {
				if err := s.nothingToDo(b.Context(), known, near, resources); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(role+"-at-50ms", func(b *testing.B) {
			proxy, err := lab.Delay(near, 50*time.Millisecond)
			if err != nil {
				b.Fatal(err)
			}
			defer proxy.Close()
			for b.Loop() {
				if err := s.nothingToDo(b.Context(), known, proxy.Addr, resources); err != nil {
					b.Fatal(err)
				}
			}
			stats := proxy.Stats()
			b.ReportMetric(float64(stats.RoundTrips)/float64(stats.Connections), "round-trips/op")
		})
	}
}

// Twenty hardened servers of which none has anything to do, side by side,
// beside one alone. The goals are 3 times the time of one, and 150 MB.
// The servers share this machine's processors with the run.
func BenchmarkTwentyServers(b *testing.B) {
	const number = 20
	var names []string
	for i := range number {
		names = append(names, fmt.Sprintf("many-%d", i))
	}
	defer discard(b, names...)
	var all *lab.Lab
	for some := range slices.Chunk(names, 4) { // as many as two processors boot at a time
		var err error
		if all, err = lab.Up(b.Context(), lab.Options{Name: testLab, Subnet: testSubnet, Servers: some}); err != nil {
			b.Fatal(err)
		}
	}
	cfg := environment.Config{Access: environment.Access{User: "deploy", SSHFrom: []string{testSubnet}}}
	var servers []*server
	var group errgroup.Group
	group.SetLimit(4)
	for _, name := range names {
		s := newServer(b, lab.Audit, all.Servers[name])
		s.scratch, s.cfg = true, cfg
		servers = append(servers, s)
		s.login("root")
		plan := s.plan()
		group.Go(func() error {
			return provision.Apply(b.Context(), s, plan, func(provision.Event) {})
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	resources, known := servers[0].resources(), filepath.Join(b.TempDir(), "known_hosts")
	run := func(b *testing.B, number int, roundTrip time.Duration) time.Duration {
		var addresses []string
		for _, s := range servers[:number] {
			s.close() // what hardened it
			address := net.JoinHostPort(s.where.Address, "22")
			if roundTrip > 0 {
				proxy, err := lab.Delay(address, roundTrip)
				if err != nil {
					b.Fatal(err)
				}
				defer proxy.Close()
				address = proxy.Addr
			}
			addresses = append(addresses, address)
		}
		forgetPeak(b)
		rounds := 0
		began, busy := time.Now(), processorTime(b)
		for b.Loop() {
			rounds++
			group, ctx := errgroup.WithContext(b.Context())
			for i, address := range addresses {
				group.Go(func() error { return servers[i].nothingToDo(ctx, known, address, resources) })
			}
			if err := group.Wait(); err != nil {
				b.Fatal(err)
			}
		}
		took := time.Since(began) / time.Duration(rounds)
		b.ReportMetric(peak(b), "MB-peak")
		// The rest of what the processors did is the servers' part.
		b.ReportMetric((processorTime(b)-busy).Seconds()/float64(rounds), "own-cpu-s/op")
		return took
	}
	for _, roundTrip := range []time.Duration{0, 50 * time.Millisecond} {
		var one, twenty time.Duration
		b.Run(fmt.Sprintf("one-at-%s", roundTrip), func(b *testing.B) { one = run(b, 1, roundTrip) })
		b.Run(fmt.Sprintf("twenty-at-%s", roundTrip), func(b *testing.B) {
			twenty = run(b, number, roundTrip)
			b.ReportMetric(twenty.Seconds()/one.Seconds(), "times-one")
		})
	}
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// forgetPeak makes the peak of this process' memory that of now: proc(5),
// clear_refs.
func forgetPeak(b *testing.B) {
	b.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
}

// peak is the most memory that this process has had, in MB.
func peak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		b.Fatal("/proc/self/status has no VmHWM")
	}
	kib, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}
