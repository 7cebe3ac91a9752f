package leg

import "github.com/fsagent/fsagent/internal/event"

// kind is what an event means to a leg.
type kind uint8

const (
	unknown    kind = iota
	ofInstance      // about the whole process: moves its clock
	snapshot        // FSAGENT_SYNC: which legs there are
	gap             // FSAGENT_GAP: what was dropped
	channel         // something about the leg may have changed
	create
	codecSet
	bridge // or its end
	hold
	unhold
	message
	hangup
	destroy
)

func kindOf(name []byte) kind {
	switch string(name) {
	case event.RecvRTCP, event.SendRTCP:
		return message
	case event.ChannelCreate:
		return create
	case event.ChannelAnswer, event.ChannelUUID,
		event.ChannelProgressMedia, event.ChannelData:
		return channel
	case event.Codec:
		return codecSet
	case event.ChannelHangupComplete:
		return hangup
	case event.ChannelDestroy:
		return destroy
	case event.ChannelBridge, event.ChannelUnbridge:
		return bridge
	case event.ChannelHold:
		return hold
	case event.ChannelUnhold:
		return unhold
	case event.Heartbeat, event.Startup, event.Shutdown:
		return ofInstance
	case event.Sync:
		return snapshot
	case event.Gap:
		return gap
	}
	return unknown
}

// happened is when what the event tells of took place. That is its own time,
// but CHANNEL_DESTROY may come long after the leg ended (it waits for locks),
// when the leg may have been forgotten: the hangup is what counts then.
func happened(e event.Event, k kind) int64 {
	if k == destroy {
		if us := number(e, "Caller-Channel-Hangup-Time"); us > 0 {
			return us
		}
	}
	return e.ID().TimeUS
}

// begins reports whether the event begins a new leg under the id of one that
// has ended: ids that the dialplan sets can repeat within a process.
func begins(e event.Event, k kind, l *leg) bool {
	return k == create && number(e, "Caller-Channel-Created-Time") > l.endedClock
}

// number is a header that is a whole number of 0 or more; 0 if it is not.
func number(e event.Event, name string) int64 {
	v, _ := e.Header(name)
	n, ok := event.Uint(v)
	if !ok || n > 1<<62 {
		return 0
	}
	return int64(n)
}
