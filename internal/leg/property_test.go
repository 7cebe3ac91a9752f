package leg_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/sample"
)

// TestBatching: reports that are left out between the first and the last change
// nothing of the leg's loss and quality, because counters are cumulative.
func TestBatching(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3550, 2003))
	for _, name := range []string{"01-single-pcmu", "03a-loss5-jitter30-pcmu", "03g-loss5-only", "04a-g722-loss2-jitter20"} {
		all := events(t, name)
		var reports []int
		for i, raw := range all {
			if bytes.Contains(raw[:40], []byte("_RTCP_MESSAGE")) {
				reports = append(reports, i)
			}
		}
		want := numbers(first(run(t, all)))
		for range 50 {
			var some [][]byte
			for i, raw := range all {
				inner := i > reports[1] && i < reports[len(reports)-2] && bytes.Contains(raw[:40], []byte("_RTCP_MESSAGE"))
				if !inner || random.IntN(2) == 0 {
					some = append(some, raw)
				}
			}
			if got := numbers(first(run(t, some))); got != want {
				t.Fatalf("%s without some reports: got %s, want %s", name, got, want)
			}
		}
	}
}

// numbers are what does not depend on how often reports came.
func numbers(samples []*fsagentv1.Sample) string {
	var b bytes.Buffer
	for _, m := range ends(samples) {
		for _, d := range []*fsagentv1.DirectionSummary{m.GetInbound(), m.GetOutbound()} {
			fmt.Fprintln(&b, d.GetPacketsLost(), d.GetPacketsExpected(), d.GetMos(), d.GetMosReason(), d.GetCoveredUs())
		}
	}
	return b.String()
}

// TestAnyOrder: whatever the order in which the events of several calls come,
// as long as each call's stay in order, the samples of each are the same; and in
// no order at all the numbers stay in their ranges.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(107, 2015))
	names := []string{"01-single-pcmu", "03d-blackout", "06a-hold", "07-failed"}
	var queues [][][]byte
	want := map[string]string{}
	for _, name := range names {
		all := events(t, name)
		queues = append(queues, all)
		byLeg(want, first(run(t, all)))
	}
	for range 10 {
		left := append([][][]byte(nil), queues...)
		var mixed, shuffled [][]byte
		for len(left) > 0 {
			i := random.IntN(len(left))
			mixed = append(mixed, left[i][0])
			if left[i] = left[i][1:]; len(left[i]) == 0 {
				left = append(left[:i], left[i+1:]...)
			}
		}
		got := map[string]string{}
		byLeg(got, first(run(t, mixed)))
		for id, text := range want {
			if got[id] != text {
				t.Fatalf("leg %s in another order of calls: %s", id, difference([]byte(got[id]), []byte(text)))
			}
		}
		shuffled = append(shuffled, mixed...)
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		table := leg.NewTable(leg.DefaultParams())
		for i, raw := range shuffled {
			table.Apply(uint64(i+1), "pbx", raw, func(s *fsagentv1.Sample) { checkRanges(t, s) })
		}
	}
}

func byLeg(out map[string]string, samples []*fsagentv1.Sample) {
	for _, s := range samples {
		id := s.GetChannelId()
		out[id] += string(sample.AppendText(nil, s))
	}
}
