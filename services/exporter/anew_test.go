package exporter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// renew removes the samples stream and makes another, as a server with its streams in
// memory does when it starts anew.
func (r *rig) renew() {
	r.t.Helper()
	if err := r.js.DeleteStream(r.t.Context(), stream.Samples); err != nil {
		r.t.Fatal(err)
	}
	if err := stream.EnsureRetry(r.t.Context(), r.js, settings(), natstest.Logger(r.t)); err != nil {
		r.t.Fatal(err)
	}
}

// several publishes messages of one sample each, all of one channel.
func (r *rig) several(n, channel int) {
	r.t.Helper()
	for i := range n {
		if _, err := r.js.PublishAsync(stream.SampleSubject(i%16), batch(r.t, jitter("fs-1", channel, i))); err != nil {
			r.t.Fatal(err)
		}
	}
	select {
	case <-r.js.PublishAsyncComplete():
	case <-within(r.t).Done():
		r.t.Fatal("the stream does not take the samples")
	}
}

// TestStreamMadeAnew while messages are held: those of the new stream have the same
// sequences, and are neither taken for them nor acknowledged with them.
func TestStreamMadeAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.sink.Always(otlptest.Hang())
	e := r.start()
	r.several(40, 1)
	eventually(t, "the old messages are held", func() bool { return e.Stats().Held == 40 })
	r.renew()
	r.several(30, 2)
	eventually(t, "the new messages are held", func() bool { return e.Stats().Held == 30 })
	r.sink.Heal()
	r.exactly(70)
	r.settled()
	e.stop()
}

// TestStreamMadeAnewUnderTwo replicas: one has made the consumer again before the
// other notices.
func TestStreamMadeAnewUnderTwo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.sink.Always(otlptest.Hang())
	first, second := r.start(), r.start()
	r.several(40, 1)
	eventually(t, "the old messages are held", func() bool { return first.Stats().Held+second.Stats().Held == 40 })
	r.renew()
	if _, err := r.js.CreateConsumer(t.Context(), stream.Samples,
		stream.ExportAll(stream.ExportSettings{AckWait: r.cfg.AckWait, MaxAckPending: r.cfg.MaxAckPending})); err != nil {
		t.Fatal(err)
	}
	r.several(30, 2)
	r.sink.Heal()
	r.exactly(70)
	r.settled()
}

// TestStreamMadeAnewWhileFull: a replica that reads nothing, because its buffer is
// full, holds messages of the old stream. What it acknowledges says nothing of the
// messages of the new one that another replica holds, and is killed with.
func TestStreamMadeAnewWhileFull(t *testing.T) {
	t.Parallel()
	const published, size = 30, 300 << 10 // more than the least buffer takes
	const fresh = 20
	for _, tc := range []struct {
		name    string
		storage stream.Storage
		restart bool
	}{
		{"removed", stream.File, false},
		{"memory restarts", stream.Memory, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			srv := natstest.Start(t)
			s := settings()
			s.Storage = tc.storage
			r := newRigOn(t, srv, s)
			r.cfg.BufferBytes, r.cfg.StopTimeout = 8<<20, 50*time.Millisecond
			r.cfg.AckWait = 3 * time.Second
			r.sink.Always(otlptest.Hang())
			full := r.start()
			for i := range published {
				big := jitter("fs-1", 1, i)
				big.SetEventId(strings.Repeat("x", size))
				r.publish(i%16, big)
			}
			old := 0
			eventually(t, "the first is full, and asks for no more", func() bool {
				c, err := r.js.Consumer(t.Context(), stream.Samples, stream.ExportConsumer)
				old = full.Stats().Held
				return err == nil && c.CachedInfo().NumWaiting == 0 && old > published/2
			})
			if tc.restart {
				srv.Stop()()
				if err := stream.EnsureRetry(t.Context(), r.js, s, natstest.Logger(t)); err != nil {
					t.Fatal(err)
				}
			} else {
				r.renew()
				eventually(t, "it has looked at the stream", func() bool { return full.Stats().Held == 0 })
			}
			other := r.cfg
			sink := newSink(t)
			sink.Always(otlptest.Hang())
			other.Endpoint = sink.Addr()
			second := r.startWith(other)
			r.several(fresh, 2)
			eventually(t, "the second holds the new ones", func() bool { return second.Stats().Held == fresh })

			r.sink.Heal()
			eventually(t, "the first is through", func() bool { return full.Stats().PointsAccepted >= uint64(old) && full.Stats().Held == 0 })
			if err := r.js.Conn().FlushTimeout(time.Minute); err != nil {
				t.Fatal(err)
			}
			second.stop()
			r.exactly(old + fresh)
			r.settled()
		})
	}
}

// TestConsumerMadeAnew while messages are held: the stream is the same, and they come
// again. They are sent once.
func TestConsumerMadeAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.sink.Always(otlptest.Hang())
	reg := prometheus.NewRegistry()
	made, err := exporter.New(r.cfg, r.js, natstest.Logger(t), reg)
	if err != nil {
		t.Fatal(err)
	}
	e := r.run(made)
	const n = 40
	r.several(n, 1)
	eventually(t, "the messages are held", func() bool { return e.Stats().Held == n })
	if err := r.js.DeleteConsumer(t.Context(), stream.Samples, stream.ExportConsumer); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they have come again", func() bool { return gather(t, reg)["fsagent_export_redelivered_total"] == n })
	r.sink.Heal()
	r.exactly(n)
	r.settled()
	if got := e.Stats().Samples; got != n {
		t.Errorf("samples read: got %d, want %d", got, n)
	}
}

// TestStreamMadeAnewAfterCatchUp: what went ahead in the old stream says nothing of
// the same sequences in the new one.
func TestStreamMadeAnewAfterCatchUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.LiveAfter = 100 * time.Millisecond
	r.cfg.MaxPoints, r.cfg.MaxAckPending = 20, 20
	r.several(1200, 1)
	published := time.Now()
	eventually(t, "old messages", func() bool { return time.Since(published) > r.cfg.LiveAfter })
	r.sink.Always(otlptest.Slow(200 * time.Millisecond))
	r.start()
	var ahead jetstream.Consumer
	eventually(t, "the second consumer", func() (ok bool) {
		var err error
		ahead, err = r.js.Consumer(t.Context(), stream.Samples, stream.ExportAheadConsumer)
		return err == nil
	})
	r.several(40, 2)
	eventually(t, "new samples went ahead", func() bool {
		info, err := ahead.Info(t.Context())
		return err != nil || info.AckFloor.Stream >= 1240
	})
	r.sink.Heal()
	r.exactly(1240)
	r.settled()
	eventually(t, "only the shared consumer", func() bool {
		_, err := ahead.Info(t.Context())
		return err != nil
	})
	r.renew()
	r.several(1300, 3)
	r.exactly(2540)
	r.settled()
}
