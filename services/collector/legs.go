package collector

import (
	"sync"

	"github.com/fsagent/fsagent/internal/event"
)

// legs are the channels of one life of a FreeSWITCH whose beginning this process
// has seen or asked for, so that a snapshot asks for the others only.
type legs struct {
	mu    sync.Mutex
	core  string
	known map[string]int64 // Unique-ID as events have it; Event-Date-Timestamp of its beginning
}

// note is called for every event, by the reader.
func (l *legs) note(name, core string, id event.ID) {
	begins := name == event.ChannelCreate
	if !begins && name != event.ChannelDestroy || len(id.UniqueID) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live(core)
	if begins {
		l.known[string(id.UniqueID)] = id.TimeUS
	} else {
		delete(l.known, string(id.UniqueID))
	}
}

// add is for a channel that was asked for.
func (l *legs) add(core, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.core == core {
		l.known[id] = 0
	}
}

// reconcile takes a list of channels and returns those that are not known. It
// forgets the known ones that began up to atUS and are not in the list: their end
// was not seen.
func (l *legs) reconcile(core string, channels []string, atUS int64) (unknown []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live(core)
	alive := make(map[string]bool, len(channels))
	for _, id := range channels {
		alive[id] = true
		if _, ok := l.known[id]; !ok {
			unknown = append(unknown, id)
		}
	}
	for id, began := range l.known {
		if began <= atUS && !alive[id] {
			delete(l.known, id)
		}
	}
	return unknown
}

// live forgets everything when the process is another.
func (l *legs) live(core string) {
	if l.core != core || l.known == nil {
		l.core, l.known = core, make(map[string]int64)
	}
}

// forget makes every channel one that a snapshot asks for.
func (l *legs) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.known)
}
