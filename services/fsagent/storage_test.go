package fsagent_test

import (
	"context"
	"testing"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/service"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/fsagent/fsagent/services/fsagent"
	"github.com/nats-io/nats.go/jetstream"
)

// open runs a pipeline over a server elsewhere until the test ends.
func open(t *testing.T, srv *natstest.Server, cfg fsagent.Config) *fsagent.Pipeline {
	t.Helper()
	cfg.NATS.URL = srv.URL()
	p, err := fsagent.Open(t.Context(), cfg, natstest.Logger(t), service.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		p.Close()
	})
	return p
}

// ends counts the legs whose end has been exported.
func ends(b switchboard) int {
	n := 0
	for _, p := range otlptest.Unique(b.receiver.Points()) {
		if p.Metric == "freeswitch.qos.total_packets" {
			n++
		}
	}
	return n
}

// A server with memory storage loses everything when it restarts. The services
// make the streams again and go on with the calls that follow; nobody restarts
// them.
func TestMemoryStorage(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	b := newSwitchboard(t)
	cfg := b.config(t)
	cfg.Storage.Storage = stream.Memory
	p := open(t, srv, cfg)
	play(t, b.server, "02-bridged-pcmu", esltest.AsFast)
	until(t, "two legs have ended", func() bool { return ends(b) == 2 })

	restart := srv.Stop()
	restart()
	until(t, "the client is back", func() bool { return p.NATS.Stats().Reconnects > 0 && p.NATS.IsConnected() })
	play(t, b.server, "03g-loss5-only", esltest.AsFast)
	until(t, "another leg has ended", func() bool { return ends(b) == 3 })
}

// The server has no room for more: the collector keeps what it reads, says so,
// and when there is room again everything goes on without a restart.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	srv := natstest.StartWithRoom(t, 1<<20)
	b := newSwitchboard(t)
	p := open(t, srv, b.config(t))
	sent := play(t, b.server, "05-load-80-calls", esltest.AsFast)
	until(t, "everything is read", func() bool { return p.Collector.Stats().EventsRead >= sent() })
	if s := p.Collector.Stats(); s.Published >= sent() {
		t.Fatalf("all %d events fitted: there is too much room", s.Published)
	}

	js, err := jetstream.New(p.NATS)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "all events are published, as others are removed", func() bool {
		if p.Collector.Stats().Published >= sent() {
			return true
		}
		// An operator makes room: what has been stepped is not needed.
		if s := p.Calculator.Stats(); s.Stepped > 0 {
			if events, err := js.Stream(t.Context(), stream.Events); err == nil {
				_ = events.Purge(t.Context(), jetstream.WithPurgeKeep(50)) // room may not suffice even for this
			}
		}
		return false
	})
	if s := p.Collector.Stats(); len(s.Dropped) > 0 {
		t.Errorf("events were dropped though the buffer had room: %v", s.Dropped)
	}
}
