package exporter_test

import (
	"testing"

	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"google.golang.org/grpc/codes"
)

// exactly fails unless the sink has every point of n reports of each channel
// once by identity, each with one value.
func (r *rig) exactly(want int) {
	r.t.Helper()
	if err := r.sink.WaitUnique(within(r.t), want); err != nil {
		r.t.Fatal(err)
	}
	points := r.sink.Points()
	if got := len(otlptest.Unique(points)); got != want {
		r.t.Errorf("different points: got %d, want %d", got, want)
	}
	if c := otlptest.Conflicts(points); len(c) > 0 {
		r.t.Errorf("points with two values: %d, first %v", len(c), c[0])
	}
}

func TestExportsWhatIsInTheStream(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for p := range 4 {
		r.publishBytes(p, nil) // a claim
		for n := range 5 {
			r.publish(p, jitter("fs-1", p, 2*n), jitter("fs-2", p, 2*n+1))
		}
	}
	e := r.start()
	r.exactly(40)
	r.settled()
	e.stop()
	if got := len(r.sink.Points()); got != 40 {
		t.Errorf("points: got %d, want 40", got)
	}
	s := e.Stats()
	if s.Batches != 20 || s.Samples != 40 || s.PointsAccepted != 40 || s.Held != 0 || s.Parked != 0 {
		t.Errorf("stats: got %+v", s)
	}
}

// TestNoGoroutineIsLeft is not parallel: it looks at all goroutines.
func TestNoGoroutineIsLeft(t *testing.T) {
	r := newRig(t)
	want := r.load(10)
	e := r.start()
	r.exactly(want)
	e.stop()
	r.sink.Always(otlptest.Refuse(codes.Unavailable, "full"))
	e = r.start()
	r.load(10)
	eventually(t, "retries", func() bool { return e.Stats().Retries > 1 })
	e.stop()
	leaks(t)
}

func TestRunStartsWithoutEndpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	addr := r.sink.Addr()
	r.sink.Close()
	e := r.start()
	r.publish(0, jitter("fs-1", 1, 1))
	eventually(t, "not ready without endpoint", func() bool { return e.Ready() != nil && e.Stats().Retries > 1 })
	if got := e.Stats().Lag; got <= 0 {
		t.Errorf("lag while waiting: got %v, want more than 0", got)
	}
	sink, err := otlptest.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sink.Close)
	r.sink = sink
	r.exactly(1)
	r.settled()
	eventually(t, "ready again", func() bool { return e.Ready() == nil && e.Stats().Lag == 0 })
}
