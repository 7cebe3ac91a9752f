package rtcp_test

import (
	"testing"

	"github.com/fsagent/fsagent/internal/rtcp"
)

// TestOutage: reports of packets of 20 ms, and how long the last of them says
// that there was no media.
func TestOutage(t *testing.T) {
	t.Parallel()
	type at struct {
		second  int64
		highest uint32
		lost    int32
	}
	for _, tt := range []struct {
		name      string
		packetUS  int64
		reports   []at
		artefacts rtcp.Artefacts
		noMediaMS int64
		lengthMS  int64
	}{
		{"media", 20_000, []at{{0, 1000, 0}, {4, 1200, 0}}, 0, 0, 4000},
		{"scattered loss", 20_000, []at{{0, 1000, 0}, {4, 1200, 120}}, 0, 0, 4000},
		{"silent", 20_000, []at{{0, 1000, 0}, {4, 1200, 0}, {5, 1200, 0}}, rtcp.NoMedia, 1000, 0},
		{"stops", 20_000, []at{{0, 1000, 0}, {4, 1050, 0}}, rtcp.PartialMedia, 3000, 4000},
		{"stopped for less than half", 20_000, []at{{0, 1000, 0}, {4, 1100, 0}}, 0, 0, 4000},
		{"comes back", 20_000, []at{{0, 1000, 0}, {4, 1050, 0}, {5, 1050, 0}, {6, 1255, 200}}, rtcp.AfterNoMedia, 900, 5000},
		{"comes back without a report between", 20_000, []at{{0, 1000, 0}, {4, 1200, 0}, {14, 1700, 495}}, 0, 9900, 10_000},
		{"comes back with another number", 20_000, []at{{0, 1000, 0}, {4, 1200, 0}, {5, 1200, 0}, {6, 1230, 0}}, rtcp.AfterNoMedia, 400, 2000},
		{"packets of 40 ms where 20 was negotiated", 20_000, []at{{0, 1000, 0}, {4, 1100, 0}, {8, 1200, 0}}, 0, 0, 4000},
		{"packets of 40 ms, then silent and back", 20_000, []at{{0, 1000, 0}, {4, 1100, 0}, {5, 1100, 0}, {6, 1115, 0}}, rtcp.AfterNoMedia, 400, 2000},
		{"packets of 10 ms, not negotiated", 0, []at{{0, 1000, 0}, {4, 1400, 0}, {5, 1400, 0}, {6, 1450, 0}}, rtcp.AfterNoMedia, 0, 2000},
		{"too short to tell", 20_000, []at{{0, 1000, 0}, {4, 1200, 0}, {4, 1201, 0}}, 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var s rtcp.Stream
			var iv rtcp.Interval
			var sum int64
			for i, r := range tt.reports {
				iv = s.Next(in(1, r.highest, r.lost), uint64(i+1), r.second*second, tt.packetUS)
				sum += iv.NoMediaUS
			}
			if iv.Artefacts&(rtcp.NoMedia|rtcp.AfterNoMedia|rtcp.PartialMedia) != tt.artefacts {
				t.Errorf("artefacts: got %q, want %q", iv.Artefacts, tt.artefacts)
			}
			if iv.NoMediaUS != tt.noMediaMS*1000 || iv.LengthUS != tt.lengthMS*1000 {
				t.Errorf("got %d us without media in %d us, want %d and %d ms", iv.NoMediaUS, iv.LengthUS, tt.noMediaMS, tt.lengthMS)
			}
			if s.SumNoMediaUS != sum {
				t.Errorf("sum %d, want %d", s.SumNoMediaUS, sum)
			}
		})
	}
}

// TestRuns: in how many runs packets were lost is known where one was lost, or
// one arrived.
func TestRuns(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		lost    []int32 // cumulative, 10 packets a report
		runs    int64
		unknown bool
	}{
		{"none", []int32{0, 0, 0}, 0, false},
		{"one and one", []int32{0, 1, 2}, 2, false},
		{"all but one", []int32{0, 9, 9}, 1, false},
		{"two", []int32{0, 2, 3}, 1, true},
	} {
		var s rtcp.Stream
		for i, lost := range tt.lost {
			s.Next(in(1, uint32(1000+10*i), lost), uint64(i+1), int64(i)*second, 100_000)
		}
		if s.SumRuns != tt.runs || s.RunsUnknown != tt.unknown {
			t.Errorf("%s: got %d runs, unknown %t", tt.name, s.SumRuns, s.RunsUnknown)
		}
	}
}

// TestFlushed: loss that FreeSWITCH's own flush may have made is set aside, in
// the first interval after it was announced.
func TestFlushed(t *testing.T) {
	t.Parallel()
	var s rtcp.Stream
	s.Next(in(1, 1000, 0), 1, 0, 0)
	s.Pending = rtcp.Flushed | rtcp.Held
	s.Next(in(1, 1000, 0), 2, 4*second, 0) // still silent
	iv := s.Next(in(1, 1200, 13), 3, 8*second, 0)
	if iv.Lost != 0 || iv.Flushed != 13 || iv.Artefacts != rtcp.Flushed|rtcp.Held|rtcp.AfterNoMedia {
		t.Errorf("got %+v", iv)
	}
	if iv = s.Next(in(1, 1400, 15), 4, 12*second, 0); iv.Lost != 2 || iv.Flushed != 0 || s.SumFlushed != 13 || s.SumLost != 2 {
		t.Errorf("after it: got %+v", iv)
	}
}
