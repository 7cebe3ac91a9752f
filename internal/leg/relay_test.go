package leg_test

import (
	"testing"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/rtcp"
)

// edges are the first and the last report of each direction of a leg.
type edges map[rtcp.Direction]*[2]rtcp.Report

// observed runs a recording of one leg and returns its account and its reports'
// edges.
func observed(t *testing.T, r *recording.Recording) (*fsagentv1.LegEnd, edges) {
	t.Helper()
	table, e := leg.NewTable(leg.DefaultParams()), edges{}
	var end *fsagentv1.LegEnd
	table.Trace(func(s leg.Step) {
		if s.Report != nil && s.Interval.Counted {
			if e[s.Report.Direction] == nil {
				e[s.Report.Direction] = &[2]rtcp.Report{*s.Report}
			}
			e[s.Report.Direction][1] = *s.Report
		}
		if m := s.Sample.GetLegEnd(); m != nil {
			end = m
		}
	})
	for i, raw := range r.Events() {
		table.Apply(uint64(i+1), "pbx", raw, func(*fsagentv1.Sample) {})
	}
	return end, e
}

// head is how many packets the first report of FreeSWITCH is about: it says how
// many were lost and which share of 256 that is, cut to a whole number.
func head(r rtcp.Report) (least, most int) {
	lost, f := int(r.Lost), int(r.Fraction)
	return lost*256/(f+1) + 1, lost * 256 / f
}

// TestLossAgainstRelay compares each direction's loss with what a relay between
// FreeSWITCH and its peer dropped. Each packet of a difference has its name:
//
//   - unseen: dropped after the last report, so in none. The packets that can be
//     meant are those with the extended sequence numbers after the last report's
//     highest, up to the last one that came to the relay.
//   - phantom: the 1 that FreeSWITCH counts too many at the start of most streams,
//     in a first report with other losses, where it cannot be told from them.
func TestLossAgainstRelay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		recording       string
		direction       rtcp.Direction
		dropped, lost   int
		unseen, phantom int
	}{
		{"03a-loss5-jitter30-pcmu", rtcp.Inbound, 143, 140, 3, 0},
		{"03a-loss5-jitter30-pcmu", rtcp.Outbound, 139, 140, 0, 1},
		{"03g-loss5-only", rtcp.Inbound, 119, 119, 0, 0},
		{"03g-loss5-only", rtcp.Outbound, 105, 104, 1, 0},
		{"04a-g722-loss2-jitter20", rtcp.Inbound, 33, 32, 1, 0},
		{"04a-g722-loss2-jitter20", rtcp.Outbound, 49, 46, 3, 0},
	} {
		r, err := recording.Load(tt.recording)
		if err != nil {
			t.Fatal(err)
		}
		end, e := observed(t, r)
		summary, flow := end.GetInbound(), r.Relay[0]
		if tt.direction == rtcp.Outbound {
			summary, flow = end.GetOutbound(), r.Relay[1]
		}
		if got := int(summary.GetPacketsLost()); flow.RTPDropped != tt.dropped || got != tt.lost || tt.dropped-tt.lost != tt.unseen-tt.phantom {
			t.Errorf("%s %v: relay dropped %d, lost %d, want %d = %d + %d unseen - %d phantom", tt.recording, tt.direction,
				flow.RTPDropped, got, tt.dropped, tt.lost, tt.unseen, tt.phantom)
		}
		first, last := e[tt.direction][0], e[tt.direction][1]
		least, most := head(first)
		// The stream begins up to two packets before the first that is counted.
		after := [2]int{flow.RTPIn - int(last.Highest-first.Highest) - most - 2, flow.RTPIn - int(last.Highest-first.Highest) - least}
		t.Logf("%s %v: %d of the %d to %d packets after the last report, sequence numbers from %d on, in %.2f s", tt.recording, tt.direction,
			tt.unseen, max(after[0], 0), after[1], last.Highest+1, float64(summary.GetUnreportedUs())/1e6)
		if tt.unseen > after[1] {
			t.Errorf("%s %v: %d unseen, but only %d packets after the last report", tt.recording, tt.direction, tt.unseen, after[1])
		}
		if tt.direction == rtcp.Outbound && int(summary.GetPacketsUnreported()) != flow.RTPIn-int(summary.GetPacketsExpected()) {
			t.Errorf("%s: %d packets unreported, the relay had %d besides the expected", tt.recording, summary.GetPacketsUnreported(),
				flow.RTPIn-int(summary.GetPacketsExpected()))
		}
	}
}

// TestBlackout: the relay of 03d stood still for 10 s. That is 10 s without
// media in either direction, the loss belongs to them, and no interval at its
// beginning looks good.
func TestBlackout(t *testing.T) {
	t.Parallel()
	samples, _ := run(t, events(t, "03d-blackout"))
	for _, d := range []fsagentv1.Direction{fsagentv1.Direction_DIRECTION_INBOUND, fsagentv1.Direction_DIRECTION_OUTBOUND} {
		var sum, inOutage int64
		for _, s := range samples {
			m := s.GetReport()
			if m == nil || s.GetDirection() != d {
				continue
			}
			sum += m.GetNoMediaUs()
			at := float64(s.GetTimeUs()-samples[0].GetTimeUs()) / 1e6 // 4 s into the call
			switch {
			case m.GetPacketsLost() > 0:
				inOutage = m.GetIntervalUs()
				if m.GetPacketsLost() < 501 || m.GetPacketsLost() > 502 || inOutage < 10_000_000 || inOutage > 10_200_000 {
					t.Errorf("%v at %.2f s: %d lost in %d us, want the 501 or 502 of the outage in its 10 s", d, at, m.GetPacketsLost(), inOutage)
				}
			case at > 8.2 && at < 18 && m.HasMos():
				t.Errorf("%v at %.2f s, in the outage: MOS %v", d, at, m.GetMos())
			}
		}
		if sum < 9_960_000 || sum > 10_100_000 || inOutage == 0 {
			t.Errorf("%v: %d us without media, want 10 s", d, sum)
		}
	}
}

// TestHold: what FreeSWITCH flushes after the hold of 06a is no loss, and the
// hold is time without media.
func TestHold(t *testing.T) {
	t.Parallel()
	samples, _ := run(t, events(t, "06a-hold"))
	for _, s := range samples {
		if s.GetReport().GetPacketsLost() != 0 || s.GetLegEnd().GetPacketLoss() != 0 {
			t.Errorf("%s: false loss", s.GetEventId())
		}
	}
	flushed, held := 0, 0
	for _, m := range ends(samples) {
		flushed += int(m.GetInbound().GetPacketsFlushed())
		if m.GetHeldUs() > 12_000_000 && m.GetInbound().GetNoMediaUs() > 12_000_000 && m.GetOutbound().GetNoMediaUs() > 12_000_000 {
			held++
		}
	}
	if flushed != 13 || held != 1 {
		t.Errorf("%d packets flushed, %d legs held for 12 s, want 13 and 1", flushed, held)
	}
}

// TestG722Clock: the jitter of G.722 is in units of 8000 Hz although it samples
// at 16000 (75 and 72 units at the median are 9.4 and 9.0 ms).
func TestG722Clock(t *testing.T) {
	t.Parallel()
	r, err := recording.Load("04a-g722-loss2-jitter20")
	if err != nil {
		t.Fatal(err)
	}
	table, n := leg.NewTable(leg.DefaultParams()), 0
	table.Trace(func(s leg.Step) {
		if m := s.Sample.GetReport(); m != nil {
			n++
			if s.Clock != 8000 || m.GetJitterMs() != float64(s.Report.Jitter)/8 {
				t.Errorf("jitter of %d units is %v ms by a clock of %d", s.Report.Jitter, m.GetJitterMs(), s.Clock)
			}
		}
	})
	for i, raw := range r.Events() {
		table.Apply(uint64(i+1), "pbx", raw, func(*fsagentv1.Sample) {})
	}
	if n != 29 {
		t.Errorf("got %d reports, want 29", n)
	}
}

// TestEveryLegHasAnAccount: the 126 legs of 05 and the 27 of 07 each end with one
// account; what failed has no numbers, not zeros.
func TestEveryLegHasAnAccount(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ legs, failed int }{"05-load-80-calls": {126, 14}, "07-failed": {27, 23}} {
		samples, _ := run(t, events(t, name))
		accounts, failed := 0, 0
		for _, s := range samples {
			m := s.GetLegEnd()
			if m == nil {
				continue
			}
			accounts++
			if m.GetTotalReason() != fsagentv1.Reason_REASON_NO_MEDIA {
				continue
			}
			failed++
			if m.HasMos() || m.HasJitterAvgMs() || m.HasTotalPackets() || m.HasPacketLoss() || m.HasTotalBytes() {
				t.Errorf("%s: failed leg %s has numbers", name, s.GetChannelId())
			}
		}
		if accounts != want.legs || failed != want.failed {
			t.Errorf("%s: %d accounts, %d of them without media, want %d and %d", name, accounts, failed, want.legs, want.failed)
		}
	}
}
