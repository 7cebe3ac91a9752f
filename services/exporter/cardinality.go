package exporter

import fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

// Legs says which call legs have series of their own.
type Legs string

const (
	// LegsFull sends every sample.
	LegsFull Legs = "full"
	// LegsBad sends the samples that are over a threshold, see sieve.
	LegsBad Legs = "bad-legs"
	// LegsOff sends no sample of a leg.
	LegsOff Legs = "off"
)

// Units says whether metrics carry their unit.
type Units string

const (
	// UnitsUCUM sends units as UCUM writes them.
	UnitsUCUM Units = "ucum"
	// UnitsNone sends none, for a backend that puts units into names and whose
	// translation cannot be changed.
	UnitsNone Units = "none"
)

// sieve decides which samples become points. It looks at one sample and nothing
// else: replicas share the samples of a leg, so what one of them remembers the
// others do not know.
type sieve struct {
	legs Legs
	// A sample is bad above these (share of 1, milliseconds) or below mos.
	fractionLost, jitterMs, mos float64
}

func newSieve(c Config) sieve {
	return sieve{legs: c.Legs, fractionLost: c.BadFractionLost, jitterMs: c.BadJitter.Seconds() * 1000, mos: c.BadMOS}
}

func (v sieve) passes(s *fsagentv1.Sample) bool {
	switch {
	case v.legs == LegsOff:
		return false
	case v.legs != LegsBad:
		return true
	case s.HasLegEnd():
		return v.badLeg(s.GetLegEnd())
	}
	r := s.GetReport()
	return r.GetFractionLost() > v.fractionLost || r.GetJitterMs() > v.jitterMs || r.HasMos() && r.GetMos() < v.mos
}

// badLeg goes by the leg as a whole: its mean loss, greatest jitter and MOS.
// FreeSWITCH's own value is no MOS and decides nothing.
func (v sieve) badLeg(m *fsagentv1.LegEnd) bool {
	if m.HasMos() && m.GetMosSource() != fsagentv1.MosSource_MOS_SOURCE_FREESWITCH && m.GetMos() < v.mos {
		return true
	}
	return m.GetJitterMaxMs() > v.jitterMs || v.lossy(m.GetInbound()) || v.lossy(m.GetOutbound())
}

func (v sieve) lossy(d *fsagentv1.DirectionSummary) bool {
	expected := d.GetPacketsExpected()
	return expected > 0 && float64(d.GetPacketsLost()-d.GetPacketsLostBefore()) > v.fractionLost*float64(expected)
}
