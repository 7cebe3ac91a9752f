// Package health serves what an operator asks a process over HTTP: /health (how
// it is), /ready (can it do its work) and /metrics (Prometheus).
package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config of the HTTP endpoints.
type Config struct {
	// Host is the address to listen on; empty means all.
	Host string `yaml:"host" env:"FSAGENT_HTTP_HOST"`
	// Port is where to listen; 0 serves nothing.
	Port int `yaml:"port" env:"FSAGENT_HTTP_PORT"`
	// Profile serves /debug/pprof/ too, for go tool pprof.
	Profile bool `yaml:"profile" env:"FSAGENT_HTTP_PROFILE"`
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
	if cfg.Profile {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	}
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

// ErrAnswer is returned by Ask for an answer that is not 200.
var ErrAnswer = errors.New("not well")

const (
	askTimeout = 4 * time.Second
	askLimit   = 1 << 20 // bytes of an answer
)

// Ask asks the process of this machine that runs with cfg for "health" or
// "ready", and returns what it says. The error wraps ErrAnswer if it says no, and
// is the connection's if nobody answers: a container can ask itself without a
// shell.
func Ask(ctx context.Context, cfg Config, what string) ([]byte, error) {
	if cfg.Port == 0 {
		return nil, errors.New("http.port is 0: nothing is served; set FSAGENT_HTTP_PORT")
	}
	host := cfg.Host
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, strconv.Itoa(cfg.Port))+"/"+what, nil)
	if err != nil {
		return nil, fmt.Errorf("http.host: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("nobody answers: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, askLimit))
	if err != nil {
		return nil, fmt.Errorf("answer of /%s: %w", what, err)
	}
	if resp.StatusCode != http.StatusOK {
		return body, fmt.Errorf("%w: /%s answers %s", ErrAnswer, what, resp.Status)
	}
	return body, nil
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(body) // the client has gone: nobody to tell
}
