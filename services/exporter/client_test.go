package exporter

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"google.golang.org/grpc/codes"
)

// away returns a client whose first request found nobody at addr.
func away(t *testing.T, addr string) *client {
	t.Helper()
	cfg := DefaultConfig()
	plain := true
	cfg.Endpoint, cfg.Insecure = addr, &plain
	c, err := newClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.close(context.Background()) })
	if v := c.export(t.Context(), nil); v.action != again || v.code != codes.Unavailable {
		t.Fatalf("a request to nobody: got %v, %v", v.action, v.code)
	}
	return c
}

// TestRestEndsWithOutage: what waits longest goes on as soon as the endpoint is
// back, and not when its pause is over.
func TestRestEndsWithOutage(t *testing.T) {
	t.Parallel()
	sink, err := otlptest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := sink.Addr()
	sink.Close()
	c := away(t, addr)
	if sink, err = otlptest.Start(addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sink.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !c.rest(ctx, time.Hour) {
		t.Fatal("the rest goes on a minute after the endpoint is back")
	}
	if v := c.export(t.Context(), nil); v.action != accept {
		t.Errorf("a request after the rest: got %v, %v", v.action, v.err)
	}
	// The connection is there: whoever rests now waits for something else.
	const d = 50 * time.Millisecond
	if began := time.Now(); !c.rest(t.Context(), d) || time.Since(began) < d {
		t.Errorf("with a connection a rest of %v took %v", d, time.Since(began))
	}
}

// TestRestIsNeverNone: an endpoint that takes connections and closes them is not
// asked all the time, and who is told to stop does.
func TestRestIsNeverNone(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	c := away(t, l.Addr().String())
	if began := time.Now(); !c.rest(t.Context(), time.Second) || time.Since(began) < shortRest {
		t.Errorf("a rest took %v, want %v at least", time.Since(began), shortRest)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c.rest(ctx, time.Hour) {
		t.Error("a rest goes on although it was told to stop")
	}
}
