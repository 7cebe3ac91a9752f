package leg_test

import (
	"bytes"
	"testing"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/sample"
)

// FuzzApply steps a recorded call into which one event was put that nobody has
// recorded. Nothing may fail; every sample and every state must be encodable,
// its numbers in range, and the state must load again.
func FuzzApply(f *testing.F) {
	for _, name := range []string{"01-single-pcmu", "06a-hold", "07-failed"} {
		for i, raw := range events(f, name) {
			if i%5 == 0 {
				f.Add(raw, uint8(i))
			}
		}
	}
	f.Add(send("u1", 1, 0, 1000, 1), uint8(3))
	call := events(f, "09b-rtcp-mux")
	f.Fuzz(func(t *testing.T, raw []byte, at uint8) {
		table := leg.NewTable(leg.DefaultParams())
		emit := func(s *fsagentv1.Sample) {
			checkRanges(t, s)
			if _, err := sample.Append(nil, s); err != nil {
				t.Fatal(err)
			}
		}
		for i, e := range call {
			if i == int(at)%len(call) {
				table.Apply(uint64(i+1), "pbx", raw, emit)
				table.Apply(uint64(i+1), "pbx", raw, emit)
			}
			table.Apply(uint64(i+1), "pbx", e, emit)
		}
		again := leg.NewTable(leg.DefaultParams())
		again.LoadCores(table.Cores())
		for _, c := range table.Changes() {
			if c.State == nil {
				continue
			}
			if key, err := again.LoadLeg(c.State); err != nil || key != c.Key {
				t.Fatalf("state of %v loads as %v, %v", c.Key, key, err)
			}
		}
	})
}

func checkRanges(t *testing.T, s *fsagentv1.Sample) {
	t.Helper()
	for v := range sample.Values(s) {
		mos := v.Metric == sample.RTCPMOS || v.Metric == sample.QOSMOS || v.Metric == sample.LegMOS || v.Metric == sample.LegMOSConversational
		switch {
		case !(v.Float >= 0 && v.Float < 1<<62):
			t.Fatalf("%s is %v", v.Metric, v.Float)
		case mos && (v.Float < 1 || v.Float > 5):
			t.Fatalf("%s is %v", v.Metric, v.Float)
		case (v.Metric == sample.RTCPFractionLost || v.Metric == sample.LegCoverage) && v.Float > 1:
			t.Fatalf("%s is %v", v.Metric, v.Float)
		}
	}
}

// FuzzLoadLeg: bytes that are no state are refused, and whatever is accepted
// can be stepped and saved.
func FuzzLoadLeg(f *testing.F) {
	table := leg.NewTable(leg.DefaultParams())
	for i, raw := range events(f, "06a-hold") {
		table.Apply(uint64(i+1), "pbx", raw, func(*fsagentv1.Sample) {})
		if i%10 == 0 {
			for _, c := range table.Changes() {
				f.Add(c.State)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		table := leg.NewTable(leg.DefaultParams())
		key, err := table.LoadLeg(data)
		if err != nil {
			return
		}
		name, core := []byte(key.UniqueID), []byte(key.CoreUUID)
		for _, kind := range []string{"RECV_RTCP_MESSAGE", "CHANNEL_ANSWER", "CHANNEL_HANGUP_COMPLETE"} {
			raw := madeBy(string(core), kind, string(name), 1<<40, 0, "RTP-Rate: 8000", "Source0-SSRC: 0", "Source0-Lost: 1",
				"Source0-Highest-Sequence-Number-Received: 9")
			table.Apply(1<<62, "pbx", raw, func(s *fsagentv1.Sample) {
				if _, err := sample.Append(nil, s); err != nil {
					t.Fatal(err)
				}
			})
		}
		table.Changes()
	})
}

// TestEveryByteBroken breaks every recorded event of a call in many ways and
// looks that the rest of the call is as before, unless the broken event was one
// of its own.
func TestEveryByteBroken(t *testing.T) {
	t.Parallel()
	r, err := recording.Load("09b-rtcp-mux")
	if err != nil {
		t.Fatal(err)
	}
	all := r.Events()
	for i, raw := range all {
		for _, broken := range [][]byte{
			raw[:len(raw)/2], raw[len(raw)/2:], bytes.ReplaceAll(raw, []byte(": "), []byte(":")), bytes.ToUpper(raw),
			bytes.ReplaceAll(raw, []byte("%"), []byte("%%")), bytes.ReplaceAll(raw, []byte("0"), []byte("9999999999999999999")),
			bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n")), bytes.ReplaceAll(raw, []byte("1"), []byte("-")),
		} {
			table := leg.NewTable(leg.DefaultParams())
			for j, e := range all {
				if j == i {
					e = broken
				}
				table.Apply(uint64(j+1), "pbx", e, func(s *fsagentv1.Sample) { checkRanges(t, s) })
			}
		}
	}
}
