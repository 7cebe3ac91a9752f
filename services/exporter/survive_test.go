package exporter_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc/codes"
)

// load publishes batches of ten samples, each of its own series and time.
func (r *rig) load(batches int) (points int) {
	r.t.Helper()
	for n := range batches {
		samples := reports(10)
		for i := range samples {
			samples[i] = jitter(fmt.Sprintf("fs-%d", i%2), i+10*(n%16), n)
		}
		r.publish(n%16, samples...)
	}
	return batches * 10
}

func TestOutageAndCatchUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.MaxAckPending = 50
	e := r.start()
	want := r.load(20)
	r.exactly(want)
	addr := r.sink.Addr()
	before := r.sink.Points()
	r.sink.Close()

	want += r.load(200) // more than may be held
	eventually(t, "retries", func() bool { return e.Stats().Retries > 2 })
	if got := e.Stats().Held; got > r.cfg.MaxAckPending {
		t.Errorf("messages held: got %d, want at most %d", got, r.cfg.MaxAckPending)
	}
	sink, err := otlptest.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sink.Close)
	r.sink = sink
	if err := sink.WaitUnique(within(t), 2000); err != nil {
		t.Fatal(err)
	}
	r.settled()
	e.stop()
	all := append(before, sink.Points()...)
	if got, c := len(otlptest.Unique(all)), otlptest.Conflicts(all); got != want-200 || len(c) > 0 {
		// load repeats the identities of the first 20 batches.
		t.Errorf("different points: got %d, want %d; with two values: %d", got, want-200, len(c))
	}
}

// TestKilledInTheMiddle stops a replica whose requests were stored but never
// answered, so that nothing is acknowledged, and starts another.
func TestKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.StopTimeout = 50 * time.Millisecond
	want := r.load(100)
	r.sink.Always(otlptest.Fault{Store: true, Hang: true})
	first := r.start()
	if err := r.sink.Wait(within(t), 1); err != nil {
		t.Fatal(err)
	}
	first.stop()
	if got := first.Stats().PointsAccepted; got != 0 {
		t.Fatalf("accepted before the kill: got %d, want 0", got)
	}
	r.sink.Heal()
	r.start()
	r.exactly(want)
	r.settled()
	r.exactly(want)
	if got := len(r.sink.Points()); got <= want {
		t.Errorf("points: got %d, want more than %d: nothing was sent twice, so nothing was tested", got, want)
	}
}

// TestStopFinishes what is in memory while the endpoint takes it.
func TestStopFinishes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.BatchDelay, r.cfg.StopTimeout = time.Minute, time.Minute
	e := r.start()
	want := r.load(10)
	eventually(t, "all samples read", func() bool { return e.Stats().Samples == uint64(want) })
	if got := len(r.sink.Points()); got != 0 {
		t.Fatalf("points before stop: got %d, want 0", got)
	}
	e.stop()
	r.exactly(want)
	r.settled()
}

func TestStopGivesBackWhatIsNotTaken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.AckWait = 10 * time.Minute // nobody waits for that
	r.sink.Always(otlptest.Refuse(codes.Unavailable, "full"))
	e := r.start()
	want := r.load(30)
	eventually(t, "retries", func() bool { return e.Stats().Retries > 2 })
	e.stop()
	r.sink.Heal()
	r.start()
	r.exactly(want)
}

func TestTwoReplicasShareTheWork(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.MaxAckPending = 64
	a, b := r.start(), r.start()
	want := 0
	eventually(t, "both at work", func() bool {
		want += r.load(100)
		return a.Stats().Samples > 0 && b.Stats().Samples > 0
	})
	if err := r.sink.Wait(within(t), want); err != nil {
		t.Fatal(err)
	}
	r.settled()
	if got := len(r.sink.Points()); got != want {
		t.Errorf("points: got %d, want %d, none twice", got, want)
	}
	if sum := a.Stats().Samples + b.Stats().Samples; sum != uint64(want) {
		t.Errorf("samples of both: got %d, want %d", sum, want)
	}
}

// TestLateAcknowledgement holds messages for longer than AckWait: signs of life
// keep them, and a server that redelivers them all the same changes nothing.
func TestLateAcknowledgement(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.AckWait = 3 * time.Second
	r.cfg.Timeout = 7 * time.Second
	r.sink.Script(otlptest.Hang())
	want := r.load(1)
	e := r.start()
	r.exactly(want)
	r.settled()
	if got := len(r.sink.Points()); got != want {
		t.Errorf("points: got %d, want %d", got, want)
	}
	if got := e.Stats().Batches; got != 1 {
		t.Errorf("batches: got %d, want 1, not redelivered", got)
	}
}

// TestNATSRestarts while the endpoint is slow: what cannot be acknowledged is
// acknowledged later, or goes out again with the same values.
func TestNATSRestarts(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	r := newRigOn(t, srv, settings())
	r.cfg.AckWait = 2 * time.Second // for what was under way when the server died
	r.sink.Always(otlptest.Refuse(codes.Unavailable, "slow"))
	e := r.start()
	want := r.load(50)
	eventually(t, "held", func() bool { return e.Stats().Held > 0 })
	restart := srv.Stop()
	eventually(t, "not ready", func() bool { return e.Ready() != nil })
	r.sink.Heal()
	eventually(t, "some accepted without NATS", func() bool { return e.Stats().PointsAccepted > 0 })
	restart()
	r.exactly(want)
	r.settled()
	eventually(t, "ready", func() bool { return e.Ready() == nil })
}

func TestClosedConnectionEndsRun(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect()
	srv.JetStream(stream.DefaultSettings())
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	e, err := exporter.New(exporter.DefaultConfig(), js, natstest.Logger(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- e.Run(context.Background()) }()
	eventually(t, "ready", func() bool { return e.Ready() == nil })
	nc.Close()
	select {
	case err := <-done:
		if err == nil {
			t.Error("Run: got nil, want an error")
		}
	case <-within(t).Done():
		t.Error("Run goes on without a connection")
	}
}

// TestMemoryIsBoundedWhileDown fills the stream with much more than may be held.
func TestMemoryIsBoundedWhileDown(t *testing.T) {
	r := newRig(t)
	r.cfg.BufferBytes = 8 << 20
	r.sink.Close()
	before := heap()
	e := r.start()
	samples := reports(1000)
	for range 300 { // about 20 MB
		r.publish(0, samples...)
	}
	eventually(t, "retries", func() bool { return e.Stats().Retries > 2 })
	eventually(t, "the buffer is full", func() bool { return e.Stats().Held > 10 })
	got := heap() - before
	if got > 200 {
		t.Errorf("heap: grew by %d MiB, want less than 200", got)
	}
	t.Logf("held %d messages, heap grew by %d MiB", e.Stats().Held, got)
}

// heap that is in use, in MiB.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc >> 20)
}
