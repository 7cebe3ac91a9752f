// Package event is the typed view of one FreeSWITCH event in plain format, as
// the collector publishes it and the calculator reads it.
//
// An Event shares the bytes it was made from and finds a header when it is
// asked for one: a line "Name: value" with the value percent-encoded by
// FreeSWITCH (switch_event.c, switch_event_serialize). There is no map of all
// headers. Code that wants many headers of one event walks them once with All.
package event

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Names of the events that fsagent subscribes to or makes itself.
const (
	ChannelCreate         = "CHANNEL_CREATE"
	ChannelAnswer         = "CHANNEL_ANSWER"
	ChannelBridge         = "CHANNEL_BRIDGE"
	ChannelUnbridge       = "CHANNEL_UNBRIDGE"
	ChannelHold           = "CHANNEL_HOLD"
	ChannelUnhold         = "CHANNEL_UNHOLD"
	ChannelUUID           = "CHANNEL_UUID"
	ChannelProgressMedia  = "CHANNEL_PROGRESS_MEDIA"
	ChannelHangupComplete = "CHANNEL_HANGUP_COMPLETE"
	ChannelDestroy        = "CHANNEL_DESTROY"
	ChannelData           = "CHANNEL_DATA"
	Codec                 = "CODEC"
	RecvRTCP              = "RECV_RTCP_MESSAGE"
	SendRTCP              = "SEND_RTCP_MESSAGE"
	Heartbeat             = "HEARTBEAT"
	Startup               = "STARTUP"
	Shutdown              = "SHUTDOWN"

	// Sync is fsagent's own: which channels of a partition a server has.
	Sync = "FSAGENT_SYNC"
	// Gap is fsagent's own: events of a server that were dropped.
	Gap = "FSAGENT_GAP"
)

// maxTimeUS is the year 2255. Later times are no times; they would move the
// clocks of all legs.
const maxTimeUS = 1 << 53

// ErrMalformed is returned for an event without one of the headers that every
// FreeSWITCH event has, or with an unreadable one.
var ErrMalformed = errors.New("malformed event")

// Event is a view of one plain event. The zero Event has no headers.
type Event struct {
	raw []byte
	id  ID
}

// ID is what every event carries: enough to route it, to recognise its
// repetition and to place it in time. Its byte slices belong to the event.
type ID struct {
	Name     []byte // Event-Name
	CoreUUID []byte // Core-UUID: one life of one FreeSWITCH process
	Sequence uint64 // Event-Sequence: unique within a Core-UUID
	UniqueID []byte // Unique-ID of the channel, percent-encoded as sent; empty if the event is of no channel
	TimeUS   int64  // Event-Date-Timestamp: microseconds since 1970
}

// Scan finds the ID of a plain event by one pass over its lines, without
// allocating. It fails with ErrMalformed when Event-Name, Core-UUID,
// Event-Sequence or Event-Date-Timestamp is missing, empty or unreadable.
func Scan(raw []byte) (ID, error) {
	var (
		id        ID
		seq, when []byte
	)
	for rest := raw; len(rest) > 0; {
		var line []byte
		line, rest = cutLine(rest)
		if len(line) == 0 {
			break // end of headers
		}
		switch line[0] {
		case 'E':
			if v, ok := after(line, "Event-Name: "); ok && id.Name == nil {
				id.Name = v
			} else if v, ok := after(line, "Event-Sequence: "); ok && seq == nil {
				seq = v
			} else if v, ok := after(line, "Event-Date-Timestamp: "); ok && when == nil {
				when = v
			}
		case 'C':
			if v, ok := after(line, "Core-UUID: "); ok && id.CoreUUID == nil {
				id.CoreUUID = v
			}
		case 'U':
			if v, ok := after(line, "Unique-ID: "); ok && id.UniqueID == nil {
				id.UniqueID = v
			}
		}
		if id.UniqueID != nil && seq != nil && when != nil && id.Name != nil && id.CoreUUID != nil {
			break
		}
	}
	if len(id.Name) == 0 {
		return id, fmt.Errorf("%w: no Event-Name", ErrMalformed)
	}
	if len(id.CoreUUID) == 0 {
		return id, fmt.Errorf("%w: %s without Core-UUID", ErrMalformed, id.Name)
	}
	var ok bool
	if id.Sequence, ok = Uint(seq); !ok {
		return id, fmt.Errorf("%w: %s with Event-Sequence %q", ErrMalformed, id.Name, seq)
	}
	us, ok := Uint(when)
	if !ok || us > maxTimeUS {
		return id, fmt.Errorf("%w: %s with Event-Date-Timestamp %q", ErrMalformed, id.Name, when)
	}
	id.TimeUS = int64(us)
	return id, nil
}

// Parse makes an Event of the bytes of one plain event. The Event keeps raw.
// It fails as Scan does.
func Parse(raw []byte) (Event, error) {
	id, err := Scan(raw)
	return Event{raw: raw, id: id}, err
}

// ID returns what identifies the event.
func (e Event) ID() ID { return e.id }

// Time returns Event-Date-Timestamp.
func (e Event) Time() time.Time { return time.UnixMicro(e.id.TimeUS).UTC() }

// Header returns the value of the first line with that name, percent-encoded
// as FreeSWITCH sent it. Header names are compared exactly.
func (e Event) Header(name string) (value []byte, ok bool) {
	for rest := e.raw; len(rest) > 0; {
		var line []byte
		line, rest = cutLine(rest)
		if len(line) == 0 {
			break
		}
		if len(line) > len(name)+1 && line[len(name)] == ':' && line[len(name)+1] == ' ' && string(line[:len(name)]) == name {
			return line[len(name)+2:], true
		}
	}
	return nil, false
}

// Text returns a header's decoded value, or "" when the header is missing or
// printed as "_undef_" (FreeSWITCH's form of an empty value).
func (e Event) Text(name string) string {
	v, ok := e.Header(name)
	if !ok {
		return ""
	}
	return Decode(v)
}

// All walks the headers in order, names and encoded values. Lines are split at
// the last ": ", because a variable's name may contain a colon and an encoded
// value cannot. A line without ": " is left out.
func (e Event) All() iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		for rest := e.raw; len(rest) > 0; {
			var line []byte
			line, rest = cutLine(rest)
			if len(line) == 0 {
				return
			}
			if i := lastColon(line); i > 0 && !yield(line[:i], line[i+2:]) {
				return
			}
		}
	}
}

// Cut splits the first header off lines, for code that walks an event without
// allocating: its name, its encoded value and the lines after it. The name is
// what stands before the last ": ". ok is false for a line that is no header;
// after the empty line that ends the headers, rest is empty.
func Cut(lines []byte) (name, value, rest []byte, ok bool) {
	line, rest := cutLine(lines)
	if len(line) == 0 {
		return nil, nil, nil, false
	}
	if i := lastColon(line); i > 0 {
		return line[:i], line[i+2:], rest, true
	}
	return nil, nil, rest, false
}

// lastColon finds the last ": " of a line; -1 if there is none. An encoded value
// has no space, so nearly always it stands at the last one.
func lastColon(line []byte) int {
	i := bytes.LastIndexByte(line, ' ')
	if i > 0 && line[i-1] == ':' {
		return i - 1
	}
	return bytes.LastIndex(line, []byte(": "))
}

// Raw returns the bytes the Event was made from.
func (e Event) Raw() []byte { return e.raw }

// cutLine splits off the first line, without its newline.
func cutLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

func after(line []byte, prefix string) ([]byte, bool) {
	if len(line) >= len(prefix) && string(line[:len(prefix)]) == prefix {
		return line[len(prefix):], true
	}
	return nil, false
}
