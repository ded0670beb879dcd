// Command standin plays the programs of the lab's stand-in images. What it is
// is decided by the name it is called by, or by its first argument:
//
//	standin kong docker-start
//	kong docker-start          (a link to standin)
//
// It is built for labs without a container registry and for nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"holdfast/internal/lab/standin/client"
	"holdfast/internal/lab/standin/gotrue"
	"holdfast/internal/lab/standin/kong"
	"holdfast/internal/lab/standin/postgrest"
	"holdfast/internal/lab/standin/service"
)

// Programs returns what can be played, by name.
func programs() map[string]service.Main {
	all := map[string]service.Main{
		"kong":              kong.Main,
		"postgrest":         postgrest.Main,
		"auth":              gotrue.Main,
		"curl":              client.Curl,
		"node":              client.Node,
		"bash":              client.Bash,
		"nc":                client.NC,
		"clickhouse-client": client.ClickHouse,
		"mc":                client.MC,
	}
	maps.Copy(all, service.All)
	return all
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args, os.Stdout)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, err)
	var exit *client.Exit
	if errors.As(err, &exit) {
		os.Exit(exit.Code)
	}
	os.Exit(1)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	all := programs()
	name := filepath.Base(args[0])
	if all[name] == nil && len(args) > 1 {
		name, args = args[1], args[1:]
	}
	program := all[name]
	if program == nil {
		return fmt.Errorf("usage: standin PROGRAM [ARGUMENT...], with one of: %s", strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	return program(ctx, args[1:], out)
}
