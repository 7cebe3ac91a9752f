package calculator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"google.golang.org/protobuf/proto"
)

// errLost is returned when another calculator has taken the partition: nothing
// that this one still holds may be written.
var errLost = errors.New("partition was taken by another calculator")

// errAnew is returned when the events stream is another than the one that was
// claimed, or has lost its end.
var errAnew = errors.New("the events stream was made anew, or has lost its end")

// errSkipped is returned when an event would not be stepped: the next claim does it.
var errSkipped = errors.New("an event did not come that is in the stream")

// The commit protocol. Numbers are sequences of the events stream.
//
// Two chains say who owns a partition. The owner record is changed only by
// compare-and-set, and every state is written on condition that the record is
// unchanged. The samples of a partition form a chain in which each message is
// accepted only on top of the message its writer knows. A claim moves both, so
// whatever a previous owner still has in flight is refused by the server.
//
// An ownership is what a successful claim gives. publish is called by one
// goroutine and write by one; they may be two.
type ownership struct {
	js        jetstream.JetStream
	kv        jetstream.KeyValue
	samples   jetstream.Stream
	log       *slog.Logger
	m         *metrics
	partition int
	epoch     uint64 // of this ownership
	created   int64  // when the events stream was made, microseconds since 1970
	events    int64  // created, and a microsecond for each time it was cut: what Fsagent-Events says
	// replicated: the bucket lives on several servers.
	replicated bool
	anew       bool                   // the events stream is another than the previous owner's
	record     *fsagentv1.OwnerRecord // as last written; the checkpoint's
	revision   uint64                 // of the record: the fence of all states; the checkpoint's
	tail       tail                   // of the samples; publish's
}

// tail is the last message on a partition's sample subject.
type tail struct {
	stream.Reach
	sequence uint64 // in the samples stream; 0 if there is none
	epoch    uint64 // its Fsagent-Epoch
	events   int64  // its Fsagent-Events; 0 if it does not say
	stored   time.Time
}

// source is the events stream, as a claim finds it.
type source struct {
	created     time.Time
	first, last uint64 // sequences of the events there are
	// cut: it has lost events that the record says were read. What came since begins
	// behind resume.
	cut    bool
	resume uint64
}

// store is what ownerships share.
type store struct {
	js      jetstream.JetStream
	kv      jetstream.KeyValue
	samples jetstream.Stream
	events  jetstream.Stream
	bucket  jetstream.Stream // kv, as a stream
	// replicated: the bucket lives on several servers.
	replicated bool
}

func openStore(ctx context.Context, js jetstream.JetStream) (*store, error) {
	kv, err := js.KeyValue(ctx, stream.State)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", stream.State, err)
	}
	samples, err := js.Stream(ctx, stream.Samples)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream.Samples, err)
	}
	events, err := js.Stream(ctx, stream.Events)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream.Events, err)
	}
	bucket, err := js.Stream(ctx, stream.StateStream)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", stream.State, err)
	}
	return &store{js: js, kv: kv, samples: samples, events: events, bucket: bucket, replicated: bucket.CachedInfo().Config.Replicas > 1}, nil
}

// owner reads the owner record of a partition. Without one, record is empty and
// revision is that of the marker of its deletion, or 0.
func (s *store) owner(ctx context.Context, partition int) (record *fsagentv1.OwnerRecord, revision uint64, err error) {
	record = &fsagentv1.OwnerRecord{}
	msg, err := s.bucket.GetLastMsgForSubject(ctx, stream.StateSubject(stream.OwnerKey(partition)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return record, 0, nil
	} else if err != nil {
		return nil, 0, fmt.Errorf("read owner of partition %d: %w", partition, err)
	}
	if len(msg.Data) == 0 {
		return record, msg.Sequence, nil
	}
	if err := proto.Unmarshal(msg.Data, record); err != nil {
		return nil, 0, fmt.Errorf("read owner of partition %d: %w", partition, err)
	}
	return record, msg.Sequence, nil
}

// values gives every key of the bucket that matches, with its value, to each, in
// the order in which they were written.
func (s *store) values(ctx context.Context, filter string, each func(key string, value []byte)) error {
	watch, err := s.kv.Watch(ctx, filter, jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer func() { _ = watch.Stop() }() // it may have ended
	// A watch whose consumer went away with a server says nothing more.
	silence := time.NewTimer(loadTimeout)
	defer silence.Stop()
	for {
		silence.Reset(loadTimeout)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-silence.C:
			return fmt.Errorf("nothing came for %v", loadTimeout)
		case entry, ok := <-watch.Updates():
			if !ok {
				return errors.New("the watch ended")
			}
			if entry == nil {
				return nil
			}
			each(entry.Key(), entry.Value())
		}
	}
}

// loadTimeout is how long the bucket may be silent while legs are loaded.
const loadTimeout = 5 * time.Second

// eventsInfo asks a leader for the state of the events stream.
func (s *store) eventsInfo(ctx context.Context) (*jetstream.StreamInfo, error) {
	info, err := s.events.Info(ctx)
	if err == nil && stream.Leaderless(info) {
		err = errors.New("it has no leader")
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream.Events, err)
	}
	return info, nil
}

// eventsNow returns the sequences of the first and the last message in the events
// stream, and when the stream was made.
func (s *store) eventsNow(ctx context.Context) (first, last uint64, created time.Time, err error) {
	info, err := s.eventsInfo(ctx)
	if err != nil {
		return 0, 0, time.Time{}, err
	}
	return info.State.FirstSeq, info.State.LastSeq, info.Created, nil
}

// replaced reports whether the event of a sequence is another than the one that was
// read, which the server stored at a time. One that has left the stream may be the same.
func (s *store) replaced(ctx context.Context, seq uint64, stored time.Time) (bool, error) {
	if seq == 0 || stored.IsZero() {
		return false, nil
	}
	msg, err := s.events.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("event %d: %w", seq, err)
	}
	return !msg.Time.Equal(stored), nil
}

// noEvent reports whether the stream has no event of the partition with a sequence
// from first to last.
func (s *store) noEvent(ctx context.Context, partition int, first, last uint64) (bool, error) {
	msg, err := s.events.GetMsg(ctx, first, jetstream.WithGetMsgSubject(stream.EventFilter(partition)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return true, nil
	} else if err != nil {
		return false, fmt.Errorf("next event of partition %d: %w", partition, err)
	}
	return msg.Sequence > last, nil
}

// source looks at the events stream for a claim on top of a record.
func (s *store) source(ctx context.Context, partition int, record *fsagentv1.OwnerRecord) (src source, err error) {
	if src.first, src.last, src.created, err = s.eventsNow(ctx); err != nil {
		return source{}, err
	}
	if src.created.UnixMicro() != record.GetStreamCreatedUs() {
		return src, nil
	}
	stored := cursorStored(record)
	if src.cut, err = s.endsBefore(ctx, record.GetCursor()); err == nil && !src.cut {
		src.cut, err = s.replaced(ctx, record.GetCursor(), stored)
	}
	if err == nil && src.cut {
		src.resume, err = s.before(ctx, partition, stored)
	}
	return src, err
}

// cursorStored is when the server stored the event at the cursor; zero if that is not
// known.
func cursorStored(record *fsagentv1.OwnerRecord) time.Time {
	if record.GetCursorStoredNs() == 0 || record.GetCursorStored() != record.GetCursor() {
		return time.Time{}
	}
	return time.Unix(0, record.GetCursorStoredNs())
}

// endsBefore reports whether the events stream ends before an event that was read: its
// end, or all of it, was lost with the power of the server or with its memory. In a
// cluster a new leader may know less for a moment.
func (s *store) endsBefore(ctx context.Context, seq uint64) (bool, error) {
	for answer := 1; ; answer++ {
		info, err := s.eventsInfo(ctx)
		switch {
		case err != nil:
			return false, err
		case info.State.LastSeq >= seq:
			return false, nil
		case info.Config.Replicas < 2 || answer == cutAnswers:
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(cutPause):
		}
	}
}

// A cluster must say so often, with so much time between, that its events stream ends
// too early.
const (
	cutAnswers = 10
	cutPause   = time.Second
)

// before returns a sequence with no event of the partition between it and the first
// one that was stored after a time. If the time is not known it is that of the last.
func (s *store) before(ctx context.Context, partition int, at time.Time) (uint64, error) {
	info, err := s.eventsInfo(ctx)
	if err != nil {
		return 0, err
	}
	if at.IsZero() || info.State.Msgs == 0 || !info.State.LastTime.After(at) {
		return info.State.LastSeq, nil
	}
	at = at.Add(1)
	consumer, err := s.js.OrderedConsumer(ctx, stream.Events, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{stream.EventFilter(partition)}, HeadersOnly: true,
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &at,
	})
	if err != nil {
		return 0, fmt.Errorf("events of partition %d: %w", partition, err)
	}
	if c, err := consumer.Info(ctx); err != nil {
		return 0, fmt.Errorf("events of partition %d: %w", partition, err)
	} else if c.NumPending == 0 {
		return info.State.LastSeq, nil
	}
	msg, err := consumer.Next(jetstream.FetchMaxWait(loadTimeout))
	if err != nil {
		return 0, fmt.Errorf("events of partition %d: %w", partition, err)
	}
	meta, err := msg.Metadata()
	if err != nil {
		return 0, fmt.Errorf("events of partition %d: %w", partition, err)
	}
	return meta.Sequence.Stream - 1, nil
}

// claim takes the partition from whoever is in the record of that revision. It
// returns errLost if another claims at the same time. A record of another events
// stream than src says nothing of this one, and is begun anew.
func (s *store) claim(ctx context.Context, partition int, id string, record *fsagentv1.OwnerRecord, revision uint64, src source, m *metrics, log *slog.Logger) (*ownership, error) {
	o := &ownership{js: s.js, kv: s.kv, samples: s.samples, log: log, m: m, partition: partition, replicated: s.replicated,
		created: src.created.UnixMicro(), record: record, revision: revision}
	retry := newBackoff(&o.m.trouble)
	before, cuts := record.GetEpoch(), int64(0)
	if before == 0 {
		// The first owner; or the record was lost, and the tail still knows.
		t, err := o.tailNow(ctx, retry)
		if err != nil {
			return nil, err
		}
		before, cuts = t.epoch, t.events-o.created
	}
	o.epoch = before + 1
	next := proto.CloneOf(record)
	if cuts > 0 && cuts < time.Second.Microseconds() { // of this stream
		next.SetTimesCut(uint32(cuts))
	}
	next.SetOwner(id)
	next.SetEpoch(o.epoch)
	next.SetStreamCreatedUs(o.created)
	another := record.GetStreamCreatedUs() != 0 && record.GetStreamCreatedUs() != o.created
	if another || src.cut {
		o.anew = true
		next.SetCursor(src.resume)
		next.SetPublished(src.resume)
		next.SetIdleThrough(0)
		next.SetSamplesSequence(0)
		next.SetCores(nil)
		// Also what a checkpoint that was not finished may have written counts no more.
		unused := record.GetNextSegment() + 1<<20
		next.SetFirstSegment(unused)
		next.SetNextSegment(unused)
		next.SetCursorStored(0)
		next.SetCursorStoredNs(0)
		next.SetTimesCut(record.GetTimesCut() + 1)
		if another {
			next.SetTimesCut(0)
		}
	}
	o.events = o.created + int64(next.GetTimesCut())
	if err := o.writeRecord(ctx, next); err != nil {
		return nil, err
	}
	for {
		t, err := o.tailNow(ctx, retry)
		if err != nil {
			return nil, err
		}
		if t.epoch > o.epoch {
			return nil, errLost
		}
		if t.events == o.events && t.Through > src.last {
			if err := s.shorten(ctx, partition, &t); err != nil {
				return nil, err
			}
		}
		o.tail = t
		err = o.append(ctx, nil, o.out())
		if err == nil {
			return o, nil
		}
		if !errors.Is(err, errLost) {
			return nil, err
		}
		// The previous owner was quicker: read its message and try on top of it.
		if !retry.wait(ctx, log, "claim partition", err) {
			return nil, context.Cause(ctx)
		}
	}
}

// shorten a tail that speaks of events which the stream has lost: others have their
// sequences now.
func (s *store) shorten(ctx context.Context, partition int, t *tail) error {
	cut, err := s.endsBefore(ctx, t.Through)
	if err != nil || !cut {
		return err
	}
	through, err := s.before(ctx, partition, t.stored)
	if err == nil && through < t.Through {
		t.Reach = stream.Reach{Through: through}
	}
	return err
}

// out is what a claim finds published.
func (o *ownership) out() stream.Reach {
	out := o.tail.Reach
	if o.tail.events != o.events && (o.tail.events != 0 || o.anew) {
		out = stream.Reach{} // it speaks of an events stream that is no more
	}
	// The record's published stands in for a tail that has aged out, and is ahead of
	// it where the latest events made no samples.
	if p := o.record.GetPublished(); p > out.Through {
		out = stream.Reach{Through: p}
	}
	return out
}

// publish appends messages in order. It returns when they are in the stream, with
// errLost if they never will be, or with the cause of ctx.
func (o *ownership) publish(ctx context.Context, messages []message) error {
	for _, m := range messages {
		if err := o.append(ctx, m.batch, m.reach); err != nil {
			return err
		}
		o.m.flushes.Inc()
	}
	return nil
}

// append does not come back without knowing what became of the message: after
// an unknown outcome it asks the tail, and tries again on top of it.
func (o *ownership) append(ctx context.Context, payload []byte, r stream.Reach) error {
	mine := tail{Reach: r, epoch: o.epoch, events: o.events}
	msg := &nats.Msg{Subject: stream.SampleSubject(o.partition), Data: payload, Header: mine.headers()}
	retry := newBackoff(&o.m.trouble)
	for {
		ack, failure := o.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(o.tail.sequence))
		if failure == nil {
			mine.sequence = ack.Sequence
			o.tail = mine
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		o.m.operations.WithLabelValues("publish_retry").Inc()
		// Not refused: the outcome is unknown (time-out, lost connection), or the
		// server cannot take it now (no space, no leader).
		if !refused(failure) && !retry.wait(ctx, o.log, "publish samples", failure) {
			return context.Cause(ctx)
		}
		now, err := o.tailNow(ctx, retry)
		if err != nil {
			return err
		}
		if now.sequence > o.tail.sequence && now.epoch == mine.epoch && now.Reach == mine.Reach {
			o.tail = now // an earlier attempt was stored after all
			return nil
		}
		if now.sequence != o.tail.sequence || refused(failure) {
			return errLost
		}
	}
}

func (o *ownership) tailNow(ctx context.Context, retry *backoff) (tail, error) {
	for {
		t, err := o.readTail(ctx)
		if err == nil {
			return t, nil
		}
		if !retry.wait(ctx, o.log, "read last samples", err) {
			return tail{}, context.Cause(ctx)
		}
	}
}

// readTail returns the last message of the partition that a calculator wrote, with
// the sequence of the last one that anybody wrote: that is what the next goes on
// top of.
func (o *ownership) readTail(ctx context.Context) (tail, error) {
	subject := stream.SampleSubject(o.partition)
	msg, err := o.samples.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return tail{}, nil
	} else if err != nil {
		return tail{}, fmt.Errorf("read last samples of partition %d: %w", o.partition, err)
	}
	t, err := readHeaders(msg.Header)
	if err != nil {
		o.m.reject("samples")
		o.log.Error("a message on the subject of samples is none of a calculator, going on behind it", "subject", subject, "sequence", msg.Sequence, "err", err)
		if t, err = o.lastOwn(ctx, msg.Sequence); err != nil {
			return tail{}, err
		}
	}
	t.sequence, t.stored = msg.Sequence, msg.Time
	return t, nil
}

// lastOwn searches the partition's samples for the last message of a calculator,
// from where they stood at the last checkpoint through a sequence.
func (o *ownership) lastOwn(ctx context.Context, through uint64) (last tail, err error) {
	for next := max(o.record.GetSamplesSequence(), 1); next <= through; next++ {
		msg, err := o.samples.GetMsg(ctx, next, jetstream.WithGetMsgSubject(stream.SampleSubject(o.partition)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return last, nil
		} else if err != nil {
			return tail{}, fmt.Errorf("search samples of partition %d: %w", o.partition, err)
		}
		if t, err := readHeaders(msg.Header); err == nil {
			last = t
		}
		next = msg.Sequence
	}
	return last, nil
}

func (t tail) headers() nats.Header {
	h := nats.Header{
		stream.HeaderEpoch:  {strconv.FormatUint(t.epoch, 10)},
		stream.HeaderEvents: {strconv.FormatInt(t.events, 10)},
	}
	t.Write(h)
	return h
}

func readHeaders(h nats.Header) (t tail, err error) {
	if t.Reach, err = stream.ReadReach(h); err != nil {
		return tail{}, err
	}
	if t.epoch, err = strconv.ParseUint(h.Get(stream.HeaderEpoch), 10, 64); err != nil {
		return tail{}, fmt.Errorf("header %s: %w", stream.HeaderEpoch, err)
	}
	if v := h.Get(stream.HeaderEvents); v != "" {
		if t.events, err = strconv.ParseInt(v, 10, 64); err != nil {
			return tail{}, fmt.Errorf("header %s: %w", stream.HeaderEvents, err)
		}
	}
	return t, nil
}

// checkpoint is a consistent cut of a partition's state: everything that the
// events up to cursor, and no later one, have made of it.
type checkpoint struct {
	cursor uint64
	stored time.Time // when the server stored that event; zero if it is that of the record
	idle   uint64    // the record's idle_through
	tail   uint64    // the record's samples_sequence
	cores  []*fsagentv1.Core
	entries
}

// state is one key of the bucket to be written, or deleted if value is nil.
type state struct {
	key   string
	value []byte
}

// write stores a checkpoint whose samples are published: first the segments, each
// on condition that we still own the partition, then the cursor, then the
// deletions. It returns errLost, or the cause of ctx; other failures are retried.
func (o *ownership) write(ctx context.Context, c checkpoint) error {
	if err := o.writeStates(ctx, c.segments); err != nil {
		return err
	}
	next := proto.CloneOf(o.record)
	next.SetCursor(c.cursor)
	if !c.stored.IsZero() {
		next.SetCursorStored(c.cursor)
		next.SetCursorStoredNs(c.stored.UnixNano())
	}
	next.SetPublished(c.cursor)
	next.SetIdleThrough(c.idle)
	next.SetSamplesSequence(c.tail)
	next.SetCores(c.cores)
	next.SetFirstSegment(c.first)
	next.SetNextSegment(c.next)
	if err := o.writeRecord(ctx, next); err != nil {
		return err
	}
	deletions := make([]state, len(c.waste))
	for i, key := range c.waste {
		deletions[i] = state{key: key}
	}
	return o.writeStates(ctx, deletions)
}

// release lets go of the partition, so that the next owner need not wait.
func (o *ownership) release(ctx context.Context) error {
	next := proto.CloneOf(o.record)
	next.SetOwner("")
	return o.writeRecord(ctx, next)
}

// writeRecord replaces the owner record. After an unknown outcome it reads the
// record back, and tries again if it is still the old one.
func (o *ownership) writeRecord(ctx context.Context, next *fsagentv1.OwnerRecord) error {
	key := stream.OwnerKey(o.partition)
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(next)
	if err != nil {
		return fmt.Errorf("owner of partition %d: %w", o.partition, err)
	}
	retry := newBackoff(&o.m.trouble)
	for {
		revision, err := o.kv.Update(ctx, key, value, o.revision)
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			entry, getErr := o.kv.Get(ctx, key)
			switch {
			case getErr == nil && entry.Revision() > o.revision && string(entry.Value()) == string(value):
				revision = entry.Revision() // it was stored after all
			case getErr == nil && entry.Revision() != o.revision:
				return errLost
			case refused(err) && getErr == nil:
				return errLost
			case errors.Is(getErr, jetstream.ErrKeyNotFound) && o.revision != 0:
				return errLost // the bucket was made anew
			default:
				if !retry.wait(ctx, o.log, "write owner record", err) {
					return context.Cause(ctx)
				}
				continue
			}
		}
		o.record, o.revision = next, revision
		o.m.operations.WithLabelValues("owner").Inc()
		o.m.checkpoint.WithLabelValues(strconv.Itoa(o.partition)).SetToCurrentTime()
		return nil
	}
}

// writeStates writes (or deletes) keys of the bucket, each on condition that the
// owner record is as we know it, and repeats those that were not acknowledged.
func (o *ownership) writeStates(ctx context.Context, states []state) error {
	pending := make([]*nats.Msg, len(states))
	for i, s := range states {
		pending[i] = s.message()
	}
	send, most := o.sendSingly, len(pending)
	if o.replicated {
		send, most = o.sendBatch, maxBatch
	}
	retry := newBackoff(&o.m.trouble)
	for len(pending) > 0 {
		chunk := pending[:min(most, len(pending))]
		failed, err := send(ctx, chunk)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case refused(err):
			return errLost
		}
		o.m.operations.WithLabelValues("segment").Add(float64(len(chunk) - len(failed)))
		pending = append(failed, pending[len(chunk):]...)
		if err != nil && !retry.wait(ctx, o.log, "write states", err) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// sendSingly has all messages in flight at once. It returns those that were not
// acknowledged and why, or a refusal.
func (o *ownership) sendSingly(ctx context.Context, msgs []*nats.Msg) (failed []*nats.Msg, why error) {
	fence := jetstream.WithExpectLastSequenceForSubject(o.revision, stream.StateSubject(stream.OwnerKey(o.partition)))
	acks := make([]jetstream.PubAckFuture, len(msgs))
	for i, msg := range msgs {
		ack, err := o.js.PublishMsgAsync(msg, fence)
		if err != nil {
			failed, why = append(failed, msg), err
			continue
		}
		acks[i] = ack
	}
	for i, ack := range acks {
		if ack == nil {
			continue
		}
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			if refused(err) {
				return nil, err
			}
			failed, why = append(failed, msgs[i]), err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return failed, why
}

// maxBatch is how many messages of one atomic batch are sent; the server takes
// 1,000 (NATS ADR-50).
const maxBatch = 900

// sendBatch sends the messages as one atomic batch, which is taken or refused as
// a whole. In a replicated stream single fenced writes that are in flight while
// the leader changes could be accepted out of turn.
func (o *ownership) sendBatch(ctx context.Context, msgs []*nats.Msg) (failed []*nats.Msg, why error) {
	fence := jetstreamext.WithBatchExpectLastSequenceForSubject(o.revision, stream.StateSubject(stream.OwnerKey(o.partition)))
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	batch, err := jetstreamext.NewBatchPublisher(o.js, jetstreamext.BatchFlowControl{AckFirst: true, AckEvery: 200, AckTimeout: batchTimeout})
	if err != nil {
		return msgs, err
	}
	last := len(msgs) - 1
	for _, msg := range msgs[:last] {
		if err := batch.AddMsg(msg, fence); err != nil {
			return msgs, errors.Join(err, batch.Discard())
		}
	}
	if _, err := batch.CommitMsg(ctx, msgs[last], fence); err != nil {
		return msgs, err
	}
	return nil, nil
}

const batchTimeout = 5 * time.Second

func (s state) message() *nats.Msg {
	msg := &nats.Msg{Subject: stream.StateSubject(s.key), Data: s.value}
	if s.value == nil {
		// A delete marker (NATS ADR-8) that goes away by itself (ADR-43).
		msg.Header = nats.Header{"KV-Operation": {"DEL"}, jetstream.MsgTTLHeader: {deleteMarkerTTL.String()}}
	}
	return msg
}

const deleteMarkerTTL = time.Minute

// refused reports whether the server said no because something else was there:
// the one answer after which repeating is wrong.
func refused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// backoff waits longer from try to try, and says only once why.
type backoff struct {
	next    time.Duration
	said    bool
	trouble *trouble
}

func newBackoff(t *trouble) *backoff { return &backoff{next: 50 * time.Millisecond, trouble: t} }

// wait returns false when ctx has ended.
func (b *backoff) wait(ctx context.Context, log *slog.Logger, doing string, err error) bool {
	if b.next > 500*time.Millisecond {
		if !b.said {
			log.Warn("NATS does not answer as it should, trying again", "operation", doing, "err", err)
			b.said = true
		}
		b.trouble.note(doing, err)
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(b.next):
		b.next = min(2*b.next, 2*time.Second)
		return true
	}
}

// trouble is what was last tried again in vain, of all partitions.
type trouble struct {
	mu  sync.Mutex
	err error
	at  time.Time
}

// troubled is how long trouble is told after the last vain try: the longest wait
// before another, and the time for an answer to that.
const troubled = 8 * time.Second

func (t *trouble) note(doing string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err, t.at = fmt.Errorf("%s: %w", doing, err), time.Now()
}

// now returns the trouble there is, or nil.
func (t *trouble) now() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.at) > troubled {
		return nil
	}
	return t.err
}
