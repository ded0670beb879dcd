//go:build !linux

package images

import (
	"context"
	"errors"
	"os/exec"
)

func isolate(*exec.Cmd) {}

func lock(context.Context, string) (func(), error) {
	return nil, errors.New("the lab runs on Linux only")
}
