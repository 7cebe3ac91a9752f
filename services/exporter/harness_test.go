package exporter_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
)

// rig is a stream, an endpoint and the means to run exporters between them.
type rig struct {
	t    testing.TB
	js   jetstream.JetStream
	sink *otlptest.Receiver
	cfg  exporter.Config
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return newRigOn(t, natstest.Start(t), settings())
}

func newRigOn(t testing.TB, srv *natstest.Server, s stream.Settings) *rig {
	t.Helper()
	r := &rig{t: t, js: srv.JetStream(s), sink: newSink(t)}
	r.cfg = exporter.DefaultConfig()
	plain := true
	r.cfg.Endpoint, r.cfg.Insecure = r.sink.Addr(), &plain
	r.cfg.BatchDelay = 10 * time.Millisecond
	return r
}

func newSink(t testing.TB) *otlptest.Receiver {
	t.Helper()
	sink, err := otlptest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sink.Close)
	return sink
}

// running is an exporter whose Run goes on.
type running struct {
	*exporter.Exporter
	t      testing.TB
	cancel context.CancelFunc
	done   chan error
}

func (r *rig) start() *running { return r.startWith(r.cfg) }

func (r *rig) startWith(cfg exporter.Config) *running {
	r.t.Helper()
	e, err := exporter.New(cfg, r.js, natstest.Logger(r.t), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.run(e)
}

func (r *rig) run(e *exporter.Exporter) *running {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	run := &running{Exporter: e, t: r.t, cancel: cancel, done: make(chan error, 1)}
	go func() { run.done <- e.Run(ctx) }()
	r.t.Cleanup(run.stop)
	return run
}

// stop and wait; Run must return nil.
func (r *running) stop() {
	r.cancel()
	if err, ok := <-r.done; ok {
		close(r.done)
		if err != nil {
			r.t.Errorf("Run: got %v, want nil", err)
		}
	}
}

func (r *rig) publish(partition int, samples ...*fsagentv1.Sample) uint64 {
	r.t.Helper()
	data, err := proto.Marshal(fsagentv1.SampleBatch_builder{Samples: samples}.Build())
	if err != nil {
		r.t.Fatal(err)
	}
	return r.publishBytes(partition, data)
}

func (r *rig) publishBytes(partition int, data []byte) uint64 {
	r.t.Helper()
	ack, err := r.js.Publish(r.t.Context(), stream.SampleSubject(partition), data)
	if err != nil {
		r.t.Fatal(err)
	}
	return ack.Sequence
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls what has no event to wait for.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// settled waits until every message is acknowledged.
func (r *rig) settled() {
	r.t.Helper()
	eventually(r.t, "all messages acknowledged", func() bool {
		c, err := r.js.Consumer(r.t.Context(), stream.Samples, stream.ExportConsumer)
		if err != nil {
			return false
		}
		info := c.CachedInfo()
		return info.NumPending == 0 && info.NumAckPending == 0
	})
}

// settledAfter waits until e has read n batches and all is acknowledged.
func (r *rig) settledAfter(n uint64, e *running) {
	r.t.Helper()
	eventually(r.t, "all batches read", func() bool { return e.Stats().Batches >= n })
	r.settled()
}

// letters returns the dead letters.
func (r *rig) letters() []*jetstream.RawStreamMsg {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), stream.DeadLetter)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []*jetstream.RawStreamMsg
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(r.t.Context(), seq)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// jitter is a report with one value, from channel ch at second n.
func jitter(instance string, ch, n int) *fsagentv1.Sample {
	v := float64(n) + float64(ch)/1000
	return fsagentv1.Sample_builder{
		EventId:    fmt.Sprintf("core:%d-%d", ch, n),
		TimeUs:     epoch.Add(time.Duration(n) * time.Second).UnixMicro(),
		Direction:  fsagentv1.Direction_DIRECTION_INBOUND,
		FsInstance: instance, ChannelId: fmt.Sprintf("channel-%d", ch),
		Report: fsagentv1.Report_builder{JitterMs: &v}.Build(),
	}.Build()
}

// leaks fails the test if goroutines of this module are left.
func leaks(t *testing.T) {
	t.Helper()
	var stacks string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		buf := make([]byte, 1<<20)
		stacks = ""
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "exporter.(*") || strings.Contains(g, "otlpmetricgrpc") || strings.Contains(g, "pullConsumer") {
				stacks += g + "\n\n"
			}
		}
		if stacks == "" {
			return
		}
	}
	t.Errorf("goroutines left:\n%s", stacks)
}

func settings() stream.Settings { return stream.DefaultSettings() }
