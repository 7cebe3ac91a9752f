package leg

import (
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/emodel"
	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/rtcp"
)

// Step is how one event was applied to one leg: what the table saw, and what it
// concluded.
type Step struct {
	Key     Key
	Event   event.Event // valid during the call only
	Outcome Outcome
	// Report and Interval of an RTCP event that was applied, else nil. Clock is
	// the RTP clock in Hz that its jitter was divided by, 0 if it is unknown.
	Report   *rtcp.Report
	Before   rtcp.Stream // what was known of its stream
	Interval *rtcp.Interval
	Clock    uint32
	Codec    string
	// Quality of the interval, or why there is none.
	Quality    emodel.Quality
	QualityErr error
	// Sample that the event made, or nil.
	Sample *fsagentv1.Sample
}

// Trace calls f for every event of a leg from now on, and for every leg that
// another event ends. It is for people who want to know how a number was made;
// it changes no number.
func (t *Table) Trace(f func(Step)) { t.trace = f }

// tell gives the trace what step and report have noted.
func (t *Table) tell(c *core, ev cause, outcome Outcome) {
	s := t.told
	t.told = Step{}
	s.Key = Key{CoreUUID: c.uuid, UniqueID: string(ev.e.ID().UniqueID)}
	s.Event, s.Outcome = ev.e, outcome
	t.trace(s)
}
