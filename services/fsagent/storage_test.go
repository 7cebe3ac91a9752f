package fsagent_test

import (
	"context"
	"errors"
	"strings"
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
	b := newSwitchboard(t, "")
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

// Somebody removes the bucket while calls go on. It is made again, the states are
// made anew of the events, and no sample is lost or comes twice.
func TestBucketRemoved(t *testing.T) {
	t.Parallel()
	const name = "05-load-80-calls"
	srv := natstest.Start(t)
	b := newSwitchboard(t, name)
	p := open(t, srv, b.config(t))
	until(t, "all is well", func() bool { return p.Ready() == nil })
	done := make(chan struct{})
	go func() {
		defer close(done)
		play(t, b.server, name, 10) // twelve seconds
	}()
	until(t, "some legs have ended", func() bool { return ends(b) > 10 })
	js, err := jetstream.New(p.NATS)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), stream.StateStream); err != nil {
		t.Fatal(err)
	}
	until(t, "the bucket is there again", func() bool {
		_, err := js.Stream(t.Context(), stream.StateStream)
		return err == nil
	})
	<-done
	want := strings.Split(unzip(t, "testdata/"+name+".txt.gz"), "\n")
	until(t, "all points are there", func() bool { return len(otlptest.Unique(b.receiver.Points())) >= len(want)-1 })
	golden(t, name, b.receiver.Points())
	once(t, srv.Connect())
	until(t, "all is well again", func() bool { return p.Ready() == nil })
}

// The server has no room for more: the collector keeps what it reads, says so,
// and when there is room again everything goes on without a restart.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	// The samples alone come to 1 MiB, the events to 7.
	srv := natstest.StartWithRoom(t, 2<<20)
	const name = "05-load-80-calls"
	b := newSwitchboard(t, name)
	p := open(t, srv, b.config(t))
	sent := play(t, b.server, name, esltest.AsFast)
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

// There is no room for so long that the collector's buffer is full as well: what
// does not fit is dropped, counted and told to the calculators, and when there is
// room again calls are measured without a restart.
func TestNoRoomForLong(t *testing.T) {
	t.Parallel()
	srv := natstest.StartWithRoom(t, 16<<20)
	b := newSwitchboard(t, "")
	cfg := b.config(t)
	cfg.Collector.Events.BufferBytes = 256 << 10
	p := open(t, srv, cfg)
	until(t, "all is well", func() bool { return p.Ready() == nil })
	js, err := jetstream.New(p.NATS)
	if err != nil {
		t.Fatal(err)
	}
	const foreign = "FOREIGN" // another user of the server
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: foreign, Subjects: []string{"foreign"}}); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{256 << 10, 1 << 10} {
		for err == nil {
			_, err = js.Publish(t.Context(), "foreign", make([]byte, size))
		}
		if !errors.Is(err, &jetstream.APIError{ErrorCode: noRoom}) {
			t.Fatal(err)
		}
		err = nil
	}

	sent := play(t, b.server, "05-load-80-calls", esltest.AsFast)
	until(t, "everything is read", func() bool { return p.Collector.Stats().EventsRead >= sent() })
	until(t, "the buffer is full", func() bool { return dropped(p) > 0 })
	until(t, "collector and calculator say why", func() bool { return p.Collector.Ready() != nil && p.Calculator.Ready() != nil })
	t.Logf("%d dropped; %v", dropped(p), p.Ready())

	if err := js.DeleteStream(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	until(t, "every event is published or counted as dropped", func() bool {
		s := p.Collector.Stats()
		return s.BufferedBytes == 0 && s.Published+dropped(p) == s.EventsRead
	})
	until(t, "the calculators are told", func() bool { return p.Collector.Stats().Made > 0 })
	before := ends(b)
	play(t, b.server, "03g-loss5-only", esltest.AsFast)
	until(t, "another leg has ended", func() bool { return ends(b) > before })
	until(t, "all is well again", func() bool { return p.Ready() == nil })
}

// noRoom is the code of "insufficient resources".
const noRoom = 10023

// dropped are the events that the collector had no room for.
func dropped(p *fsagent.Pipeline) (n uint64) {
	for _, of := range p.Collector.Stats().Dropped {
		n += of
	}
	return n
}
