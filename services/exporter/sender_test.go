package exporter_test

import (
	"context"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"google.golang.org/grpc/codes"
)

// A Sender makes the points of an Exporter, with its labels more; it waits while
// the endpoint refuses, leaves out what no endpoint takes, and sends nothing twice.
func TestSender(t *testing.T) {
	t.Parallel()
	sink := newSink(t)
	cfg := exporter.DefaultConfig()
	cfg.Endpoint, cfg.Insecure = sink.Addr(), new(true)
	s, err := exporter.NewSender(cfg, natstest.Logger(t), exporter.Label{Key: "replay", Value: "why"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	sink.Script(otlptest.Refuse(codes.Unavailable, "away"), otlptest.Refuse(codes.Unavailable, "away"))
	report, end := fullReport().Build(), fullLegEnd().Build()
	end.SetPartial(true)
	timeless := fullReport().Build()
	timeless.SetTimeUs(0)
	for _, m := range []*fsagentv1.Sample{report, timeless, end} {
		if err := s.Send(within(t), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	points := sink.Points()
	if len(points) != len(otlptest.Unique(points)) || len(points) < 10 {
		t.Errorf("%d points, %d different ones", len(points), len(otlptest.Unique(points)))
	}
	for _, p := range points {
		isEnd := p.Attributes.Get("codec_name") != ""
		if p.Attributes.Get("replay") != "why" || (p.Attributes.Get("partial") == "true") != isEnd {
			t.Errorf("labels of %v", p)
		}
	}
	if got := s.Stats(); got.Parked != 1 || got.Retries < 2 || got.PointsAccepted != uint64(len(points)) {
		t.Errorf("stats: %+v", got)
	}

	sink.Always(otlptest.Refuse(codes.Unavailable, "away"))
	if err := s.Send(within(t), report); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.Flush(ctx); err == nil {
		t.Error("samples that were not sent count as sent")
	}
	sink.Heal()
	sent := len(sink.Points())
	if err := s.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	if got := len(sink.Points()) - sent; got == 0 {
		t.Error("what could not be sent is gone")
	}
}

// More labels than there is room for are refused.
func TestSenderLabels(t *testing.T) {
	t.Parallel()
	if _, err := exporter.NewSender(exporter.DefaultConfig(), natstest.Logger(t), exporter.Label{}, exporter.Label{}, exporter.Label{}); err == nil {
		t.Error("three labels are accepted")
	}
}
