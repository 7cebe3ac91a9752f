// Fsagent tells people who run FreeSWITCH how their calls sound.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/fsagent/fsagent/services/fsagent/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(command.Run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
