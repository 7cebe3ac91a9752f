// Package natsserver runs a NATS server with JetStream inside this process: the
// one of the all-in-one fsagent, and the one of the tests.
package natsserver

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Config of an embedded server.
type Config struct {
	// DataDir holds streams and state.
	DataDir string
	// Listen opens a TCP port on this address, for example "127.0.0.1"; empty
	// opens none, and only this process can connect.
	Listen string
	// Port to listen on; 0 lets the system choose.
	Port int
	// MaxStore bounds what JetStream may write, in bytes; 0 leaves it to the
	// server (three quarters of the free disk).
	MaxStore int64
}

// ErrInUse is returned for a data directory that another process works in.
var ErrInUse = errors.New("another fsagent works in this data directory; stop it, or set FSAGENT_DATA_DIR")

// ErrNotReady is returned when the server does not come up in time.
var ErrNotReady = errors.New("embedded NATS server did not become ready")

const readyTimeout = 30 * time.Second

// Server is a running server.
type Server struct {
	s    *server.Server
	lock *os.File
}

// Start runs a server until Stop. Its warnings and errors go to log.
func Start(cfg Config, log *slog.Logger) (_ *Server, err error) {
	held, err := lock(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server in %s: %w", cfg.DataDir, err)
	}
	defer func() {
		if err != nil {
			held.Close()
		}
	}()
	port := cfg.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&server.Options{
		ServerName:        "fsagent",
		JetStream:         true,
		StoreDir:          cfg.DataDir,
		JetStreamMaxStore: cfg.MaxStore,
		DontListen:        cfg.Listen == "",
		Host:              cfg.Listen,
		Port:              port,
		NoSigs:            true,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server in %s: %w", cfg.DataDir, err)
	}
	l := &logger{log: log}
	s.SetLoggerV2(l, false, false, false)
	s.Start()
	if !s.ReadyForConnections(readyTimeout) {
		s.Shutdown()
		return nil, fmt.Errorf("%w within %v in %s: %s", ErrNotReady, readyTimeout, cfg.DataDir, l.last())
	}
	if !s.JetStreamEnabled() {
		s.Shutdown()
		return nil, fmt.Errorf("%w: no JetStream in %s: %s", ErrNotReady, cfg.DataDir, l.last())
	}
	return &Server{s: s, lock: held}, nil
}

// InProcess is the option by which a client in this process connects.
func (s *Server) InProcess() nats.Option { return nats.InProcessServer(s.s) }

// URL for clients of other processes; empty if the server does not listen.
func (s *Server) URL() string {
	if s.s.Addr() == nil {
		return ""
	}
	return s.s.ClientURL()
}

// Stop ends the server and waits until its files are closed.
func (s *Server) Stop() {
	s.s.Shutdown()
	s.s.WaitForShutdown()
	s.lock.Close()
}
