// Command judge has others judge a hardened server: Lynis, ssh-audit and the
// checks of docker-bench-security, and the clock. A plain Debian 13 server, one
// hardened by dev-sec's Ansible collection and Holdfast's two roles start from
// one image on one day, in a lab of their own. It writes what it finds to
// docs/judges.md and fails when a goal is missed or something that Lynis still
// suggests has no reason:
//
//	make judge                  # without dev-sec: its last figures stay, dated
//	make judge DEVSEC=FOLDER    # FOLDER/ansible_collections/devsec/hardening
//
// It needs what a lab needs, and nothing else of weight running beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"holdfast/internal/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "judge: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) > 1 && os.Args[1] == hardenVerb {
		return harden(ctx, os.Args[2:])
	}
	var s settings
	flag.StringVar(&s.lab, "lab", "holdfast-judge", "name of the lab")
	flag.StringVar(&s.subnet, "subnet", "198.18.122.0/24", "IPv4 network of the lab")
	flag.StringVar(&s.document, "document", "docs/judges.md", "the file whose tables are written")
	flag.StringVar(&s.record, "record", "cmd/internal/judge/measured.json", "the file that keeps the figures between runs")
	flag.StringVar(&s.devsec, "devsec", "", "folder with ansible_collections/devsec/hardening; empty: dev-sec is not measured")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}

	verdict, err := readRecord(s.record)
	if err != nil {
		return err
	}
	if err := s.measure(ctx, verdict); err != nil {
		return err
	}
	if err := verdict.write(s.record, s.document); err != nil {
		return err
	}
	return errors.Join(verdict.missed()...)
}

type settings struct {
	lab, subnet, document, record, devsec string
}

// say reports progress.
func say(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// measure fills in the columns of verdict. Times come first, one server after
// the other: the judges themselves load the machine and change what is
// installed.
func (s settings) measure(ctx context.Context, verdict *Verdict) (err error) {
	if err := lab.Down(ctx, s.lab); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lab.Down(context.WithoutCancel(ctx), s.lab)) }()
	names := []string{plain, lab.Production, lab.Audit}
	if s.devsec != "" {
		names = append(names, devsec)
	}
	say("starting %d servers", len(names))
	l, err := lab.Up(ctx, lab.Options{Name: s.lab, Subnet: s.subnet, Servers: names})
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "holdfast-judge-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	today := time.Now().UTC().Format(time.DateOnly)
	servers := map[string]server{}
	columns := map[string]*Column{}
	for _, name := range names {
		servers[name] = server{l.Servers[name], name}
		columns[name] = &Column{Date: today}
	}

	env, err := writeEnvironment(filepath.Join(folder, "environment"), l)
	if err != nil {
		return err
	}
	for _, role := range []string{lab.Production, lab.Audit} {
		if err := timeHoldfast(ctx, env, servers[role], columns[role]); err != nil {
			return fmt.Errorf("harden %s: %w", role, err)
		}
	}
	if s.devsec != "" {
		if err := s.timeDevsec(ctx, l, servers, columns[devsec]); err != nil {
			return fmt.Errorf("run dev-sec's collection: %w", err)
		}
	}

	// The judges, on all servers side by side.
	failed := make(chan error, len(names))
	for _, name := range names {
		go func() {
			if err := servers[name].judge(ctx, columns[name]); err != nil {
				failed <- fmt.Errorf("judge %s: %w", name, err)
				return
			}
			failed <- nil
		}()
	}
	for range names {
		err = errors.Join(err, <-failed)
	}
	for name, column := range columns {
		verdict.Columns[name] = column
	}
	return err
}
