package exporter_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
)

// hour publishes what the calculators made during an hour without endpoint: a
// message of 50 samples for every second, the last one now.
func (r *rig) hour() (samples int, began time.Time) {
	r.t.Helper()
	began = time.Now().Add(-time.Hour)
	for second := range 3600 {
		var some []*fsagentv1.Sample
		for ch := range 10 {
			s := jitter("fs-1", ch, second)
			s.SetTimeUs(began.Add(time.Duration(second) * time.Second).UnixMicro())
			some = append(some, s)
		}
		if _, err := r.js.PublishAsync(stream.SampleSubject(second%16), batch(r.t, some...)); err != nil {
			r.t.Fatal(err)
		}
		samples += len(some)
	}
	select {
	case <-r.js.PublishAsyncComplete():
	case <-within(r.t).Done():
		r.t.Fatal("the stream does not take the samples")
	}
	return samples, began
}

// TestHourWithoutEndpoint: while the endpoint is down the samples wait in the
// stream, and the lag says how long. Afterwards all go out, much faster than they
// were made, in requests that are narrow in time.
func TestHourWithoutEndpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	addr := r.sink.Addr()
	r.sink.Close()
	want, began := r.hour()
	e := r.start()
	eventually(t, "retries", func() bool { return e.Stats().Retries > 2 })
	eventually(t, "the lag of an hour", func() bool {
		lag := e.Stats().Lag
		return lag > time.Hour-time.Minute && lag <= time.Since(began)
	})
	if got := e.Stats().Held; got > r.cfg.MaxAckPending {
		t.Errorf("messages held: got %d, want at most %d", got, r.cfg.MaxAckPending)
	}
	sink, err := otlptest.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sink.Close)
	r.sink = sink
	back := time.Now()
	r.exactly(want)
	r.settled()
	t.Logf("an hour, %d points, in %v", want, time.Since(back)) // exactly has waited two minutes at most
	for n, req := range sink.Requests() {
		if span := req.Newest.Sub(req.Oldest); span > r.cfg.MaxSpan {
			t.Errorf("request %d spans %v, want at most %v", n, span, r.cfg.MaxSpan)
			break
		}
	}
	eventually(t, "no lag", func() bool { return e.Stats().Lag == 0 })
}

// TestNewSamplesOvertakeOldOnes during catch-up behind an endpoint that is slow:
// what is made now arrives while most of the old samples still wait, nothing is
// lost, and in the end only the shared consumer is left.
func TestNewSamplesOvertakeOldOnes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.LiveAfter = 500 * time.Millisecond
	r.cfg.MaxPoints, r.cfg.MaxAckPending = 100, 50
	want, _ := r.hour()
	published := time.Now()
	eventually(t, "old messages", func() bool { return time.Since(published) > r.cfg.LiveAfter })
	r.sink.Always(otlptest.Slow(400 * time.Millisecond))
	var fresh atomic.Int64
	r.sink.OnPoint(func(p otlptest.Point) {
		if p.Attributes.Get("channel_id") == "channel-99" {
			fresh.Add(1)
		}
	})
	e := r.start()
	eventually(t, "the second consumer", func() bool {
		_, err := r.js.Consumer(t.Context(), stream.Samples, stream.ExportAheadConsumer)
		return err == nil
	})
	for n := range 20 {
		r.publish(n%16, jitter("fs-1", 99, 10_000+n))
	}
	eventually(t, "new samples", func() bool { return fresh.Load() >= 20 })
	old := len(otlptest.Unique(r.sink.Points())) - 20
	t.Logf("%d of %d old samples were out before the new ones", old, want)
	if old > want/2 {
		t.Errorf("new samples waited behind %d of %d old ones", old, want)
	}
	r.sink.Heal()
	r.exactly(want + 20)
	r.settled()
	eventually(t, "only the shared consumer", func() bool {
		_, err := r.js.Consumer(t.Context(), stream.Samples, stream.ExportAheadConsumer)
		return err != nil
	})
	if got := len(r.sink.Points()); got > want+40 {
		t.Errorf("points: got %d, want hardly more than %d: what was sent ahead was sent again", got, want+20)
	}
	r.publish(0, jitter("fs-1", 99, 20_000))
	r.exactly(want + 21)
	if err := e.Ready(); err != nil {
		t.Errorf("ready afterwards: got %v, want nil", err)
	}
}
