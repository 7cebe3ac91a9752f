package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/nats-io/nats.go"
)

const (
	publishRetryMin = 100 * time.Millisecond
	publishRetryMax = time.Second // one event each time
	// gapEvery bounds how often a drop that goes on is told: it costs a message
	// for each partition.
	gapEvery = time.Second
	// maxSubjects bounds how many event names have their subjects kept.
	maxSubjects = 256
)

// publisher moves the events of one FreeSWITCH from its buffer to the stream, in
// order, with many acknowledgements outstanding. When one of them is a refusal or
// does not come, or the connection was lost, it publishes everything from the
// first unacknowledged event on once more, in order and under the same ids; the
// stream drops what it has. Until the stream has taken one event of an attempt,
// that event is the only one under way: a stream that is not there yet, or has no
// room, does not see the second before it has taken the first.
type publisher struct {
	instance   string
	partitions int
	cfg        PublisherConfig
	nc         *nats.Conn
	buf        *buffer
	win        *window
	met        *instanceMetrics
	clock      clock
	numbers    *numbers
	// onStale is called when a snapshot is needed: after a drop, once the stream
	// takes events again.
	onStale func()
	log     *slog.Logger

	inbox    string // with a dot at the end; <attempt>.<number> follows
	subjects map[string][]string
	lastGap  time.Time
	pending  []queued // gaps, to be sent before anything else

	joined     atomic.Int64 // when the server was last connected to, by clock; 0 before
	admitted   int64        // joined, when what came since was first let through
	natsSince  int64        // since when NATS is known to be connected, by clock; 0 if it is not
	ending     bool
	reconnects uint64 // of the connection, when the last message was sent
	head       uint64 // of the window, when it was last seen
	wait       time.Duration
	resume     time.Time             // not before this, after a refusal
	stalled    atomic.Pointer[error] // why the stream takes nothing, once that is said
	acks       chan struct{}
}

// run publishes until ctx ends, then what is left, and returns when there is
// nothing left or when stop ends too.
func (p *publisher) run(ctx, stop context.Context) error {
	sub, err := p.nc.Subscribe(p.inbox+"*.*", p.acknowledged)
	if err != nil {
		return fmt.Errorf("publisher of %s: %w", p.instance, err)
	}
	defer sub.Unsubscribe()
	if err := sub.SetPendingLimits(-1, -1); err != nil { // the window bounds them
		return fmt.Errorf("publisher of %s: %w", p.instance, err)
	}
	tick := time.NewTicker(min(p.cfg.AckTimeout/4, 100*time.Millisecond))
	defer tick.Stop()
	done := ctx.Done()
	for {
		p.publish()
		if done == nil && p.empty() {
			return nil
		}
		select {
		case <-p.buf.ready:
		case <-p.acks:
		case <-tick.C:
		case <-done:
			done = nil
			p.ending = true
			p.lastGap = time.Time{} // what was dropped is told now or never
		case <-stop.Done():
			return nil
		}
	}
}

func (p *publisher) empty() bool {
	inFlight, _ := p.win.waiting()
	_, _, waits := p.buf.size()
	return inFlight == 0 && !waits && len(p.pending) == 0 && !p.buf.hasGaps()
}

// publish sends what may be sent now.
func (p *publisher) publish() {
	for p.mayPublish() {
		q, n, attempt, ok := p.win.next(p.clock.now())
		if !ok {
			if !p.admit() {
				return
			}
			continue
		}
		if err := p.send(q, n, attempt); err != nil {
			p.fail(n, attempt, err)
		}
	}
}

// mayPublish looks after the connection and the last attempt. nats.go counts a
// reconnect before it lets anything through; what was in flight then is of
// unknown fate and goes first.
func (p *publisher) mayPublish() bool {
	if !p.nc.IsConnected() {
		p.natsSince = 0
		return false
	}
	if r := p.nc.Stats().Reconnects; r != p.reconnects {
		p.reconnects, p.natsSince = r, 0
		p.win.goBack()
	}
	if p.natsSince == 0 {
		p.natsSince = p.clock.now()
	}
	oldest, head, failed := p.win.state()
	if head != p.head {
		p.head, p.wait = head, 0
		if failed == nil && p.stalled.Swap(nil) != nil {
			p.log.Info("events flow again")
		}
	}
	if failed == nil && oldest != 0 && p.clock.now()-oldest > int64(p.cfg.AckTimeout) {
		failed = fmt.Errorf("no acknowledgement in %v", p.cfg.AckTimeout)
		if last := p.nc.LastError(); last != nil {
			failed = fmt.Errorf("%w; last error of the connection: %w", failed, last)
		}
	}
	if failed == nil {
		return !time.Now().Before(p.resume)
	}
	p.stall(failed)
	p.win.goBack()
	p.wait = min(max(2*p.wait, publishRetryMin), publishRetryMax)
	p.resume = time.Now().Add(p.wait)
	p.met.retries.Inc()
	return false
}

// admit moves one event into the window: a gap first, because what follows it
// must not be read as complete.
func (p *publisher) admit() bool {
	if !p.win.room() {
		return false
	}
	if len(p.pending) == 0 && time.Since(p.lastGap) >= gapEvery {
		gaps, stale := p.buf.takeGaps()
		if stale {
			p.onStale()
		}
		for _, g := range gaps {
			p.pending = append(p.pending, g.events(p.instance, p.partitions, p.numbers, p.clock.now())...)
			p.lastGap = time.Now()
		}
	}
	if len(p.pending) > 0 {
		p.win.add(p.pending[0])
		p.pending = p.pending[1:]
		return true
	}
	if p.waitsForOthers() {
		return false
	}
	q, ok := p.buf.pop()
	if ok {
		p.win.add(q)
	}
	return ok
}

// waitsForOthers reports whether it is too early to publish what came since the
// server was connected to. Another collector may be about to publish what came
// before that, and the events of a leg should be in order.
func (p *publisher) waitsForOthers() bool {
	joined := p.joined.Load()
	if joined == p.admitted || p.ending {
		return false
	}
	if p.clock.now() < max(joined, p.natsSince)+int64(p.cfg.JoinDelay) {
		return true
	}
	p.admitted = joined
	return false
}

func (p *publisher) send(q queued, n, attempt uint64) error {
	reply := make([]byte, 0, 96)
	reply = append(reply, p.inbox...)
	reply = strconv.AppendUint(reply, attempt, 36)
	reply = append(reply, '.')
	reply = strconv.AppendUint(reply, n, 36)
	return p.nc.PublishMsg(&nats.Msg{
		Subject: p.subject(&q),
		Reply:   string(reply),
		Header:  nats.Header{nats.MsgIdHdr: {p.messageID(&q)}},
		Data:    q.data,
	})
}

// messageID of what FreeSWITCH said is made of facts: it is the same at every
// collector. In every attempt it is the same for all.
func (p *publisher) messageID(q *queued) string {
	if q.origin == madeHere || q.origin == madeLate {
		return p.numbers.messageID(q.sequence)
	}
	b := make([]byte, 0, 80)
	b = append(b, q.core...)
	b = append(b, ':')
	b = strconv.AppendUint(b, q.sequence, 10)
	return string(b)
}

func (p *publisher) subject(q *queued) string {
	all, ok := p.subjects[q.name]
	if !ok {
		all = make([]string, p.partitions)
		for part := range all {
			all[part] = stream.EventSubject(part, p.instance, []byte(q.name))
		}
		if len(p.subjects) == maxSubjects { // names that nobody asked for
			clear(p.subjects)
		}
		p.subjects[q.name] = all
	}
	return all[q.part]
}

// fail deals with a message that did not leave the process. One that can never
// leave it is given up; anything else is tried again.
func (p *publisher) fail(n, attempt uint64, err error) {
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) {
		if q, ok := p.win.ack(n); ok {
			p.met.reject("too_large")
			p.buf.releaseOf(q)
			p.log.Warn("event is larger than the NATS server takes and was left out; raise its max_payload, or partitions if it is "+event.Sync, "event", q.name, "bytes", len(q.data))
		}
		return
	}
	p.win.refuse(attempt, err)
}

// stall says once that the stream takes nothing. That NATS is away is said by
// the connection itself.
func (p *publisher) stall(err error) {
	if p.nc.IsConnected() && !errors.Is(err, nats.ErrReconnectBufExceeded) && p.stalled.Swap(&err) == nil {
		p.log.Warn("events wait, the stream does not take them; see that stream "+stream.Events+" exists and has room", "err", err)
	}
}
