package exporter

import fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

// Legs says which call legs have series of their own.
type Legs string

const (
	// LegsFull sends every sample.
	LegsFull Legs = "full"
	// LegsBad sends the samples of a leg from its first bad report on.
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

// passes tells whether a sample becomes points. Which legs are bad is in the
// sample: replicas share the samples of a leg, so what one of them has seen of it
// the others do not know.
func (l Legs) passes(s *fsagentv1.Sample) bool {
	switch l {
	case LegsOff:
		return false
	case LegsBad:
		return s.GetBad()
	}
	return true
}
