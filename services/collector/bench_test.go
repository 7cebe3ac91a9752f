package collector_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/prometheus/client_golang/prometheus"
)

// BenchmarkCollector is the whole way of a recording of 80 calls, many times
// over: simulated FreeSWITCH, TCP, collector, embedded NATS server with files.
// All of it shares the machine, so the rate is far below the collector's own.
func BenchmarkCollector(b *testing.B) {
	srv := natstest.Start(b)
	srv.JetStream(stream.DefaultSettings())
	fs, err := esltest.Start(esltest.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer fs.Close()
	cfg := config(instance("fs1", fs))
	cfg.Events.BufferBytes = 16 << 30 // nothing is to be dropped
	c, err := collector.New(cfg, srv.Connect(), stream.DefaultPartitions, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	recs := load(b, "05-load-80-calls")
	each := uint64(len(want(b, recs)))
	b.ReportAllocs()
	b.ResetTimer()
	if _, err := fs.Play(ctx, esltest.Playback{Recordings: recs, Clients: 1, Rounds: b.N, OneLife: true}); err != nil {
		b.Fatal(err)
	}
	for c.Stats().Published < each*uint64(b.N) {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(c.Stats().Published)/b.Elapsed().Seconds(), "events/s")
	if n := c.Stats().Duplicates; n > 0 {
		b.Errorf("%d duplicates", n)
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
