package collector_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// Two collectors read one server and publish into a stream on three servers, which
// are still agreeing on most events when the second one comes: that is no
// trouble, no event waits for it, and all are there, once each, in order.
func TestTwoCollectorsOnCluster(t *testing.T) {
	t.Parallel()
	url := natstest.Cluster(t, 3).URL()
	connect := func() *nats.Conn {
		nc, err := stream.Connect(stream.Connection{URL: url}, t.Name(), natstest.Logger(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	js, err := jetstream.New(connect())
	if err != nil {
		t.Fatal(err)
	}
	replicated := settings()
	replicated.Replicas = 3
	if err := stream.EnsureRetry(t.Context(), js, replicated, natstest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	fs := newFreeSWITCH(t, esltest.Config{})
	reg := prometheus.NewRegistry()
	cfg := config(instance("fs1", fs))
	cfg.Publish.AckTimeout = time.Minute // the answers of a busy machine come late
	first, stopFirst := collectInto(t, cfg, connect(), reg)
	second, stopSecond := collectInto(t, cfg, connect(), prometheus.WrapRegistererWithPrefix("second_", reg))
	sent := observe(t, fs)
	recs := load(t, "05-load-80-calls")
	play(t, fs, esltest.Playback{Recordings: recs, Clients: 3, Rate: 2000})
	events := len(want(t, recs))
	eventually(t, "both have published all", func() bool {
		return first.Stats().Published >= uint64(events) && second.Stats().Published >= uint64(events)
	})
	stopFirst()
	stopSecond()
	l := read(t, js)
	if len(l.copies) != events || l.doubles() != 0 {
		t.Errorf("got %d events, %d of them twice; want %d, once each", len(l.copies), l.doubles(), events)
	}
	if !slices.Equal(l.order, sent(events)) {
		t.Error("the events are not in the order in which they were sent")
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if n := f.GetMetric()[0].GetCounter().GetValue(); strings.HasSuffix(f.GetName(), "publish_retries_total") && n != 0 {
			t.Errorf("%s is %v, want 0", f.GetName(), n)
		}
	}
}
