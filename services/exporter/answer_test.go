package exporter_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// reports of one message: channels 0 to n-1 at second 1.
func reports(n int) []*fsagentv1.Sample {
	var samples []*fsagentv1.Sample
	for ch := range n {
		samples = append(samples, jitter("fs-1", ch, 1))
	}
	return samples
}

// TestAnswers sends ten samples over the wire to an endpoint that answers as in
// each row of the table in decide, first or always.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const n = 10
	second := time.Second
	bad := func(p otlptest.Point) bool { return p.Attributes.Get("channel_id") == "channel-7" }
	for _, tt := range []struct {
		name   string
		script []otlptest.Fault
		always *otlptest.Fault
		// kept points, with those kept twice; rejected by the endpoint; parked.
		kept, rejected, parked int
		// least time it must take.
		least time.Duration
	}{
		{name: "OK", kept: n},
		{name: "partial success", script: []otlptest.Fault{otlptest.Partial(3, "no thanks")}, kept: n - 3, rejected: 3},
		{name: "partial success, nothing rejected", script: []otlptest.Fault{otlptest.Partial(0, "careful")}, kept: n},
		{name: "all rejected", script: []otlptest.Fault{otlptest.Partial(n, "no")}, rejected: n},
		{name: "unavailable", script: []otlptest.Fault{otlptest.Refuse(codes.Unavailable, "queue is full")}, kept: n},
		{name: "aborted, out of range, canceled, data loss", kept: n, script: []otlptest.Fault{
			otlptest.Refuse(codes.Aborted, ""), otlptest.Refuse(codes.OutOfRange, ""),
			otlptest.Refuse(codes.Canceled, ""), otlptest.Refuse(codes.DataLoss, ""),
		}},
		{name: "silence", script: []otlptest.Fault{otlptest.Hang()}, kept: n},
		{name: "stored, then unavailable", script: []otlptest.Fault{otlptest.StoreThenFail(codes.Unavailable)}, kept: 2 * n},
		{name: "unavailable for a while", script: []otlptest.Fault{otlptest.RefuseFor(codes.Unavailable, second)}, kept: n, least: second},
		{name: "exhausted for a while", script: []otlptest.Fault{otlptest.RefuseFor(codes.ResourceExhausted, second)}, kept: n, least: second},
		{name: "exhausted", script: []otlptest.Fault{otlptest.Refuse(codes.ResourceExhausted, "quota")}, kept: n},
		{name: "too large", always: new(otlptest.TooLarge(3)), kept: n},
		{name: "always too large", always: new(otlptest.TooLarge(0)), parked: n},
		{name: "invalid argument for one", always: new(otlptest.Poison(codes.InvalidArgument, bad)), kept: n - 1, parked: 1},
		{name: "internal for one", always: new(otlptest.Poison(codes.Internal, bad)), kept: n - 1, parked: 1},
		{name: "unknown, once", script: []otlptest.Fault{otlptest.Refuse(codes.Unknown, "sick")}, kept: n},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if tt.name == "silence" {
				r.cfg.Timeout = 2 * time.Second
			}
			r.sink.Script(tt.script...)
			if tt.always != nil {
				r.sink.Always(*tt.always)
			}
			began := time.Now()
			seq := r.publish(0, reports(n)...)
			e := r.start()
			r.settledAfter(1, e)
			if took := time.Since(began); took < tt.least {
				t.Errorf("took %v, want %v at least", took, tt.least)
			}
			e.stop()
			points := r.sink.Points()
			s := e.Stats()
			if len(points) != tt.kept || s.PointsRejected != uint64(tt.rejected) || s.Parked != uint64(tt.parked) {
				t.Errorf("got %d points, %d rejected, %d parked; want %d, %d, %d",
					len(points), s.PointsRejected, s.Parked, tt.kept, tt.rejected, tt.parked)
			}
			if c := otlptest.Conflicts(points); len(c) > 0 {
				t.Errorf("points with two values: %v", c)
			}
			letters := r.letters()
			if len(letters) != tt.parked {
				t.Errorf("dead letters: got %d, want %d", len(letters), tt.parked)
			}
			for _, l := range letters {
				if got := l.Header.Get(stream.HeaderSequence); got != fmt.Sprint(seq) {
					t.Errorf("%s: got %s, want %d", stream.HeaderSequence, got, seq)
				}
				if l.Header.Get(stream.HeaderReason) == "" {
					t.Errorf("a dead letter without reason")
				}
				var batch fsagentv1.SampleBatch
				if err := proto.Unmarshal(l.Data, &batch); err != nil || len(batch.GetSamples()) != 1 {
					t.Errorf("dead letter: %d samples, %v", len(batch.GetSamples()), err)
				}
			}
		})
	}
}

// TestAlarm holds everything while the endpoint refuses us, says why in Ready,
// and goes on when it no longer does.
func TestAlarm(t *testing.T) {
	t.Parallel()
	for _, code := range []codes.Code{codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.cfg.Lanes = 1
			r.sink.Always(otlptest.Refuse(code, "wrong key"))
			e := r.start()
			r.publish(0, reports(3)...)
			eventually(t, "an alarm", func() bool {
				err := e.Ready()
				return err != nil && strings.Contains(err.Error(), "refused") && strings.Contains(err.Error(), "wrong key")
			})
			if got := len(r.letters()); got != 0 {
				t.Errorf("dead letters: got %d, want 0", got)
			}
			r.sink.Heal()
			r.exactly(3)
			r.settled()
			if err := e.Ready(); err != nil {
				t.Errorf("ready afterwards: got %v, want nil", err)
			}
		})
	}
}

// TestSickEndpoint refuses everything as if it were bad data: that is no proof
// against the data, so nothing is parked before Config.ParkAfter.
func TestSickEndpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.sink.Always(otlptest.Refuse(codes.Internal, "backend on fire"))
	e := r.start()
	r.publish(0, reports(20)...)
	eventually(t, "waiting for the endpoint", func() bool { return e.Ready() != nil })
	eventually(t, "some retries", func() bool { return e.Stats().Retries >= 3 })
	if got := len(r.letters()); got != 0 {
		t.Errorf("dead letters: got %d, want 0", got)
	}
	r.sink.Heal()
	r.exactly(20)
	r.settled()
	if got := e.Stats().Parked; got != 0 {
		t.Errorf("parked: got %d, want 0", got)
	}
}

// TestLonePoison is refused by an endpoint that takes nothing else, because
// there is nothing else: it is parked after Config.ParkAfter.
func TestLonePoison(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.ParkAfter = 300 * time.Millisecond
	r.sink.Always(otlptest.Refuse(codes.InvalidArgument, "never"))
	e := r.start()
	r.publish(0, jitter("fs-1", 1, 1))
	r.settledAfter(1, e)
	letters := r.letters()
	if len(letters) != 1 || !strings.Contains(letters[0].Header.Get(stream.HeaderReason), "refused: ") {
		t.Errorf("dead letters: got %v, want one that was refused", letters)
	}
}

func TestReadyWhileRunning(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e, err := exporter.New(r.cfg, r.js, natstest.Logger(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if e.Ready() == nil {
		t.Error("ready before Run")
	}
	run := r.start()
	eventually(t, "ready", func() bool { return run.Ready() == nil })
	run.stop()
	if run.Ready() == nil {
		t.Error("ready after Run")
	}
}
