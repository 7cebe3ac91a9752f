// Package natstest gives a test a real NATS server: embedded for most, as a
// process of its own for those that kill it.
package natstest

import (
	"bytes"
	"log/slog"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/fsagent/fsagent/internal/freeport"
	"github.com/fsagent/fsagent/internal/natsserver"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Server is an embedded server of one test, with file storage in a directory
// that ends with the test.
type Server struct {
	tb  testing.TB
	cfg natsserver.Config
	srv *natsserver.Server
}

// Start runs a server that listens on a port of the loopback interface.
func Start(tb testing.TB) *Server {
	tb.Helper()
	return StartWithRoom(tb, 0)
}

// StartWithRoom runs a server that may store so many bytes; 0 is no limit.
func StartWithRoom(tb testing.TB, bytes int64) *Server {
	tb.Helper()
	s := &Server{tb: tb, cfg: natsserver.Config{DataDir: tb.TempDir(), Listen: "127.0.0.1", MaxStore: bytes}}
	s.start(freePort(tb))
	tb.Cleanup(func() {
		if s.srv != nil {
			s.srv.Stop()
		}
	})
	return s
}

func (s *Server) start(port int) {
	s.tb.Helper()
	s.cfg.Port = port
	srv, err := natsserver.Start(s.cfg, Logger(s.tb))
	if err != nil {
		s.tb.Fatal(err)
	}
	s.srv = srv
}

// URL of the server; it stays the same over Restart.
func (s *Server) URL() string { return s.srv.URL() }

// Stop ends the server; its data stay.
func (s *Server) Stop() (restart func()) {
	s.tb.Helper()
	url := s.srv.URL()
	s.srv.Stop()
	s.srv = nil
	return func() {
		s.tb.Helper()
		s.start(portOf(s.tb, url))
	}
}

// Connect returns a connection that ends with the test.
func (s *Server) Connect() *nats.Conn {
	s.tb.Helper()
	nc, err := stream.Connect(stream.Connection{URL: s.URL()}, s.tb.Name(), Logger(s.tb))
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(nc.Close)
	return nc
}

// JetStream returns a JetStream context with all streams made.
func (s *Server) JetStream(settings stream.Settings) jetstream.JetStream {
	s.tb.Helper()
	js, err := jetstream.New(s.Connect())
	if err != nil {
		s.tb.Fatal(err)
	}
	if err := stream.EnsureRetry(s.tb.Context(), js, settings, Logger(s.tb)); err != nil {
		s.tb.Fatal(err)
	}
	return js
}

// Logger writes to the test's output.
func Logger(tb testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// Build compiles one command of the workspace, or of a module it requires, and
// returns the path of the program. Tests that kill processes run it.
func Build(tb testing.TB, pkg string) string {
	tb.Helper()
	bin := filepath.Join(tb.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-o", bin, pkg)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		tb.Fatalf("go build %s: %v\n%s", pkg, err, out.Bytes())
	}
	return bin
}

// freePort is one at which a server can come back.
func freePort(tb testing.TB) int {
	tb.Helper()
	port, err := freeport.Find()
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

func portOf(tb testing.TB, rawURL string) int {
	tb.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		tb.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		tb.Fatal(err)
	}
	return port
}
