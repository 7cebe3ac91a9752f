package leg_test

import (
	"fmt"
	"strings"
	"testing"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/sample"
)

const (
	hour       = 60 * minute
	endUnknown = fsagentv1.Reason_REASON_END_UNKNOWN
)

// snapshot is FSAGENT_SYNC as the collector makes it.
func snapshot(core string, seq, at int, channels ...string) []byte {
	list := strings.Join(channels, " ")
	if list == "" {
		list = "_undef_"
	}
	return madeBy(core, "FSAGENT_SYNC", "", seq, at, "Fsagent-Instance: pbx", "Fsagent-Channels: "+list)
}

// ended lists the accounts given out since the last call: channel and event id.
func (s *stepper) ended() (out []string) {
	for _, m := range s.samples {
		if sample.KindOf(m) == sample.LegEnd {
			out = append(out, m.GetChannelId()+" "+m.GetEventId())
		}
	}
	s.samples = nil
	return out
}

func (s *stepper) wantEnded(want ...string) {
	s.t.Helper()
	if got := s.ended(); fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("got ends %q, want %q", got, want)
	}
}

// TestAge: a leg whose end was never seen is accounted for after a day without
// events, in event time.
func TestAge(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "quiet", 1, 0))
	s.apply(leg.Applied, made("CHANNEL_CREATE", "silent", 2, 0))
	s.apply(leg.Applied, made("CHANNEL_CREATE", "talks", 3, 0))
	s.apply(leg.Applied, recv("talks", 4, 20*hour, 1000, 0))
	s.samples = nil
	s.apply(leg.Applied, made("HEARTBEAT", "", 5, 25*hour))
	s.wantLen(1, 2)
	m := s.last().GetLegEnd()
	if m.GetEndReason() != endUnknown || m.GetLastEventUs() != startUS || m.GetTotalReason() != endUnknown || m.GetMosReason() != endUnknown {
		t.Errorf("got %v", m)
	}
	s.wantEnded("quiet core1:5:quiet", "silent core1:5:silent")
	s.apply(leg.Applied, made("HEARTBEAT", "", 6, 43*hour))
	s.wantLen(1, 0)
	s.wantEnded()
}

// TestVanished: the clock of a server that is gone stands still. Its legs end
// when another server has gone on for a day, whatever that one's date is.
func TestVanished(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	other := func(seq, at int) { s.apply(leg.Applied, madeBy("core2", "HEARTBEAT", "", seq, at)) }
	const wrong = 1000 * hour // a server with a wrong date
	other(1, wrong)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 1, 0))
	for h := range 30 {
		other(2+h, wrong+(1+h)*hour)
		s.apply(leg.Applied, made("HEARTBEAT", "", 2+h, h*hour))
		if h < 20 {
			s.apply(leg.Applied, recv("u1", 100+h, h*hour, 1000+h, 0))
		}
	}
	s.wantLen(1, 0)
	s.samples = nil
	for h := range 26 {
		s.wantLen(1, 0)
		other(40+h, wrong+(31+h)*hour)
	}
	s.wantLen(0, 0)
	s.wantEnded("u1 core1:65:u1")
	if cores := s.table.Cores(); len(cores) != 1 || cores[0].GetCoreUuid() != "core2" {
		t.Errorf("got cores %v, want core2 only", cores)
	}
	if changes := s.table.Changes(); len(changes) != 1 || changes[0].State != nil {
		t.Errorf("got %d changes, want one deletion", len(changes))
	}
}

// TestSnapshotAfterRestart: a new process has none of the old one's legs.
func TestSnapshotAfterRestart(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u2", 1, 0))
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 2, 0))
	s.apply(leg.Applied, send("u1", 3, 4, 1000, 1))
	s.apply(leg.Applied, send("u1", 4, 9, 1250, 11))
	s.apply(leg.Applied, madeBy("core2", "CHANNEL_CREATE", "u3", 1, 20))
	s.samples = nil
	s.apply(leg.Applied, snapshot("core2", 1795429792000000, 21, "u3"))
	m := s.samples[0].GetLegEnd()
	if m.GetEndReason() != endUnknown || m.GetInbound().GetPacketsLost() != 10 || m.GetInbound().HasPackets() || m.HasTotalPackets() {
		t.Errorf("u1: got %v", m)
	}
	s.wantEnded("u1 core1:1795429792000000:u1", "u2 core1:1795429792000000:u2")
	s.wantLen(1, 2)
	// Again from a second collector, and late for the process that is gone.
	s.apply(leg.Applied, snapshot("core2", 1795429792000001, 21, "u3"))
	s.apply(leg.Applied, snapshot("core1", 1795429792000002, 8, "u1", "u2"))
	s.wantEnded()
	s.wantLen(1, 2)
}

// TestSnapshotOfTheSameProcess: what is not in the list has ended, unless it is
// so young that FreeSWITCH's table may lack it.
func TestSnapshotOfTheSameProcess(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "gone", 1, 0))
	s.apply(leg.Applied, made("CHANNEL_CREATE", "a%40b", 2, 0))
	s.apply(leg.Applied, recv("a%40b", 3, 4, 1000, 0))
	s.apply(leg.Applied, made("CHANNEL_CREATE", "young", 4, 58))
	s.samples = nil
	s.apply(leg.Applied, snapshot("core1", 77, 60, "a%40b", "unheard"))
	s.wantEnded("gone core1:77:gone")
	// The counters of a leg that lives on continue over the gap.
	s.apply(leg.Applied, recv("a%40b", 5, 64, 4000, 30))
	if r := s.last().GetReport(); r.GetPacketsExpected() != 3000 || r.GetPacketsLost() != 30 || r.GetIntervalUs() != 60*second {
		t.Errorf("after the gap: got %v", r)
	}
	// A leg whose start was not seen comes with CHANNEL_DATA.
	s.apply(leg.Applied, made("CHANNEL_DATA", "unheard", 6, 61, "variable_sip_call_id: late", "variable_rtp_use_codec_name: PCMU"))
	s.apply(leg.Applied, recv("unheard", 7, 64, 4000, 30))
	if got := s.last().GetCorrelationId(); got != "late" {
		t.Errorf("got correlation %q, want late", got)
	}
	s.apply(leg.Applied, snapshot("core1", 78, 200))
	s.samples = s.samples[2:]
	s.wantEnded("a@b core1:78:a%40b", "unheard core1:78:unheard", "young core1:78:young")
}

// TestEndAfterAll: a leg that was given up and lives on keeps its counters, and
// its real account says that it replaces the other.
func TestEndAfterAll(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 1, 0, "variable_rtp_use_codec_name: PCMU"))
	s.apply(leg.Applied, send("u1", 2, 4, 1000, 1))
	s.apply(leg.Applied, send("u1", 3, 9, 1250, 11))
	s.apply(leg.Applied, snapshot("core1", 77, 60))
	s.wantEnded("u1 core1:77:u1")
	s.wantLen(0, 1)
	s.reload()
	s.apply(leg.Duplicate, send("u1", 3, 9, 1250, 11))
	s.wantLen(0, 1)
	s.apply(leg.Applied, send("u1", 4, 64, 4000, 31))
	s.wantLen(1, 0)
	if r := s.last().GetReport(); r.GetPacketsExpected() != 2750 || r.GetPacketsLost() != 20 {
		t.Errorf("after it came back: got %v", r)
	}
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "u1", 5, 70, rtp...))
	m := s.last().GetLegEnd()
	if !m.GetAfterEndUnknown() || m.GetEndReason() != 0 || m.GetInbound().GetPacketsLost() != 30 || m.GetTotalPackets() != 1010 {
		t.Errorf("got %v", m)
	}
	s.wantEnded("u1 core1:5")
	s.apply(leg.AfterEnd, send("u1", 6, 71, 4100, 31))
	s.wantLen(0, 1)
}

// reload saves the table and goes on with what was loaded.
func (s *stepper) reload() {
	s.t.Helper()
	bucket := map[leg.Key][]byte{}
	store(bucket, s.table.Changes())
	next := leg.NewTable(leg.DefaultParams())
	next.LoadCores(s.table.Cores())
	for _, state := range bucket {
		if _, err := next.LoadLeg(state); err != nil {
			s.t.Fatal(err)
		}
	}
	s.table = next
}

// dropped is FSAGENT_GAP as the collector makes it.
func dropped(seq, from, to int, counts ...string) []byte {
	headers := []string{
		"Gap-Instance: pbx", fmt.Sprintf("Gap-From: %d", startUS+from*second), fmt.Sprintf("Gap-To: %d", startUS+to*second), "Gap-Count: 9",
	}
	return made("FSAGENT_GAP", "", seq, to, append(headers, counts...)...)
}

// TestGap: the interval over a gap says so and is whole; what lacks because of
// it has that as its reason.
func TestGap(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 1, 0, "variable_rtp_use_codec_name: PCMU"))
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u2", 2, 0))
	s.apply(leg.Applied, recv("u1", 3, 4, 1000, 0))
	s.apply(leg.Applied, dropped(9, 5, 30, "Gap-Count-RECV_RTCP_MESSAGE: 5", "Gap-Count-SEND_RTCP_MESSAGE: 3", "Gap-Count-CHANNEL_CREATE: 1"))
	s.reload()
	s.apply(leg.Applied, recv("u1", 10, 34, 2500, 15))
	r := s.last().GetReport()
	if r.GetPacketsExpected() != 1500 || r.GetPacketsLost() != 15 || fmt.Sprint(r.GetArtefacts()) != "[ARTEFACT_GAP]" {
		t.Errorf("over the gap: got %v", r)
	}
	s.apply(leg.Applied, recv("u1", 11, 39, 2750, 15))
	if r := s.last().GetReport(); len(r.GetArtefacts()) != 0 {
		t.Errorf("after the gap: got %v", r)
	}
	// The leg that began in the gap: its codec was not seen.
	s.apply(leg.Applied, recv("u3", 12, 34, 2500, 15))
	s.apply(leg.Applied, recv("u3", 13, 39, 2750, 15))
	if got := s.last().GetReport().GetMosReason(); got != fsagentv1.Reason_REASON_GAP {
		t.Errorf("u3: got reason %v, want GAP", got)
	}
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "u1", 14, 60, rtp...))
	m := s.last().GetLegEnd()
	if !m.GetGap() || m.GetInbound().GetReason() != fsagentv1.Reason_REASON_GAP || m.GetOutbound().GetReason() != 0 || !m.HasMos() {
		t.Errorf("u1: got %v", m)
	}
	s.samples = nil
	s.apply(leg.Applied, snapshot("core1", 77, 100, "u3"))
	if m := s.last().GetLegEnd(); m.GetTotalReason() != fsagentv1.Reason_REASON_GAP || m.GetEndReason() != endUnknown {
		t.Errorf("u2: got %v", m)
	}
}

// TestReplayOfSnapshotAndGap: after a crash, a snapshot that is read again ends
// no leg that has had events since.
func TestReplayOfSnapshotAndGap(t *testing.T) {
	t.Parallel()
	all := [][]byte{
		madeBy("core0", "CHANNEL_CREATE", "u0", 1, -10),
		made("CHANNEL_CREATE", "u1", 1, 0), made("CHANNEL_CREATE", "u2", 2, 0), send("u2", 3, 4, 1000, 1),
		dropped(9, 5, 30, "Gap-Count-RECV_RTCP_MESSAGE: 5", "Gap-Count-CHANNEL_ANSWER: 3"), snapshot("core1", 77, 60, "u2"),
		send("u2", 10, 64, 4000, 3), send("u1", 11, 65, 900, 0), snapshot("core1", 78, 80, "u2"), madeBy("core3", "CHANNEL_CREATE", "u4", 1, 90),
		snapshot("core3", 79, 95, "u4"), made("CHANNEL_HANGUP_COMPLETE", "u2", 12, 80, rtp...), send("u1", 13, 96, 4000, 3),
		madeBy("core3", "HEARTBEAT", "", 2, 25*hour),
	}
	want := text(first(run(t, all)))
	for cut := range all {
		for cursor := range cut {
			if got := cutRun(t, all, cut, cursor); string(got) != string(want) {
				t.Fatalf("saved after %d events, cursor %d: %s", cut, cursor, difference(got, want))
			}
		}
	}
}

// The time in a snapshot is not of the clock of FreeSWITCH's events, and may be
// far ahead of it: it must not make the events that follow too late.
func TestSnapshotDoesNotMoveTheClock(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "a", 1, 0))
	s.apply(leg.Applied, snapshot("core1", 2, 3600, "a"))
	s.apply(leg.Applied, made("CHANNEL_CREATE", "b", 3, 1))
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "a", 4, 2))
}

// The first bad report marks the leg: it and all samples that follow, over saving
// and loading, to the account.
func TestBadFromTheFirstBadReportOn(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_ANSWER", "a", 1, 0, "variable_rtp_use_codec_name: PCMU"))
	s.apply(leg.Applied, recv("a", 2, 4, 1000, 0))
	s.apply(leg.Applied, recv("a", 3, 9, 1250, 0))
	if s.last().GetBad() {
		t.Error("a good report is bad")
	}
	s.apply(leg.Applied, recv("a", 4, 14, 1500, 25))
	if !s.last().GetBad() {
		t.Error("10 % loss is not bad")
	}
	s.reload()
	s.apply(leg.Applied, recv("a", 5, 19, 1750, 25))
	if !s.last().GetBad() {
		t.Error("a report after the bad one is not marked")
	}
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "a", 6, 20))
	if !s.last().GetBad() {
		t.Error("the account of a bad leg is not marked")
	}
}
