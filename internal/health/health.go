// Package health serves what an operator asks a process over HTTP: /health (how
// it is), /ready (can it do its work) and /metrics (Prometheus).
package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config of the HTTP endpoints.
type Config struct {
	// Host to listen on; empty means all addresses.
	Host string `yaml:"host" env:"FSAGENT_HTTP_HOST"`
	// Port to listen on; 0 serves nothing.
	Port int `yaml:"port" env:"FSAGENT_HTTP_PORT"`
}

// DefaultConfig listens on port 8080.
func DefaultConfig() Config { return Config{Port: 8080} }

// Validate names every setting that cannot be.
func (c Config) Validate() error {
	if c.Port < 0 || c.Port > 65535 {
		return fmt.Errorf("http.port: %d is not between 0 and 65535", c.Port)
	}
	return nil
}

// Service is what can be asked. Health returns a value for JSON.
type Service interface {
	Ready() error
	Health() any
}

// Server answers for one process.
type Server struct {
	listener net.Listener
	http     *http.Server
	log      *slog.Logger
}

// Listen opens the port, so that an address in use is an error at the start. It
// returns nil if the port is 0.
func Listen(cfg Config, service Service, metrics prometheus.Gatherer, log *slog.Logger) (*Server, error) {
	if cfg.Port == 0 {
		return nil, nil
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port)))
	if err != nil {
		return nil, fmt.Errorf("http: %w; set FSAGENT_HTTP_PORT to a free port", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, service.Health()) })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if err := service.Ready(); err != nil {
			answer(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "reason": err.Error()})
			return
		}
		answer(w, http.StatusOK, map[string]string{"status": "ready"})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return &Server{listener: listener, log: log, http: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}}, nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := s.http.Shutdown(end); err != nil {
			s.log.Debug("http shutdown", "err", err)
		}
	})
	defer stop()
	s.log.Info("listening", "address", s.Addr(), "paths", "/health /ready /metrics")
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("http: %w", err)
	}
	return nil
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(body) // the client has gone: nobody to tell
}
