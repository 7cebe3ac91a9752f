package collector

import (
	"strings"
	"sync"

	"github.com/fsagent/fsagent/internal/event"
)

// queued is one event that waits for the stream, or for its acknowledgement.
type queued struct {
	data     []byte // as it is published
	core     string // Core-UUID
	name     string // Event-Name
	sequence uint64
	timeUS   int64 // Event-Date-Timestamp
	readNS   int64 // when it was read, on the collector's own monotonic clock
	part     int32
	origin   origin
}

// origin says where an event is from.
type origin uint8

const (
	fromServer origin = iota // read on the event connection
	dumped                   // asked for: CHANNEL_DATA
	madeHere                 // FSAGENT_SYNC
	madeLate                 // FSAGENT_GAP, which never was in the buffer
)

// itemOverhead is what an event costs in memory besides its bytes, at most for
// most: its place in a ring of which half may be free, and what the allocator
// rounds up.
const itemOverhead = 256

func (q *queued) cost() int64 { return int64(len(q.data)) + itemOverhead }

// class says what is dropped first when the buffer is full.
type class int

const (
	reports   class = iota // RTCP: the next report makes up for most of it
	others                 // HEARTBEAT, CODEC, STARTUP, SHUTDOWN
	lifecycle              // CHANNEL_*, FSAGENT_SYNC: without them a leg has no identity or no end
	classes
)

func classOf(name string) class {
	switch {
	case name == event.RecvRTCP || name == event.SendRTCP:
		return reports
	case strings.HasPrefix(name, "CHANNEL_") || name == event.Sync:
		return lifecycle
	}
	return others
}

// buffer holds the events of one FreeSWITCH between its reader and the
// publisher: first in, first out, bounded in bytes. When it is full it drops the
// oldest event of the least class, so push never waits for anybody.
type buffer struct {
	mu    sync.Mutex
	limit int64
	bytes int64 // of the queues and of what was popped and not released
	order uint64
	queue [classes]deque
	gaps  gaps
	stale bool          // what says which channels there are was dropped
	ready chan struct{} // holds one token when there may be something to pop
	// onDrop is told of each dropped event, under the lock.
	onDrop func(q *queued, reason dropReason)
}

// dropReason says why an event was dropped.
type dropReason int

const (
	bufferFull dropReason = iota // NATS did not take events as fast as they came
	stopped                      // the collector ended before NATS took them
	dropReasons
)

func (r dropReason) String() string { return [dropReasons]string{"buffer_full", "stopped"}[r] }

func newBuffer(limit int64, onDrop func(q *queued, reason dropReason)) *buffer {
	return &buffer{limit: limit, ready: make(chan struct{}, 1), onDrop: onDrop}
}

// push takes an event, dropping others, or the event itself, if there is no room.
func (b *buffer) push(q queued) {
	b.mu.Lock()
	c := classOf(q.name)
	if b.makeRoom(q.cost(), c) {
		b.bytes += q.cost()
		b.order++
		b.queue[c].push(ordered{b.order, q})
	} else {
		b.drop(&q)
	}
	b.mu.Unlock()
	b.signal()
}

// makeRoom drops events of classes up to c until need bytes fit.
func (b *buffer) makeRoom(need int64, c class) bool {
	for victim := reports; b.bytes+need > b.limit; {
		if b.queue[victim].len() == 0 {
			if victim == c {
				return false
			}
			victim++
			continue
		}
		q := b.queue[victim].pop()
		b.bytes -= q.cost()
		b.drop(&q.queued)
	}
	return true
}

func (b *buffer) drop(q *queued) {
	if q.origin == fromServer {
		b.gaps.add(q)
	}
	b.stale = b.stale || classOf(q.name) == lifecycle
	b.onDrop(q, bufferFull)
}

// pop takes the oldest event. Its bytes stay accounted until release.
func (b *buffer) pop() (queued, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	oldest := classes
	for c := range b.queue {
		if b.queue[c].len() > 0 && (oldest == classes || b.queue[c].front().order < b.queue[oldest].front().order) {
			oldest = class(c)
		}
	}
	if oldest == classes {
		return queued{}, false
	}
	return b.queue[oldest].pop().queued, true
}

// takeGaps returns what was dropped since the last call, and whether without it
// the stream does not know which channels there are.
func (b *buffer) takeGaps() (g []gap, stale bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	stale, b.stale = b.stale, false
	return b.gaps.take(), stale
}

// hasGaps reports whether takeGaps would return something.
func (b *buffer) hasGaps() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.gaps) > 0
}

// releaseOf gives back the room of a popped event. A gap never had any.
func (b *buffer) releaseOf(q queued) {
	if q.origin == madeLate {
		return
	}
	b.mu.Lock()
	b.bytes -= q.cost()
	b.mu.Unlock()
}

// size is how many bytes wait, and how long the oldest has been waiting since
// readNS; ok is false when nothing waits.
func (b *buffer) size() (bytes, readNS int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.queue {
		if b.queue[c].len() > 0 {
			if at := b.queue[c].front().readNS; !ok || at < readNS {
				readNS, ok = at, true
			}
		}
	}
	return b.bytes, readNS, ok
}

// abandon empties the buffer and returns how many events were in it.
func (b *buffer) abandon() (count int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.queue {
		for b.queue[c].len() > 0 {
			q := b.queue[c].pop()
			b.bytes -= q.cost()
			b.onDrop(&q.queued, stopped)
			count++
		}
	}
	return count
}

func (b *buffer) signal() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}
