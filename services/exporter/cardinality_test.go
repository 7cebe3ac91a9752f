package exporter_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"google.golang.org/grpc/codes"
)

// TestBadLegs sends samples of bad legs and of others: the mark decides.
func TestBadLegs(t *testing.T) {
	t.Parallel()
	sample := func(channel string, end bool) *fsagentv1.Sample {
		s := fsagentv1.Sample_builder{TimeUs: epoch.UnixMicro(), FsInstance: "fs-1", ChannelId: channel, Bad: strings.HasPrefix(channel, "BAD")}
		if end {
			s.LegEnd = fsagentv1.LegEnd_builder{JitterMaxMs: new(30.0)}.Build()
		} else {
			s.Direction = fsagentv1.Direction_DIRECTION_INBOUND
			s.Report = fsagentv1.Report_builder{JitterMs: new(30.0)}.Build()
		}
		return s.Build()
	}
	samples := []*fsagentv1.Sample{sample("good report", false), sample("BAD report", false), sample("good end", true), sample("BAD end", true)}
	for _, tt := range []struct {
		legs exporter.Legs
		want func(channel string) bool
	}{
		{exporter.LegsFull, func(string) bool { return true }},
		{exporter.LegsBad, func(channel string) bool { return strings.HasPrefix(channel, "BAD") }},
		{exporter.LegsOff, func(string) bool { return false }},
	} {
		t.Run(string(tt.legs), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.cfg.Legs = tt.legs
			e := r.start()
			r.publish(0, samples...)
			r.settledAfter(1, e)
			e.stop()
			got := map[string]bool{}
			for _, p := range r.sink.Points() {
				got[p.Attributes.Get("channel_id")] = true
			}
			for _, s := range samples {
				if channel := s.GetChannelId(); got[channel] != tt.want(channel) {
					t.Errorf("%s: sent %v, want %v", channel, got[channel], tt.want(channel))
				}
			}
		})
	}
}

func TestUnitsCanBeLeftOut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.Units = exporter.UnitsNone
	e := r.start()
	r.publish(0, fullReport().Build(), fullLegEnd().Build())
	r.settledAfter(1, e)
	for _, p := range r.sink.Points() {
		if p.Unit != "" {
			t.Errorf("%s: unit %q, want none", p.Metric, p.Unit)
		}
	}
}

// TestEndOfLegMarkers ends exactly the series that reports of the leg have, a
// millisecond after the leg; in the request they are behind all values.
func TestEndOfLegMarkers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.EndOfLegMarkers = true
	e := r.start()
	report := fullReport()
	report.Report.SetMosSource(fsagentv1.MosSource_MOS_SOURCE_G107_1)
	report.Report.SetMos(4)
	report.Report.SetNoMediaUs(2_000_000)
	end := fullLegEnd()
	end.LegEnd.GetInbound().SetNoMediaUs(2_000_000)
	end.TimeUs = epoch.Add(time.Second).UnixMicro()
	r.publish(0, report.Build(), end.Build())
	r.settledAfter(1, e)
	e.stop()
	series := func(p otlptest.Point) string { return p.Metric + p.Attributes.String() }
	var live, ended []string
	for _, p := range r.sink.Points() {
		switch {
		case p.NoValue:
			ended = append(ended, series(p))
			if want := epoch.Add(time.Second + time.Millisecond); !p.Time.Equal(want) {
				t.Errorf("marker at %v, want %v", p.Time, want)
			}
		case len(ended) > 0:
			t.Errorf("%v is behind a marker", p)
		case strings.HasPrefix(p.Metric, "freeswitch.rtcp."):
			live = append(live, series(p))
		}
	}
	for _, want := range live {
		if !slices.Contains(ended, want) {
			t.Errorf("not ended: %s", want)
		}
	}
	if len(live) != 7 || len(ended) != 7+6 {
		t.Errorf("got %d series of reports and %d markers, want 7 and, with those of the other direction, 13", len(live), len(ended))
	}
	slices.Sort(ended)
	if got := len(slices.Compact(ended)); got != 7+6 {
		t.Errorf("got %d different markers, want 13", got)
	}
}

// TestRefusedMarkers are dropped and counted: nothing is lost with them.
func TestRefusedMarkers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.EndOfLegMarkers, r.cfg.ParkAfter = true, 300*time.Millisecond
	r.sink.Always(otlptest.Poison(codes.InvalidArgument, func(p otlptest.Point) bool { return p.NoValue }))
	e := r.start()
	r.publish(0, fullReport().Build(), fullLegEnd().Build())
	r.settledAfter(1, e)
	e.stop()
	s := e.Stats()
	if len(r.sink.Points()) != int(s.PointsAccepted) || s.PointsAccepted < 20 || s.PointsRejected != 12 || s.Parked != 0 || len(r.letters()) != 0 {
		t.Errorf("got %+v, %d points; want all values accepted, 12 rejected, none parked", s, len(r.sink.Points()))
	}
}
