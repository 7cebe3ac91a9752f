package natsserver_test

import (
	"errors"
	"io"
	"log/slog"
	"testing"

	"github.com/fsagent/fsagent/internal/natsserver"
)

func TestOneServerADirectory(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg := natsserver.Config{DataDir: t.TempDir()}
	first, err := natsserver.Start(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := natsserver.Start(cfg, log); !errors.Is(err, natsserver.ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	first.Stop()
	again, err := natsserver.Start(cfg, log)
	if err != nil {
		t.Fatalf("after the first has stopped: %v", err)
	}
	again.Stop()
}
