package replay

import (
	"context"
	"fmt"
	"math"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/fsagent/history"
)

// Limits of a chunk, and how many chunks of a worker wait for the others.
const (
	chunkSamples = 256
	chunkEvents  = 512
	chunksAhead  = 4
	// pacedEvents are in a chunk of a replay that is held back.
	pacedEvents = 32
)

// chunk is what some events of one worker have made.
type chunk struct {
	entries []Entry
	through uint64 // the last event in it; math.MaxUint64: there are no more
	// states of the partitions after through, or nil.
	states []change
}

// worker reads some partitions by one consumer, and steps them.
type worker struct {
	h        *history.History
	subjects []string
	steps    []*stepper // by partition; nil for those that are others'
	first    uint64
	last     uint64
	silent   uint64 // samples of events up to here are not wanted
	wanted   Options
	pace     Pacer
	sink     Sink
	progress *Progress
	out      chan chunk

	entries []Entry
	old     []*fsagentv1.Sample // of the event being stepped, by before
	made    int                 // samples of the event being stepped
	events  int                 // since the last chunk
	kept    int                 // since the last state
	mistake error
}

// stepper steps one partition.
type stepper struct {
	first  uint64 // event to be stepped
	table  *leg.Table
	before *leg.Table // nil unless there is a comparison
}

func newWorker(h *history.History, r Range, group []Partition, from *States, o Options, pace Pacer, sink Sink, progress *Progress) (*worker, error) {
	w := &worker{
		h: h, subjects: subjects(h, r, group), steps: make([]*stepper, h.Partitions), first: math.MaxUint64, last: r.To, silent: r.From - 1,
		wanted: o, pace: pace, sink: sink, progress: progress, out: make(chan chunk, chunksAhead),
	}
	if o.Channel != "" {
		w.wanted.Channel = event.Decode([]byte(o.Channel))
	}
	if from != nil {
		w.silent = max(w.silent, from.Through)
	}
	for _, p := range group {
		if p.Number >= len(w.steps) {
			return nil, fmt.Errorf("%w: there is no partition %d", ErrOther, p.Number)
		}
		s := &stepper{first: p.Start}
		w.steps[p.Number] = s
		if state := from.of(p.Number); state != nil {
			var err error
			s.first = state.Cursor + 1
			if s.table, err = state.table(params(p, o.Params)); err != nil {
				return nil, err
			}
		} else {
			s.table = newTable(p, o.Params)
		}
		if o.Before != nil {
			s.before = newTable(p, *o.Before)
		}
		w.first = min(w.first, s.first)
	}
	return w, nil
}

// subjects of some partitions. That of all is quicker than each of them.
func subjects(h *history.History, r Range, group []Partition) (out []string) {
	if len(group) == h.Partitions && r.Instance == "" {
		return []string{stream.AllEvents}
	}
	for _, p := range group {
		out = append(out, stream.EventFilterOf(p.Number, orElse(r.Instance, "*"), "*"))
	}
	return out
}

// params are those of a replay that may not see the beginnings of legs.
func params(p Partition, params leg.Params) leg.Params {
	params.MarkPartial = p.Start > 1
	return params
}

// newTable is a table as it was before the first event, as far as that is known.
func newTable(p Partition, choices leg.Params) *leg.Table {
	t := leg.NewTable(params(p, choices))
	var cores []*fsagentv1.Core
	for i, c := range p.Cores {
		cores = append(cores, fsagentv1.Core_builder{CoreUuid: c.UUID, FsInstance: c.Instance, Order: uint64(i + 1)}.Build())
	}
	t.LoadCores(cores)
	for _, g := range p.Gaps {
		t.Apply(g.Sequence, g.Instance, g.Raw, func(*fsagentv1.Sample) {})
	}
	return t
}

func (w *worker) run(ctx context.Context) error {
	err := w.h.Read(ctx, w.subjects, w.first, w.last, func(m history.Message) error {
		w.progress.Events.Add(1)
		if m.Instance != "" && m.Partition >= 0 && m.Partition < len(w.steps) {
			if s := w.steps[m.Partition]; s != nil && m.Sequence >= s.first {
				w.step(s, m)
			}
		}
		if w.mistake != nil {
			return w.mistake
		}
		w.events++
		w.kept++
		if len(w.entries) >= chunkSamples || w.events >= chunkEvents || w.pace != nil && w.events >= pacedEvents {
			return w.send(ctx, m.Sequence)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.send(ctx, math.MaxUint64)
}

func (w *worker) step(s *stepper, m history.Message) {
	for raw, err := range event.Split(m.Payload) {
		if err != nil {
			return // the calculator counts it; it makes nothing
		}
		w.made, w.old = 0, w.old[:0]
		if s.before != nil {
			s.before.Apply(m.Sequence, m.Instance, raw, func(s *fsagentv1.Sample) { w.old = append(w.old, s) })
		}
		s.table.Apply(m.Sequence, m.Instance, raw, func(s *fsagentv1.Sample) { w.emit(m.Sequence, s) })
	}
}

func (w *worker) emit(sequence uint64, s *fsagentv1.Sample) {
	var before *fsagentv1.Sample
	if w.made < len(w.old) { // settings change numbers, not which samples there are
		before = w.old[w.made]
	}
	w.made++
	if sequence <= w.silent || !w.wanted.want(s) {
		return
	}
	data, err := w.sink.Encode(nil, s)
	if err != nil {
		w.mistake = fmt.Errorf("sample of event %d: %w", sequence, err)
		return
	}
	w.entries = append(w.entries, Entry{sequence, s, before, data})
}

// want tells whether a sample is one that was asked for.
func (o Options) want(s *fsagentv1.Sample) bool {
	return (o.Instance == "" || s.GetFsInstance() == o.Instance) &&
		(o.Channel == "" || s.GetChannelId() == o.Channel) &&
		(o.Call == "" || s.GetCallId() == o.Call || s.GetCorrelationId() == o.Call) &&
		(o.Domain == "" || s.GetDomainName() == o.Domain)
}

// send hands on what there is.
func (w *worker) send(ctx context.Context, through uint64) error {
	c := chunk{entries: w.entries, through: through}
	keep := w.wanted.Keep > 0 && w.kept >= w.wanted.Keep && through != math.MaxUint64
	if keep {
		w.kept = 0
	}
	for p, s := range w.steps {
		switch {
		case s == nil:
			continue
		case keep && through >= s.first:
			c.states = append(c.states, change{partition: p, cursor: through, cores: s.table.Cores(), legs: s.table.Changes()})
		case w.wanted.Keep == 0:
			s.table.Discard()
		}
		if s.before != nil {
			s.before.Discard()
		}
	}
	if w.events > 0 && w.pace != nil {
		if err := w.pace.Wait(ctx, w.events); err != nil {
			return err
		}
	}
	w.entries, w.events = make([]Entry, 0, cap(w.entries)), 0
	select {
	case w.out <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
