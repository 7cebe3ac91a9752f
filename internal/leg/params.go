package leg

import (
	"time"

	"github.com/fsagent/fsagent/internal/emodel"
)

// Outcome says what became of an event. Its values are made to be labels.
type Outcome string

// The outcomes. All but Applied and Replayed are rejections: the event changed
// nothing (but for the clock of its Core, if it could be read).
const (
	// Applied: the event is in the state now.
	Applied Outcome = "applied"
	// Replayed: the event was in the state before it was loaded.
	Replayed Outcome = "replayed"
	// Malformed: a header that every event has is missing or unreadable.
	Malformed Outcome = "malformed"
	// MalformedReport: an RTCP event with a field that is not a number.
	MalformedReport Outcome = "malformed_report"
	// NoUniqueID: an event of a channel without its id.
	NoUniqueID Outcome = "no_unique_id"
	// UnknownEvent: an event name that fsagent does not subscribe to.
	UnknownEvent Outcome = "unknown_event"
	// Duplicate: the event was applied before, or is older than all remembered.
	Duplicate Outcome = "duplicate"
	// Late: an event of an unknown leg, older than the linger time. Such a leg
	// may have ended and been forgotten; nothing can tell.
	Late Outcome = "late"
	// AfterEnd: an RTCP report of a leg whose account is out already.
	AfterEnd Outcome = "after_end"
)

// Params are the choices that change numbers, labels or memory.
type Params struct {
	// CorrelationByCall puts call_id into correlation_id, instead of the SIP
	// Call-ID of the leg.
	CorrelationByCall bool
	// Inbound and Outbound are what the E-model assumes of the receiver of each
	// direction's media: FreeSWITCH or what is behind it, and the peer.
	Inbound, Outbound emodel.Assumptions
	// Bad is where quality is bad; it marks samples and changes no number.
	Bad Thresholds
	// Linger is how long an ended leg is remembered, in event time of its Core.
	Linger time.Duration
	// MaxAge is how long a leg without any event counts as alive, in event time
	// of its Core or, when that is gone, of another one.
	MaxAge time.Duration
	// MarkPartial marks the samples of legs whose CHANNEL_CREATE was not applied:
	// for a replay that does not read the stream from its beginning.
	MarkPartial bool
}

// DefaultParams are SIP Call-ID, in both directions concealment of G.711 and a
// jitter buffer of 40 ms, bad from 3 % loss, 30 ms jitter and MOS 3.6 on, 5 minutes
// and 24 hours.
func DefaultParams() Params {
	a := emodel.Assumptions{Concealed: []string{"PCMA", "PCMU"}, JitterBufferMS: 40}
	return Params{Inbound: a, Outbound: a, Bad: Thresholds{FractionLost: 0.03, Jitter: 30 * time.Millisecond, MOS: 3.6}, Linger: 5 * time.Minute, MaxAge: 24 * time.Hour}
}
