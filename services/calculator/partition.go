package calculator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/sample"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/nats-io/nats.go/jetstream"
)

// partition works off one owned partition: it steps events into legs and
// samples (on the consumer's goroutine), publishes the samples and writes
// checkpoints behind (on two of its own).
type partition struct {
	own *ownership
	cfg Config
	m   *metrics
	log *slog.Logger

	mu       sync.Mutex
	turn     sync.Cond // waits for samples to be taken, or for an event before to be stepped
	table    *leg.Table
	entered  uint64       // last event received
	came     time.Time    // when the server stored it; zero if that is not known
	applied  uint64       // last event stepped
	stored   time.Time    // when the server stored it; zero before the first
	silent   stream.Reach // samples that are out already
	batch    []byte       // encoded SampleBatch of samples not yet published
	parts    []message    // those before, of an event with many
	samples  int          // in batch and parts
	stepped  int          // events since the last checkpoint
	steps    uint64       // events since the claim
	stopping bool
	journal  journal
	behind   bool          // some event stepped since look was not the last one of the partition
	full     chan struct{} // batch or stepped has reached its limit
	broken   chan error    // why nothing is stepped any more, if that is no orderly end

	// What rest and look know.
	seen uint64 // steps when rest was there last
	end  uint64 // of the events stream then
	idle uint64 // through here the partition has no event after applied
	safe uint64 // through here no event was removed unread, or it was said
	due  int    // times in a row that rest found an event which did not come
}

// runPartition claims a partition, works until ctx ends or another takes it,
// and lets go. It returns errLost in the latter case.
func (c *Calculator) runPartition(ctx context.Context, s *store, number int) error {
	log := c.log.With("partition", number)
	record, revision, err := c.await(ctx, s, number)
	if err != nil {
		return err
	}
	started := time.Now()
	src, err := s.source(ctx, number, record)
	if err != nil {
		return err
	}
	// A claim that is begun is brought to an end, so that what it has taken is let go.
	finishing, cancel := withGrace(ctx, finishTimeout)
	defer cancel()
	own, err := s.claim(finishing, number, c.id, record, revision, src, c.m, log)
	if err != nil {
		return err
	}
	p := &partition{
		own: own, cfg: c.cfg, m: c.m, log: log,
		table: leg.NewTable(c.cfg.Params()), applied: own.record.GetCursor(), silent: own.tail.Reach, idle: own.record.GetIdleThrough(),
		full: make(chan struct{}, 1), broken: make(chan error, 1),
	}
	p.entered, p.turn.L = p.applied, &p.mu
	p.came = cursorStored(own.record)
	if err := p.load(ctx, s, src.first); err != nil {
		return p.giveBack(ctx, finishing, err)
	}
	live, _ := p.table.Len()
	// From nobody is the course of things; from another it is news.
	level := slog.LevelDebug
	if record.GetOwner() != "" {
		level = slog.LevelInfo
	}
	log.Log(ctx, level, "partition claimed", "epoch", own.epoch, "from", record.GetOwner(), "cursor", p.applied, "published", p.silent.Through,
		"legs", live, "duration", time.Since(started).Round(time.Millisecond).String())
	c.m.owned.Inc()
	c.setOwned(number, true)
	defer c.setOwned(number, false)
	defer c.m.owned.Dec()
	defer c.m.letGo(number)
	err = p.work(ctx, finishing, s)
	switch {
	case err == nil:
		log.Debug("partition handed over", "applied", p.applied)
	case errors.Is(err, errAnew), errors.Is(err, errSkipped):
		log.Warn("partition is claimed anew", "err", err, "applied", p.applied)
	default:
		log.Info("partition lost", "err", err, "applied", p.applied)
	}
	return err
}

// giveBack lets go of a partition on which no work was begun, if that is because ctx
// has ended: the next owner would wait for as long as this one lives. Otherwise it
// returns err, which says why there was none.
func (p *partition) giveBack(ctx, finishing context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return p.own.release(finishing)
}

// await returns the owner record when the partition may be claimed: it is free,
// its owner is dead, or has had the time to finish.
func (c *Calculator) await(ctx context.Context, s *store, number int) (*fsagentv1.OwnerRecord, uint64, error) {
	retry := newBackoff(&c.m.trouble)
	for waited := time.Duration(0); ; {
		record, revision, err := s.owner(ctx, number)
		if err != nil {
			if !retry.wait(ctx, c.log, "read owner record", err) {
				return nil, 0, context.Cause(ctx)
			}
			continue
		}
		owner := record.GetOwner()
		if owner == "" || owner == c.id || !c.alive(owner) || waited > handOver {
			return record, revision, nil
		}
		const pause = 50 * time.Millisecond
		select {
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		case <-time.After(pause):
			waited += pause
		}
	}
}

// handOver is how long a living owner has to finish a partition that should be
// another's; then it is taken.
const handOver = 5 * time.Second

// load reads the clocks and legs that the last checkpoint left. first is the
// sequence of the oldest event in the stream.
func (p *partition) load(ctx context.Context, s *store, first uint64) error {
	p.table.LoadCores(p.own.record.GetCores())
	p.safe = max(p.applied, p.idle)
	switch {
	case p.own.anew:
		p.m.gaps.WithLabelValues(gapStream).Inc()
		p.log.Error("the events stream was made anew or has lost its end: what was not read of it is lost, and its legs are forgotten", "cursor", p.applied)
	case p.applied > 0:
		p.check(first)
	}
	p.safe = max(p.safe, first-min(first, 1)) // what was gone when we came is not ours to miss
	if err := p.journal.load(ctx, s, p.own, p.table); err != nil {
		return err
	}
	p.m.setSegments(p.own.partition, p.journal.extent())
	return nil
}

// check says so if events were removed from the stream that this partition may not
// have read. first is the sequence of the oldest one there is. The caller holds mu,
// unless nobody else has the partition yet.
func (p *partition) check(first uint64) {
	if first <= p.safe+1 {
		return
	}
	p.m.gaps.WithLabelValues(gapEvents).Inc()
	p.log.Error("events were removed from the stream, perhaps some of this partition that were not read: numbers of this time may be missing",
		"from", p.safe+1, "to", first-1)
	p.safe = first - 1
}

// lookInterval is how often a partition that is behind looks whether the stream has
// lost what it has yet to read. It must be short: read on, it would not be seen.
const lookInterval = time.Second

// watch looks until ctx ends. It waits for the server, so it is not for those on whom
// samples wait.
func (p *partition) watch(ctx context.Context, s *store) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.look(ctx, s)
		}
	}
}

// look finds events that were removed while the partition was behind. Up to where it
// was at the look before everything was read; if what followed has been removed since,
// it may have been removed unread.
func (p *partition) look(ctx context.Context, s *store) {
	p.mu.Lock()
	behind, applied := p.behind, p.applied
	p.behind = false
	p.mu.Unlock()
	var first uint64
	if behind {
		var err error
		if first, _, _, err = s.eventsNow(ctx); err != nil {
			p.mu.Lock()
			p.behind = true // the next time
			p.mu.Unlock()
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.check(first)
	p.safe = max(p.safe, applied)
}

// work consumes until ctx ends, then finishes, as long as finishing lasts: flush,
// checkpoint, release.
func (p *partition) work(ctx, finishing context.Context, s *store) error {
	consumer, err := s.js.OrderedConsumer(ctx, stream.Events, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{stream.EventFilter(p.own.partition)},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    p.applied + 1,
	})
	if err != nil {
		return p.giveBack(ctx, finishing, fmt.Errorf("consume partition %d: %w", p.own.partition, err))
	}
	consuming, err := consumer.Consume(func(msg jetstream.Msg) { p.receive(ctx, s, msg) }, jetstream.PullMaxMessages(500), jetstream.PullHeartbeat(time.Second), jetstream.PullExpiry(10*time.Second),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			p.log.Debug("consumer of events", "err", err)
		}))
	if err != nil {
		return p.giveBack(ctx, finishing, fmt.Errorf("consume partition %d: %w", p.own.partition, err))
	}
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { p.watch(watching, s) })
	err = p.commit(ctx, finishing, s)
	stop()
	watch.Wait()

	p.halt(nil)
	consuming.Stop()
	<-consuming.Closed()
	if err != nil {
		return err
	}
	return p.finish(finishing)
}

// withGrace returns a context that ends grace after ctx.
func withGrace(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return out, func() { stop(); cancel() }
}

// finishTimeout bounds an orderly end; what it cuts off the next owner repeats.
const finishTimeout = 10 * time.Second

// receive steps a message that has come for the first time. The first one of each
// consumer is looked at before: if it is not what comes next, nothing is stepped any
// more.
//
// A consumer that is made anew after a break goes on behind the last message received,
// also if that still waits here: then two wait, and go in the order in which they came.
func (p *partition) receive(ctx context.Context, s *store, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		p.m.reject("no_metadata")
		return
	}
	p.mu.Lock()
	before, stored := p.entered, p.came
	if meta.Sequence.Stream > before {
		p.entered, p.came = meta.Sequence.Stream, meta.Timestamp
	}
	p.mu.Unlock()
	if meta.Sequence.Consumer == 1 {
		if err := p.follows(ctx, s, before, stored, meta.Sequence.Stream); ctx.Err() != nil {
			p.halt(nil)
		} else if err != nil {
			p.halt(err)
		}
	}
	if meta.Sequence.Stream > before {
		p.step(before, meta, msg)
	}
}

// halt ends the stepping of events. Without an error that is an orderly end.
func (p *partition) halt(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && !p.stopping {
		p.broken <- err
	}
	p.stopping = true
	p.turn.Broadcast()
}

// follows returns nil if an event is the next one after another, which the server
// stored at a time. errAnew: it is of another stream than the one that was claimed, as
// a consumer that is made anew goes on at the same sequence in whatever stream there
// is. errSkipped: there is one between, which came no further than into the client,
// whose next consumer went on behind it.
func (p *partition) follows(ctx context.Context, s *store, before uint64, stored time.Time, seq uint64) error {
	retry := newBackoff(&p.m.trouble)
	for {
		err := p.looksAt(ctx, s, before, stored, seq)
		if err == nil || errors.Is(err, errAnew) || errors.Is(err, errSkipped) {
			return err
		}
		if !retry.wait(ctx, p.log, "look at the events stream", err) {
			return context.Cause(ctx)
		}
	}
}

// looksAt is one try of follows.
func (p *partition) looksAt(ctx context.Context, s *store, before uint64, stored time.Time, seq uint64) error {
	_, last, created, err := s.eventsNow(ctx)
	if err != nil {
		return err
	}
	if created.UnixMicro() != p.own.created || last < before {
		return errAnew
	}
	if another, err := s.replaced(ctx, before, stored); err != nil || another {
		return cmp.Or(err, errAnew)
	}
	if before+1 >= seq {
		return nil
	}
	if none, err := s.noEvent(ctx, p.own.partition, before+1, seq-1); err != nil || !none {
		return cmp.Or(err, errSkipped)
	}
	return nil
}

// step applies the events of one message, when those received before have been. It
// waits while too much is unpublished.
func (p *partition) step(before uint64, meta *jetstream.MsgMetadata, msg jetstream.Msg) {
	seq := meta.Sequence.Stream
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.stopping && (p.applied < before || len(p.parts) > 0 || len(p.batch) >= waitingBytes) {
		p.turn.Wait()
	}
	if p.stopping {
		return
	}
	if instance, ok := stream.Instance(msg.Subject()); ok {
		p.apply(seq, instance, msg.Data())
	} else {
		p.m.reject("subject")
	}
	p.applied, p.stored = seq, meta.Timestamp
	p.turn.Broadcast()
	p.stepped++
	p.steps++
	p.behind = p.behind || meta.NumPending > 0
	p.m.behind[p.own.partition].Set(float64(meta.NumPending))
	if p.samples >= flushSamples || len(p.batch) >= flushBytes || p.stepped >= checkpointEvents {
		select {
		case p.full <- struct{}{}:
		default:
		}
	}
}

func (p *partition) apply(seq uint64, instance string, payload []byte) {
	made := 0 // samples of this message
	for raw, err := range event.Split(payload) {
		if err != nil {
			p.m.reject(string(leg.Malformed))
			return
		}
		outcome := p.table.Apply(seq, instance, raw, func(s *fsagentv1.Sample) {
			made++
			if seq <= p.silent.Through || seq == p.silent.Through+1 && made <= p.silent.Part {
				return
			}
			if len(p.batch) >= waitingBytes {
				p.parts = append(p.parts, message{p.batch, stream.Reach{Through: seq - 1, Part: made - 1}})
				p.batch = nil
			}
			batch, err := sample.Append(p.batch, s)
			if err != nil {
				p.m.reject("sample")
				p.log.Error("sample cannot be encoded", "seq", seq, "err", err)
				return
			}
			p.m.sample(s)
			p.batch = batch
			p.samples++
		})
		p.m.event(outcome)
	}
}

// commit publishes and checkpoints until ctx ends or the partition is lost. What
// it has begun by then it brings to an end, as long as finishing lasts.
func (p *partition) commit(ctx, finishing context.Context, s *store) (err error) {
	flush := time.NewTicker(p.cfg.FlushInterval)
	defer flush.Stop()
	rest := time.NewTicker(restInterval)
	defer rest.Stop()
	tidy := false // all legs are to be written
	lastCheckpoint := time.Now()
	var writing chan error // of the checkpoint being written, if any
	defer func() {
		if writing != nil {
			err = errors.Join(err, <-writing)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-writing:
			writing = nil
			if err != nil {
				return err
			}
			continue
		case err := <-p.broken:
			return err
		case <-p.full:
		case <-flush.C:
		case <-rest.C:
			if writing == nil {
				if tidy, err = p.rest(finishing, s); err != nil {
					return err
				}
			}
		}
		p.mu.Lock()
		due := writing == nil && (tidy || p.stepped > 0 && (p.stepped >= checkpointEvents || time.Since(lastCheckpoint) >= p.cfg.CheckpointInterval))
		messages, cut := p.take(due, tidy)
		tidy = false
		p.mu.Unlock()
		if err := p.own.publish(finishing, messages); err != nil {
			return err
		}
		if due {
			lastCheckpoint = time.Now()
			writing = make(chan error, 1)
			cut.tail = p.own.tail.sequence
			go func() { writing <- p.own.write(finishing, cut) }()
		}
	}
}

// finish leaves nothing for the next owner to repeat. Nothing is stepped any
// more, and no checkpoint is being written.
func (p *partition) finish(ctx context.Context) error {
	p.mu.Lock()
	messages, cut := p.take(true, false)
	p.mu.Unlock()
	if err := p.own.publish(ctx, messages); err != nil {
		return err
	}
	cut.tail = p.own.tail.sequence
	if err := p.own.write(ctx, cut); err != nil {
		return err
	}
	return p.own.release(ctx)
}

// restInterval is how often a partition looks whether it has nothing to do.
const restInterval = 15 * time.Second

// dueRests is how often in a row rest finds an event of the time before that has not
// come, until the consumer is given up.
const dueRests = 2

// rest uses the time in which no event comes: it learns how far the events stream
// has gone on without one of the partition, and reports whether a checkpoint of
// all legs is worth while. It is called when no checkpoint is being written, and
// fails with errAnew: the consumer waits for sequences that the new stream may not
// reach for long. errSkipped: there are events, and the consumer brings none.
func (p *partition) rest(ctx context.Context, s *store) (tidy bool, err error) {
	p.mu.Lock()
	resting := p.steps == p.seen
	p.seen = p.steps
	applied, end, wasteful := p.applied, p.end, p.journal.wasteful()
	waits := p.entered > applied
	p.mu.Unlock()
	first, last, created, err := s.eventsNow(ctx)
	if err != nil {
		return false, nil // the next time
	}
	if created.UnixMicro() != p.own.created || last < applied {
		return false, errAnew
	}
	if p.end = last; !resting {
		p.due = 0
		return false, nil
	}
	p.mu.Lock()
	p.check(first) // before what was removed unread looks like what never was
	p.mu.Unlock()
	if end > max(applied, p.idle) {
		none, err := s.noEvent(ctx, p.own.partition, applied+1, end)
		switch {
		case err != nil:
		case none:
			p.idle, wasteful = end, true
			p.mu.Lock()
			p.safe = max(p.safe, end)
			p.mu.Unlock()
		case !waits:
			if p.due++; p.due == dueRests {
				return false, errSkipped
			}
			return wasteful, nil
		}
	}
	p.due = 0
	return wasteful, nil
}

// message is what goes out at once.
type message struct {
	batch []byte // encoded SampleBatch
	reach stream.Reach
}

// take cuts off what is to be published and, if asked, the state that goes with
// it, or all state. The caller holds mu.
func (p *partition) take(withState, all bool) (messages []message, cut checkpoint) {
	messages = p.parts
	if len(p.batch) > 0 {
		messages = append(messages, message{p.batch, stream.Reach{Through: p.applied}})
	}
	p.parts, p.batch, p.samples = nil, nil, 0
	p.turn.Broadcast()
	if withState {
		p.stepped = 0
		live, ended := p.table.Len()
		p.m.setLegs(p.own.partition, live, ended)
		cut = checkpoint{cursor: p.applied, stored: p.stored, idle: p.idle, cores: p.table.Cores(), entries: p.journal.cut(p.table, all)}
		p.m.setSegments(p.own.partition, p.journal.extent())
	}
	return messages, cut
}
