package leg

import (
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// Thresholds are where quality is bad. The first report over one marks its leg,
// and with it all samples that follow: who has room for bad legs only sends those.
// The mark is made here, because it must be the same for everybody who reads the
// samples, whatever of the leg he has seen.
type Thresholds struct {
	FractionLost float64       // above it, 0 to 1
	Jitter       time.Duration // above it
	MOS          float64       // below it, 1 to 5
}

func (b Thresholds) jitterMS() float64 { return b.Jitter.Seconds() * 1000 }

// report tells whether a report is bad. What was not measured is not.
func (b Thresholds) report(m *fsagentv1.Report) bool {
	return m.GetFractionLost() > b.FractionLost || m.GetJitterMs() > b.jitterMS() || m.HasMos() && m.GetMos() < b.MOS
}

// account tells whether a leg as a whole is bad, by its share of lost packets in
// one direction, its greatest jitter or its MOS. FreeSWITCH's own value is no MOS
// and decides nothing.
func (b Thresholds) account(m *fsagentv1.LegEnd) bool {
	if m.HasMos() && m.GetMosSource() != fsagentv1.MosSource_MOS_SOURCE_FREESWITCH && m.GetMos() < b.MOS {
		return true
	}
	return m.GetJitterMaxMs() > b.jitterMS() || b.lossy(m.GetInbound()) || b.lossy(m.GetOutbound())
}

func (b Thresholds) lossy(d *fsagentv1.DirectionSummary) bool {
	expected := d.GetPacketsExpected()
	return expected > 0 && float64(d.GetPacketsLost()-d.GetPacketsLostBefore()) > b.FractionLost*float64(expected)
}
