package rtcp_test

import (
	"testing"

	"github.com/fsagent/fsagent/internal/rtcp"
)

const second = 1_000_000

// in and out make reports of the two directions.
func in(ssrc, highest uint32, lost int32) rtcp.Report {
	return rtcp.Report{Direction: rtcp.Inbound, HasBlock: true, SSRC: ssrc, Highest: highest, Lost: lost}
}

func out(ssrc, highest uint32, lost int32) rtcp.Report {
	return rtcp.Report{Direction: rtcp.Outbound, HasBlock: true, SSRC: ssrc, Highest: highest, Lost: lost, Rate: 8000}
}

// TestStream has a case for every artefact: reports five seconds apart, and what
// the last of them makes.
func TestStream(t *testing.T) {
	t.Parallel()
	const known, unknown = true, false
	for _, tt := range []struct {
		name           string
		reports        []rtcp.Report
		artefacts      rtcp.Artefacts
		known          bool
		expected, lost int64
		before         int64 // SumBefore
		total          int64 // LostTotal
	}{
		{"baseline", []rtcp.Report{in(1, 1000, 0)}, rtcp.Baseline, unknown, 0, 0, 0, 0},
		{"phantom", []rtcp.Report{in(1, 1000, 1)}, rtcp.Baseline | rtcp.PhantomLoss, unknown, 0, 0, 0, 0},
		{"phantom stays in the cumulative count", []rtcp.Report{in(1, 1000, 1), in(1, 1250, 1)}, 0, known, 250, 0, 0, 0},
		{"lost before the first report", []rtcp.Report{in(1, 1000, 16), in(1, 1250, 20)}, 0, known, 250, 4, 16, 4},
		{"interval", []rtcp.Report{out(1, 1000, 2), out(1, 1250, 12)}, 0, known, 250, 10, 2, 10},
		{"new SSRC", []rtcp.Report{in(1, 1000, 5), in(1, 1250, 7), in(2, 90, 3)}, rtcp.SSRCChanged, unknown, 0, 0, 8, 2},
		{"after a new SSRC", []rtcp.Report{in(1, 1000, 5), in(2, 90, 1), in(2, 340, 3)}, 0, known, 250, 2, 5, 2},
		{"number falls", []rtcp.Report{out(1, 50000, 5), out(1, 40000, 7)}, rtcp.CountersRestarted, unknown, 0, 0, 7, 0},
		{"number of FreeSWITCH falls", []rtcp.Report{in(1, 50000, 5), in(1, 40000, 7)}, rtcp.CountersRestarted, unknown, 0, 0, 12, 0},
		{"number jumps", []rtcp.Report{in(1, 1000, 0), in(1, 60000, 0)}, rtcp.CountersRestarted, unknown, 0, 0, 0, 0},
		{"count of FreeSWITCH falls", []rtcp.Report{in(1, 1000, 5), in(1, 1250, 0)}, rtcp.CountersRestarted, unknown, 0, 0, 5, 0},
		{"count of a peer falls a little", []rtcp.Report{out(1, 1000, 5), out(1, 1250, 3)}, rtcp.NegativeLoss, known, 250, 0, 5, 0},
		{"count of a peer falls below 0", []rtcp.Report{out(1, 1000, 0), out(1, 1250, -3)}, rtcp.NegativeLoss, known, 250, 0, 0, 0},
		{"count of a peer falls a lot", []rtcp.Report{out(1, 1000, 500), out(1, 1250, 0)}, rtcp.CountersRestarted, unknown, 0, 0, 500, 0},
		{"given back later", []rtcp.Report{out(1, 1000, 0), out(1, 1250, 9), out(1, 1500, 6)}, rtcp.NegativeLoss, known, 250, 0, 0, 9},
		{"32-bit wrap", []rtcp.Report{in(1, 1<<32-100, 0), in(1, 150, 2)}, 0, known, 250, 2, 0, 2},
		{"16-bit wrap, cycles counted", []rtcp.Report{in(1, 65500, 0), in(1, 65536+214, 2)}, 0, known, 250, 2, 0, 2},
		{"16-bit wrap, no cycles", []rtcp.Report{out(1, 65500, 0), out(1, 214, 2)}, rtcp.CycleAdded, known, 250, 2, 0, 2},
		{"after it", []rtcp.Report{out(1, 65500, 0), out(1, 214, 2), out(1, 464, 3)}, 0, known, 250, 1, 0, 3},
		{"before media", []rtcp.Report{in(0, 0, 1)}, rtcp.BeforeMedia, unknown, 0, 0, 0, 0},
		{"first after media starts", []rtcp.Report{in(0, 0, 1), in(1, 1000, 1), in(1, 1250, 1)}, 0, known, 250, 0, 0, 0},
		{"no media", []rtcp.Report{in(1, 1000, 1), in(1, 1000, 1)}, rtcp.NoMedia, unknown, 0, 0, 0, 0},
		{"burst after no media", []rtcp.Report{in(1, 1000, 1), in(1, 1000, 1), in(1, 1502, 502)}, rtcp.AfterNoMedia, known, 502, 501, 0, 501},
		{"no block", []rtcp.Report{{Direction: rtcp.Outbound, Artefacts: rtcp.NoBlock}}, rtcp.NoBlock, unknown, 0, 0, 0, 0},
		{"more bits than the counter has", []rtcp.Report{out(1, 1000, -3538941*3)}, rtcp.Impossible, unknown, 0, 0, 0, 0},
		{"more than was ever sent", []rtcp.Report{out(1, 1000, 70000)}, rtcp.Impossible, unknown, 0, 0, 0, 0},
		{"less than was ever sent", []rtcp.Report{out(1, 1000, -3538941)}, rtcp.Impossible, unknown, 0, 0, 0, 0},
		{"lost more than expected", []rtcp.Report{in(1, 1000, 0), in(1, 1250, 300)}, rtcp.LossCut, known, 250, 250, 0, 250},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var s rtcp.Stream
			var iv rtcp.Interval
			for i, r := range tt.reports {
				iv = s.Next(r, uint64(i+1), int64(i+1)*5*second, 0)
			}
			if iv.Artefacts != tt.artefacts {
				t.Errorf("artefacts: got %q, want %q", iv.Artefacts, tt.artefacts)
			}
			if iv.Known != tt.known || iv.Expected != tt.expected || iv.Lost != tt.lost {
				t.Errorf("interval: got %t, %d expected, %d lost, want %t, %d, %d", iv.Known, iv.Expected, iv.Lost, tt.known, tt.expected, tt.lost)
			}
			if s.SumBefore != tt.before || s.LostTotal != tt.total {
				t.Errorf("sums: got %d before, %d total, want %d, %d", s.SumBefore, s.LostTotal, tt.before, tt.total)
			}
		})
	}
}

// TestSilenceIsOneInterval: the interval after a silence begins where the number
// stopped, not at the last report.
func TestSilenceIsOneInterval(t *testing.T) {
	t.Parallel()
	var s rtcp.Stream
	for i, highest := range []uint32{1000, 1050, 1050, 1050, 1050} {
		s.Next(in(1, highest, 0), uint64(i+1), int64(i)*second, 0)
	}
	iv := s.Next(in(1, 1300, 201), 6, 6*second, 0)
	if !iv.Known || iv.LengthUS != 5*second || iv.Expected != 250 || iv.Lost != 201 {
		t.Errorf("got %+v, want 201 of 250 in 5 s", iv)
	}
	if s.SumCoveredUS != 6*second {
		t.Errorf("covered %d us, want all 6 s", s.SumCoveredUS)
	}
}

// TestStaleSender: a receiver report repeats the sender fields of the last
// sender report.
func TestStaleSender(t *testing.T) {
	t.Parallel()
	var s rtcp.Stream
	r := out(1, 1000, 0)
	r.SenderNTP = 7
	if iv := s.Next(r, 1, second, 0); iv.Artefacts.Has(rtcp.StaleSender) {
		t.Error("the first report is stale")
	}
	r.Highest = 1050
	if iv := s.Next(r, 2, 2*second, 0); iv.Artefacts != rtcp.StaleSender || !iv.Known {
		t.Errorf("got %+v, want a known interval of a receiver report", iv)
	}
}

// TestOrderDoesNotMatter: reports that overtake each other lead to the same
// sums, if the first and the last are in their places.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	reports := []rtcp.Report{out(1, 1000, 0), out(1, 1250, 3), out(1, 1500, 9), out(1, 1750, 9)}
	sums := func(order ...int) (expected, lost int64, artefacts rtcp.Artefacts) {
		var s rtcp.Stream
		for _, i := range order {
			artefacts |= s.Next(reports[i], uint64(i+1), int64(i+1)*5*second, 0).Artefacts
		}
		return s.SumExpected, s.SumLost, artefacts
	}
	e1, l1, _ := sums(0, 1, 2, 3)
	e2, l2, a := sums(0, 2, 1, 3)
	if e1 != e2 || l1 != l2 || e1 != 750 || l1 != 9 {
		t.Errorf("in order %d, %d; overtaken %d, %d; want 750, 9", e1, l1, e2, l2)
	}
	if !a.Has(rtcp.Overtaken) {
		t.Error("the overtaken report has no artefact")
	}
}

func TestArtefactNames(t *testing.T) {
	t.Parallel()
	if got := (rtcp.Baseline | rtcp.PhantomLoss | rtcp.LossCut).String(); got != "baseline+phantom_loss+loss_cut" {
		t.Errorf("got %q", got)
	}
	for a := rtcp.Baseline; a <= rtcp.CodecChanged; a <<= 1 {
		if a.String() == "" {
			t.Errorf("artefact %b has no name", a)
		}
	}
	if rtcp.Artefacts(0).String() != "" {
		t.Error("no artefact has a name")
	}
}

// FuzzStream: whatever the reports, the numbers stay in their ranges, and the
// baseline can always be followed by an ordinary interval.
func FuzzStream(f *testing.F) {
	f.Add(uint32(1), uint32(1000), uint32(1), uint32(1250), uint32(3), int64(second))
	f.Add(uint32(1), uint32(65500), uint32(0), uint32(100), uint32(4294967293), int64(-5))
	f.Fuzz(func(t *testing.T, ssrc, h1, l1, h2, l2 uint32, length int64) {
		for _, make := range []func(uint32, uint32, int32) rtcp.Report{in, out} {
			var s rtcp.Stream
			for i, r := range []rtcp.Report{make(1, h1, int32(l1)), make(1+ssrc%2, h2, int32(l2)), make(1, h1+50, int32(l2)), make(1, h2, int32(l1))} {
				iv := s.Next(r, uint64(i+1), int64(i)*(length%(1<<40)), 0)
				switch {
				case iv.Lost < 0 || iv.Expected < 0 || iv.Lost > iv.Expected || iv.LengthUS < 0:
					t.Fatalf("interval %+v of %+v", iv, r)
				case iv.Known && iv.Expected == 0:
					t.Fatalf("known interval without packets: %+v", iv)
				case s.LostTotal < 0 || s.SumBefore < 0 || s.SumExpected < 0 || s.SumLost > s.SumExpected:
					t.Fatalf("sums %+v", s)
				}
			}
		}
	})
}
