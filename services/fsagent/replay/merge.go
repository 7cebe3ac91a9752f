package replay

import (
	"context"
	"math"
	"time"
)

// merger puts the samples of all workers in the order of the stream.
type merger struct {
	sources  []source
	sink     Sink
	progress *Progress
	last     uint64
	through  uint64  // all samples up to here are with the sink
	states   *States // nil unless they are kept
}

// source is one worker, with what of it was not yet taken.
type source struct {
	in <-chan chunk
	chunk
}

// next is the least sequence that can come from the worker now.
func (s *source) next() uint64 {
	switch {
	case len(s.entries) > 0:
		return s.entries[0].Sequence
	case s.through == math.MaxUint64:
		return math.MaxUint64
	}
	return s.through + 1
}

// run takes all samples. It returns the cause of ctx, or the error of the sink.
func (m *merger) run(ctx context.Context) error {
	committed := time.Now()
	for {
		s, until := m.least()
		if next := s.next(); next == math.MaxUint64 {
			m.pass(m.last)
			return nil
		} else if next > 0 {
			m.pass(min(next-1, m.last))
		}
		if len(s.entries) == 0 {
			if err := m.receive(ctx, s); err != nil {
				return err
			}
		} else if err := m.take(ctx, s, until); err != nil {
			return err
		}
		if time.Since(committed) >= commitEvery {
			if err := m.sink.Commit(ctx, m.through, m.states); err != nil {
				return err
			}
			committed = time.Now()
		}
	}
}

func (m *merger) pass(through uint64) {
	m.through = max(m.through, through)
	m.progress.Position.Store(m.through)
}

// least is the worker whose turn it is, and the sequence after which it is
// another's.
func (m *merger) least() (s *source, until uint64) {
	until = math.MaxUint64
	for i := range m.sources {
		o := &m.sources[i]
		switch {
		case s == nil:
			s = o
		case o.next() < s.next():
			s, until = o, s.next()
		default:
			until = min(until, o.next())
		}
	}
	return s, until
}

func (m *merger) receive(ctx context.Context, s *source) error {
	if m.states != nil {
		for _, c := range s.states {
			m.states.apply(c)
		}
	}
	select {
	case s.chunk = <-s.in:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *merger) take(ctx context.Context, s *source, until uint64) error {
	taken := 0
	// An event is of one worker: at until itself the other cannot have one.
	for len(s.entries) > 0 && s.entries[0].Sequence <= until {
		e := s.entries[0]
		if err := m.sink.Take(ctx, e); err != nil {
			return err
		}
		s.entries = s.entries[1:]
		taken++
		if len(s.entries) == 0 || s.entries[0].Sequence > e.Sequence {
			m.pass(e.Sequence)
		}
	}
	m.progress.Samples.Add(uint64(taken))
	return nil
}
