package exporter

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// delivery is one message of the stream while samples of it are on their way.
type delivery struct {
	held     *held
	sequence uint64
	stored   time.Time // when the server stored the message
	size     int
	data     []byte
	// open counts the samples that are not settled, and one more while the lane
	// still reads the message.
	open atomic.Int32
	// oldest is the event time of its oldest sample, or the time of the message
	// until it is decoded. Microseconds since 1970.
	oldest atomic.Int64
	// msg is the latest delivery of the message; guarded by held.
	msg jetstream.Msg
}

// settle one sample of d; the last acknowledges the message.
func (d *delivery) settle() {
	if d.open.Add(-1) == 0 {
		d.held.settled(d)
	}
}

// debt is an acknowledgement that could not be sent.
type debt struct {
	msg    jetstream.Msg
	stored time.Time // when the server stored the message
}

// held is every message that this replica has and has not acknowledged.
//
// The server knows messages by their sequence alone. A stream that is made anew has
// the same sequences again, and an acknowledgement for the old one would be taken for
// that of a message which another replica has not sent yet. So on a connection that
// was made again nothing is acknowledged before since knows of which stream it is.
type held struct {
	log *slog.Logger
	// connection numbers the connection to NATS there is; each one after a loss has
	// a number of its own.
	connection func() uint64
	mu         sync.Mutex
	open       map[uint64]*delivery
	bytes      int
	// owed are messages whose acknowledgement could not be sent.
	owed map[uint64]debt
	// seen is the connection on which it is known of which stream the messages are.
	seen uint64
	// freed tells the intake that there is room again.
	freed chan struct{}
}

func newHeld(connection func() uint64, log *slog.Logger) *held {
	return &held{
		log:        log,
		connection: connection,
		open:       map[uint64]*delivery{},
		owed:       map[uint64]debt{},
		freed:      make(chan struct{}, 1),
	}
}

// answer of the server about the samples stream, and what there was when it was asked.
type answer struct {
	jetstream.StreamState
	connection uint64 // it came on
	held       uint64 // largest sequence held
}

// gone reports whether a message is of another stream than the one there is, which then
// ends before it, or begins after its time. When the stream was made would not tell: one
// in the memory of a cluster that loses its servers comes back empty, and as old as it was.
func (a answer) gone(seq uint64, stored time.Time) bool {
	return seq > a.LastSeq && seq <= a.held || a.Msgs > 0 && seq >= a.FirstSeq && stored.Before(a.FirstTime)
}

// last is the largest sequence that is held.
func (h *held) last() (seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.open {
		seq = max(seq, s)
	}
	for s := range h.owed {
		seq = max(seq, s)
	}
	return seq
}

// since takes note of the stream there is on a connection. Messages of another are
// forgotten: they are sent all the same, and not acknowledged. Then the
// acknowledgements that are owed are sent. It returns how many were forgotten.
func (h *held) since(a answer) (forgotten int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	forgotten = h.forget(a.gone)
	h.seen = a.connection
	for seq, o := range h.owed {
		h.ack(seq, o.msg, o.stored)
	}
	return forgotten
}

// take a message. It returns nil if the message is held already: the server
// believed us dead; the samples go out once and the new delivery is the one to
// acknowledge.
func (h *held) take(msg jetstream.Msg, meta *jetstream.MsgMetadata) *delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	seq := meta.Sequence.Stream
	d, o := h.open[seq], h.owed[seq]
	if d != nil && !d.stored.Equal(meta.Timestamp) || o.msg != nil && !o.stored.Equal(meta.Timestamp) {
		// A sequence again that was stored at another time: of another stream, and
		// maybe not one of these messages is of this one.
		h.forget(func(uint64, time.Time) bool { return true })
	}
	if d := h.open[seq]; d != nil {
		d.msg = msg
		return nil
	}
	if o := h.owed[seq]; o.msg != nil {
		h.ack(seq, msg, o.stored)
		return nil
	}
	d = &delivery{held: h, sequence: seq, stored: meta.Timestamp, size: len(msg.Data()), data: msg.Data(), msg: msg}
	d.open.Store(1)
	d.oldest.Store(meta.Timestamp.UnixMicro())
	h.open[seq] = d
	h.bytes += d.size
	return d
}

// done acknowledges a message that needs no work.
func (h *held) done(msg jetstream.Msg, meta *jetstream.MsgMetadata) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ack(meta.Sequence.Stream, msg, meta.Timestamp)
}

// unsure is true on a connection that was made again until since has been called.
func (h *held) unsure() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.connection() != h.seen
}

// forget messages: they are not to be acknowledged. The caller holds mu.
func (h *held) forget(which func(seq uint64, stored time.Time) bool) int {
	before := len(h.open) + len(h.owed)
	maps.DeleteFunc(h.open, func(seq uint64, d *delivery) bool { return which(seq, d.stored) })
	maps.DeleteFunc(h.owed, func(seq uint64, o debt) bool { return which(seq, o.stored) })
	n := before - len(h.open) - len(h.owed)
	if n > 0 {
		h.log.Warn("the samples stream was made anew: what is held of the old one is sent, and not acknowledged", "messages", n)
	}
	return n
}

func (h *held) settled(d *delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bytes -= d.size
	if h.open[d.sequence] == d {
		delete(h.open, d.sequence)
		h.ack(d.sequence, d.msg, d.stored)
	}
	select {
	case h.freed <- struct{}{}:
	default:
	}
}

// ack a message, or remember to do it later. The caller holds mu.
func (h *held) ack(seq uint64, msg jetstream.Msg, stored time.Time) {
	if h.connection() != h.seen { // unsure
		h.owed[seq] = debt{msg, stored}
		return
	}
	if err := msg.Ack(); err != nil {
		h.owed[seq] = debt{msg, stored}
		h.log.Debug("acknowledgement waits for NATS", "seq", seq, "err", err)
		return
	}
	delete(h.owed, seq)
}

// alive tells the server that every message is still worked on.
func (h *held) alive() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.open {
		if err := d.msg.InProgress(); err != nil {
			h.log.Debug("sign of life not sent", "seq", d.sequence, "err", err)
			return
		}
	}
}

// giveBack hands every open message to the other replicas at once.
func (h *held) giveBack() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for seq, d := range h.open {
		if err := d.msg.Nak(); err != nil {
			h.log.Debug("message not given back, it comes again by itself", "seq", seq, "err", err)
		}
		delete(h.open, seq)
	}
	h.bytes = 0
}

// room waits until at least a quarter of limit is free and returns how much is;
// false if ctx ended.
func (h *held) room(ctx context.Context, limit int) (int, bool) {
	for {
		h.mu.Lock()
		free := limit - h.bytes
		h.mu.Unlock()
		if ctx.Err() != nil {
			return 0, false
		}
		if free >= limit/4 {
			return free, true
		}
		select {
		case <-ctx.Done():
		case <-h.freed:
		}
	}
}

// count of open messages.
func (h *held) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// lag is the age of the oldest sample that is not exported; 0 if there is none.
func (h *held) lag(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	oldest := int64(math.MaxInt64)
	for _, d := range h.open {
		oldest = min(oldest, d.oldest.Load())
	}
	if oldest == math.MaxInt64 {
		return 0
	}
	return max(now.Sub(time.UnixMicro(oldest)), 0)
}
