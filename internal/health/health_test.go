package health_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/fsagent/fsagent/internal/freeport"
	"github.com/fsagent/fsagent/internal/health"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/prometheus/client_golang/prometheus"
)

type service struct{ ready error }

func (s service) Ready() error { return s.ready }
func (s service) Health() any  { return map[string]string{"status": "ok"} }

func TestServer(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "fsagent_test_total"})
	reg.MustRegister(c)
	c.Inc()
	for _, tc := range []struct {
		name    string
		service service
		path    string
		status  int
		says    string
	}{
		{"health", service{}, "/health", 200, "{\n  \"status\": \"ok\"\n}"},
		{"ready", service{}, "/ready", 200, "ready"},
		{"not ready", service{errors.New("no NATS")}, "/ready", 503, "no NATS"},
		{"metrics", service{}, "/metrics", 200, "fsagent_test_total 1"},
		{"nothing", service{}, "/", 404, ""},
		{"no profile unless asked for", service{}, "/debug/pprof/", 404, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, err := health.Listen(health.Config{Host: "127.0.0.1", Port: freePort(t)}, tc.service, reg, natstest.Logger(t))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- s.Run(ctx) }()
			resp, err := http.Get("http://" + s.Addr() + tc.path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != tc.status || !strings.Contains(string(body), tc.says) {
				t.Errorf("got %d %s, %v; want %d with %q", resp.StatusCode, body, err, tc.status, tc.says)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = health.Listen(health.Config{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}, service{}, prometheus.NewRegistry(), natstest.Logger(t))
	if err == nil || !strings.Contains(err.Error(), "FSAGENT_HTTP_PORT") {
		t.Errorf("got %v, want an error that says what to do", err)
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		service service
		host    string // as configured
		what    string
		err     error
		says    string
	}{
		{"well", service{}, "127.0.0.1", "health", nil, "ok"},
		{"any address", service{}, "0.0.0.0", "ready", nil, "ready"},
		{"not ready", service{errors.New("no NATS")}, "", "ready", health.ErrAnswer, "no NATS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := health.Config{Host: tc.host, Port: freePort(t)}
			if _, err := health.Ask(t.Context(), cfg, tc.what); err == nil || errors.Is(err, health.ErrAnswer) {
				t.Errorf("nobody there: got %v", err)
			}
			s, err := health.Listen(cfg, tc.service, prometheus.NewRegistry(), natstest.Logger(t))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- s.Run(ctx) }()
			said, err := health.Ask(t.Context(), cfg, tc.what)
			if !errors.Is(err, tc.err) || !strings.Contains(string(said), tc.says) {
				t.Errorf("got %s, %v; want %q, %v", said, err, tc.says, tc.err)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	if _, err := health.Ask(t.Context(), health.Config{}, "health"); err == nil || !strings.Contains(err.Error(), "FSAGENT_HTTP_PORT") {
		t.Errorf("port 0: got %v", err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
