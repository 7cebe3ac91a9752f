package exporter

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// runUntil runs e until done holds, and stops it.
func runUntil(t *testing.T, e *Exporter, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("not done in time: %+v", e.Stats())
			break
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// answered is the number of requests that were answered with code.
func answered(t *testing.T, e *Exporter, code codes.Code) (n float64) {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(e.metrics.requests[code])
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		n += f.GetMetric()[0].GetCounter().GetValue()
	}
	return n
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
