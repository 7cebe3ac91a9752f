package leg_test

import (
	"fmt"
	"runtime"
	"testing"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/leg"
)

// TestPartial: with MarkPartial every sample of a leg whose CHANNEL_CREATE was not
// applied says so, also after the state was saved and loaded, and no other sample
// does.
func TestPartial(t *testing.T) {
	t.Parallel()
	for _, mark := range []bool{false, true} {
		p := leg.DefaultParams()
		p.MarkPartial = mark
		table := leg.NewTable(p)
		partial := map[string]bool{}
		samples := 0
		apply := func(seq int, raw []byte) {
			t.Helper()
			if got := table.Apply(uint64(seq), "pbx", raw, func(s *fsagentv1.Sample) {
				samples++
				partial[s.GetChannelId()] = s.GetPartial()
				if want := mark && s.GetChannelId() == "old"; s.GetPartial() != want {
					t.Errorf("%s: partial %v, want %v", s.GetEventId(), s.GetPartial(), want)
				}
			}); got != leg.Applied {
				t.Fatalf("event %d: %s", seq, got)
			}
		}
		apply(1, made("CHANNEL_CREATE", "new", 1, 0))
		apply(2, made("CHANNEL_ANSWER", "old", 2, 0))
		apply(3, made("CODEC", "early", 3, 0))
		apply(4, made("CHANNEL_CREATE", "early", 4, 0))
		apply(5, recv("new", 5, 5, 1000, 0))
		apply(6, recv("old", 6, 5, 1000, 0))
		cores, changes := table.Cores(), table.Changes()
		table = leg.NewTable(p)
		table.LoadCores(cores)
		for _, c := range changes {
			if _, err := table.LoadLeg(c.State); err != nil {
				t.Fatal(err)
			}
		}
		for i, id := range []string{"new", "old", "early"} {
			apply(7+i, made("CHANNEL_HANGUP_COMPLETE", id, 7+i, 10))
		}
		if samples != 5 || len(partial) != 3 {
			t.Errorf("%d samples of %d legs", samples, len(partial))
		}
	}
}

// TestDiscard: a table whose state nobody writes needs memory for the legs that it
// remembers, not for those that were. It is not parallel: it measures the heap.
func TestDiscard(t *testing.T) {
	table := leg.NewTable(leg.DefaultParams())
	measure := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const alive = 500
	seq := 0
	step := func(legs int) {
		for i := range legs {
			second := (seq / 3) // a leg a second: 300 are remembered after their end
			for _, name := range []string{"CHANNEL_CREATE", "CHANNEL_ANSWER"} {
				seq++
				table.Apply(uint64(seq), "pbx", made(name, fmt.Sprintf("leg-%d", second), seq, second), func(*fsagentv1.Sample) {})
			}
			seq++
			table.Apply(uint64(seq), "pbx", made("CHANNEL_HANGUP_COMPLETE", fmt.Sprintf("leg-%d", second-alive), seq, second), func(*fsagentv1.Sample) {})
			if i%100 == 0 {
				table.Discard()
			}
		}
	}
	step(2 * alive)
	before := measure()
	step(40_000)
	if live, ended := table.Len(); live > alive+1 || ended > 302 {
		t.Errorf("%d legs live, %d ended", live, ended)
	}
	if after := measure(); after > before+1<<20 {
		t.Errorf("the heap grew from %d to %d bytes over 40,000 legs", before, after)
	}
	runtime.KeepAlive(table)
}
