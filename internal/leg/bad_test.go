package leg

import (
	"testing"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

func summaryOf(expected, lost, before int64) *fsagentv1.DirectionSummary {
	return fsagentv1.DirectionSummary_builder{PacketsExpected: &expected, PacketsLost: &lost, PacketsLostBefore: before}.Build()
}

// At a threshold is not over it.
func TestThresholds(t *testing.T) {
	t.Parallel()
	b := DefaultParams().Bad
	const g107, freeswitch = fsagentv1.MosSource_MOS_SOURCE_G107, fsagentv1.MosSource_MOS_SOURCE_FREESWITCH
	for _, c := range []struct {
		name   string
		report fsagentv1.Report_builder
		bad    bool
	}{
		{"at every threshold", fsagentv1.Report_builder{JitterMs: new(30.0), FractionLost: new(0.03), Mos: new(3.6)}, false},
		{"not measured", fsagentv1.Report_builder{}, false},
		{"jitter", fsagentv1.Report_builder{JitterMs: new(30.1)}, true},
		{"loss", fsagentv1.Report_builder{FractionLost: new(0.031)}, true},
		{"MOS", fsagentv1.Report_builder{Mos: new(3.59)}, true},
	} {
		if got := b.report(c.report.Build()); got != c.bad {
			t.Errorf("report, %s: bad is %v, want %v", c.name, got, c.bad)
		}
	}
	for _, c := range []struct {
		name string
		end  fsagentv1.LegEnd_builder
		bad  bool
	}{
		{"at every threshold", fsagentv1.LegEnd_builder{Mos: new(3.6), MosSource: g107, JitterMaxMs: new(30.0), Inbound: summaryOf(100, 3, 0), Outbound: summaryOf(0, 0, 0)}, false},
		{"nothing", fsagentv1.LegEnd_builder{}, false},
		{"FreeSWITCH's own value", fsagentv1.LegEnd_builder{Mos: new(1.0), MosSource: freeswitch}, false},
		{"loss before the first report", fsagentv1.LegEnd_builder{Inbound: summaryOf(100, 13, 10)}, false},
		{"jitter", fsagentv1.LegEnd_builder{JitterMaxMs: new(31.0)}, true},
		{"loss", fsagentv1.LegEnd_builder{Outbound: summaryOf(100, 4, 0)}, true},
		{"MOS", fsagentv1.LegEnd_builder{Mos: new(3.5), MosSource: g107}, true},
	} {
		if got := b.account(c.end.Build()); got != c.bad {
			t.Errorf("account, %s: bad is %v, want %v", c.name, got, c.bad)
		}
	}
}
