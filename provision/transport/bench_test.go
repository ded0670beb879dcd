package transport

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skeema/knownhosts"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sync/errgroup"
)

// Twenty servers to which somebody logs in side by side, runs one script with
// sudo on each, and leaves, beside one alone: what a run that finds nothing to
// do takes, but for the script. The operator's files are large ones. The goal
// is 3 times the time of one server, and 150 MB. On the loopback the sshds
// share the processors with us, so what this side takes is measured apart.
func BenchmarkTwentyServers(b *testing.B) {
	const number = 20
	user := accounts(b).free
	private := newKey(b, "ed25519")
	identity := writeKey(b, filepath.Join(folder(b), "id"), private)
	var known, config strings.Builder
	foreign := signer(b, newKey(b, "ed25519")).PublicKey()
	for i := range 1000 { // half of them hashed, as Debian's client writes them
		host := fmt.Sprintf("host-%d.example.com", i)
		if i%2 == 0 {
			host = xknownhosts.HashHostname(host)
		}
		known.WriteString(knownhosts.Line([]string{host}, foreign) + "\n")
		if i < 200 {
			fmt.Fprintf(&config, "Host box-%d\n  HostName 192.0.2.%d\n  User ada\n  IdentityFile ~/.ssh/box-%d\n\n", i, i, i)
		}
	}
	var servers []*sshd
	for range number {
		s := startSSHD(b, []string{"ed25519"})
		s.admit(user, signer(b, private).PublicKey())
		known.WriteString(s.line("ed25519"))
		servers = append(servers, s)
	}
	files := []string{writeFile(b, filepath.Join(folder(b), "known_hosts"), known.String())}
	options := Options{Config: writeFile(b, filepath.Join(folder(b), "config"), config.String())}
	script := "true #" + strings.Repeat("x", 20<<10)
	run := func(b *testing.B, servers []*sshd, oneWay time.Duration) time.Duration {
		if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the peak of memory is now
			b.Fatal(err)
		}
		rounds, busy, began := 0, processors(b), time.Now()
		for b.Loop() {
			rounds++
			var group errgroup.Group
			for _, s := range servers {
				group.Go(func() error {
					options := options
					if oneWay > 0 {
						options.Dial = (&distance{oneWay: oneWay}).dial
					}
					c, err := Dial(b.Context(), Target{Address: s.host, Port: s.port, User: user, Identity: identity, KnownHosts: files}, options)
					if err != nil {
						return err
					}
					defer c.Close()
					return c.Run(b.Context(), Command{Script: script, Sudo: true})
				})
			}
			if err := group.Wait(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64((processors(b)-busy).Milliseconds())/float64(rounds*len(servers)), "ms-processor/server")
		b.ReportMetric(peakMemory(b), "MB-peak")
		return time.Since(began) / time.Duration(rounds)
	}
	for _, roundTrip := range []time.Duration{0, 50 * time.Millisecond} {
		var one time.Duration
		b.Run(fmt.Sprintf("one-at-%v", roundTrip), func(b *testing.B) { one = run(b, servers[:1], roundTrip/2) })
		b.Run(fmt.Sprintf("twenty-at-%v", roundTrip), func(b *testing.B) {
			b.ReportMetric(run(b, servers, roundTrip/2).Seconds()/one.Seconds(), "times-one")
		})
	}
}

// processors is the time that they have spent on this process.
func processors(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peakMemory is the most memory that this process has had, in MB.
func peakMemory(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		b.Fatal("/proc/self/status has no VmHWM")
	}
	kib, err := strconv.ParseFloat(string(fields[0]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}
