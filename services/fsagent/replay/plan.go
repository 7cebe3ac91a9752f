package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/fsagent/history"
)

// ErrEmpty is returned when no event lies between the bounds.
var ErrEmpty = errors.New("no events there")

// WarmUp says how far before the range events are read, so that legs that began
// earlier are complete.
type WarmUp struct {
	text string
	by   time.Duration
}

// The ways to warm up other than by a fixed time.
var (
	// WarmUpAuto reads from the beginning of the oldest leg that was alive when the
	// range began, at most a day back.
	WarmUpAuto = WarmUp{text: "auto"}
	// WarmUpAll reads from the beginning of the stream.
	WarmUpAll = WarmUp{text: "all"}
	// WarmUpNone reads nothing before the range.
	WarmUpNone = WarmUp{text: "none"}
)

// ParseWarmUp reads auto, all, none, or a duration over 0.
func ParseWarmUp(text string) (WarmUp, error) {
	for _, w := range []WarmUp{WarmUpAuto, WarmUpAll, WarmUpNone} {
		if w.text == text {
			return w, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return WarmUp{}, fmt.Errorf("%q is not auto, all, none, or a duration as 2h", text)
	}
	return WarmUp{text, d}, nil
}

// String is the text that was read.
func (w WarmUp) String() string { return w.text }

// margin is read before the first leg that is needed, and before the range in any
// case: the clocks of the FreeSWITCH processes say which events are late.
const margin = 10 * time.Minute

// Range is what is replayed, in sequences of the stream of events.
type Range struct {
	// From and To are the first and the last event whose samples are wanted.
	From, To uint64
	// Partitions that are read, in order.
	Partitions []Partition
	// Instance is the only FreeSWITCH server whose events are read; empty: all.
	Instance string
}

// Partition is what is read of one partition.
type Partition struct {
	Number int
	// Start is the first event that is read, at most From.
	Start uint64
	// Cores are the FreeSWITCH processes that were met before, in order, and Gaps
	// what collectors had dropped before.
	Cores []Core `json:",omitempty"`
	Gaps  []Gap  `json:",omitempty"`
}

// Core is one life of one FreeSWITCH process.
type Core struct{ UUID, Instance string }

// Gap is a FSAGENT_GAP.
type Gap struct {
	Sequence uint64
	Instance string
	Raw      []byte
}

// first is the first event that is read at all.
func (r Range) first() uint64 {
	first := r.From
	for _, p := range r.Partitions {
		first = min(first, p.Start)
	}
	return first
}

// Plan finds the range in the stream.
func Plan(ctx context.Context, h *history.History, o Options) (Range, error) {
	now := time.Now()
	from, err := o.From.resolve(ctx, h, now, h.First)
	if err != nil {
		return Range{}, err
	}
	end := h.Last + 1
	if o.To.sequence > 0 { // the event itself is wanted
		end = min(end, o.To.sequence+1)
	} else if end, err = o.To.resolve(ctx, h, now, end); err != nil {
		return Range{}, err
	}
	if from >= end {
		return Range{}, fmt.Errorf("%w: from %s, to %s; %s", ErrEmpty, orElse(o.From.text, "the beginning"), orElse(o.To.text, "the end"), describe(ctx, h))
	}
	r := Range{From: from, To: end - 1}
	for p := range h.Partitions {
		if o.Channel == "" || p == stream.Partition([]byte(o.Channel), h.Partitions) {
			r.Partitions = append(r.Partitions, Partition{Number: p, Start: from})
		}
	}
	if err := r.warmUp(ctx, h, o.WarmUp); err != nil {
		return Range{}, err
	}
	if o.Instance == "" {
		return r, nil
	}
	// The events of other servers tell when one that is gone for good has lost its
	// legs. That takes a day.
	began, err := h.Time(ctx, r.first())
	if err != nil {
		return Range{}, err
	}
	ended, err := h.Time(ctx, r.To)
	if err != nil {
		return Range{}, err
	}
	if ended.Sub(began) < o.Params.MaxAge {
		r.Instance = o.Instance
	}
	return r, nil
}

func orElse(text, empty string) string {
	if text == "" {
		return empty
	}
	return text
}

// describe says what is in the stream.
func describe(ctx context.Context, h *history.History) string {
	if h.First > h.Last {
		return h.Stream + " is empty"
	}
	first, err := h.Time(ctx, h.First)
	if err != nil {
		return err.Error()
	}
	last, err := h.Time(ctx, h.Last)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s has the events %d to %d, stored from %s to %s", h.Stream, h.First, h.Last, first.UTC().Format(time.RFC3339), last.UTC().Format(time.RFC3339))
}

// warmUp finds where to begin.
func (r *Range) warmUp(ctx context.Context, h *history.History, w WarmUp) error {
	switch {
	case w == WarmUpNone || r.From == h.First:
		return nil
	case w == WarmUpAll:
		for i := range r.Partitions {
			r.Partitions[i].Start = h.First
		}
		return nil
	}
	began, err := h.Time(ctx, r.From)
	if err != nil {
		return err
	}
	if w != WarmUpAuto {
		start, err := h.Since(ctx, began.Add(-w.by))
		for i := range r.Partitions {
			r.Partitions[i].Start = min(start, r.From)
		}
		return err
	}
	bound, err := h.Since(ctx, began.Add(-leg.DefaultParams().MaxAge))
	if err != nil {
		return err
	}
	least, err := h.Since(ctx, began.Add(-margin))
	if err != nil {
		return err
	}
	scans, err := r.scan(ctx, h, bound)
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if err == nil {
			err = scans[p.Number].plan(ctx, h, p, min(least, r.From))
		}
	}
	return err
}

// scan looks at the legs of each partition before the range, by one consumer.
func (r *Range) scan(ctx context.Context, h *history.History, first uint64) (map[int]*scan, error) {
	scans := map[int]*scan{}
	var subjects []string
	for _, p := range r.Partitions {
		scans[p.Number] = &scan{cores: map[string]*life{}}
	}
	for _, name := range []string{event.ChannelCreate, event.ChannelData, event.ChannelHangupComplete, event.ChannelDestroy, event.Sync, event.Gap} {
		if len(r.Partitions) == 1 {
			subjects = append(subjects, stream.EventFilterOf(r.Partitions[0].Number, "*", name))
		} else {
			subjects = append(subjects, stream.EventFilterOfAll("*", name))
		}
	}
	err := h.Read(ctx, subjects, first, r.From-1, func(m history.Message) error {
		s := scans[m.Partition]
		for raw, err := range event.Split(m.Payload) {
			if err != nil || s == nil {
				break
			}
			s.take(m, raw)
		}
		return nil
	})
	return scans, err
}

// scan is told the beginnings and ends of the legs of a partition, which are few, to
// find those that are alive at its end.
type scan struct {
	cores map[string]*life
	order []*life
	gaps  []Gap
}

// life is one life of one FreeSWITCH process.
type life struct {
	core, instance string
	order          int
	legs           map[string]beginning // alive
}

// beginning of a leg in the stream.
type beginning struct {
	sequence uint64
	stored   time.Time
}

func (s *scan) take(m history.Message, raw []byte) {
	id, err := event.Scan(raw)
	if err != nil {
		return
	}
	l := s.cores[string(id.CoreUUID)]
	if l == nil {
		l = &life{core: string(id.CoreUUID), instance: m.Instance, order: len(s.order) + 1, legs: map[string]beginning{}}
		s.cores[l.core] = l
		s.order = append(s.order, l)
	}
	switch string(id.Name) {
	case event.ChannelCreate, event.ChannelData:
		if _, known := l.legs[string(id.UniqueID)]; !known {
			l.legs[string(id.UniqueID)] = beginning{m.Sequence, m.Time}
		}
	case event.ChannelHangupComplete, event.ChannelDestroy:
		delete(l.legs, string(id.UniqueID))
	case event.Sync: // the legs of earlier processes have ended
		for _, old := range s.order[:l.order-1] {
			if old.instance == l.instance {
				clear(old.legs)
			}
		}
	case event.Gap:
		s.gaps = append(s.gaps, Gap{m.Sequence, m.Instance, slices.Clone(raw)})
	}
}

// plan sets where to begin: margin before the oldest leg, at least that before the
// range, and what had been met before.
func (s *scan) plan(ctx context.Context, h *history.History, p *Partition, least uint64) error {
	oldest := beginning{sequence: least}
	for _, l := range s.order {
		for _, b := range l.legs {
			if b.sequence < oldest.sequence {
				oldest = b
			}
		}
	}
	p.Start = least
	if oldest.sequence < least {
		start, err := h.Since(ctx, oldest.stored.Add(-margin))
		if err != nil {
			return err
		}
		p.Start = start
	}
	for _, l := range s.order {
		p.Cores = append(p.Cores, Core{l.core, l.instance})
	}
	for _, g := range s.gaps {
		if g.Sequence < p.Start {
			p.Gaps = append(p.Gaps, g)
		}
	}
	return nil
}
