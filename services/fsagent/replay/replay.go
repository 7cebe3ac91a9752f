// Package replay computes samples of the past again, from the stored events, by
// the calculator's own step (package leg) with a state of its own: as they were, or
// as they would have been with other settings. It only reads what is live.
//
// Ordered consumers side by side read the partitions, as many consumers as there
// are processors for; each steps its partitions on a goroutine of its own, and what
// comes out is put in the order of the stream. So two replays of a range give the
// same samples in the same order, however many consumers there are.
package replay

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsagent/fsagent/internal/leg"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/fsagent/history"
)

// Options of a replay.
type Options struct {
	From, To Bound
	WarmUp   WarmUp
	// Instance, Channel (Unique-ID), Call (call_id or correlation_id) and Domain
	// choose samples; empty: all.
	Instance, Channel, Call, Domain string
	// Params are the settings to calculate with.
	Params leg.Params
	// Before, if not nil, are settings to calculate with as well, for a comparison.
	Before *leg.Params
	// Readers are how many consumers share the partitions; 0: one for every two
	// processors.
	Readers int
	// Keep states, so that a later replay can go on from them: about every so many
	// events of a reader; 0: none.
	Keep int
}

// DefaultKeep is how much work a replay repeats that goes on, in events of a reader.
const DefaultKeep = 100_000

// Entry is one sample on its way out.
type Entry struct {
	// Sequence of its event in the stream.
	Sequence uint64
	Sample   *fsagentv1.Sample
	// Before is the same sample by Options.Before, or nil.
	Before *fsagentv1.Sample
	// Data is what Sink.Encode made of Sample.
	Data []byte
}

// Sink takes the samples of a replay, in the order of the stream.
type Sink interface {
	// Encode appends the form that Take wants in Data. It is called from several
	// goroutines at once.
	Encode(b []byte, s *fsagentv1.Sample) ([]byte, error)
	// Take takes the next sample.
	Take(ctx context.Context, e Entry) error
	// Commit makes what was taken safe: all samples of events up to through.
	// states, if not nil, are what a later replay can begin from.
	Commit(ctx context.Context, through uint64, states *States) error
}

// Pacer holds a replay back.
type Pacer interface {
	// Wait until so many more events may be read. It returns the cause of ctx.
	Wait(ctx context.Context, events int) error
}

// Progress of a replay, for whoever shows it.
type Progress struct {
	first, last atomic.Uint64 // event that is read
	// Position: all events up to it are through. Events and Samples count.
	Position, Events, Samples atomic.Uint64
}

// defaultReaders leaves a processor to the server for each reader.
func defaultReaders() int { return max(runtime.GOMAXPROCS(0)/2, 1) }

// commitEvery is how often a sink is told to make safe what it has.
const commitEvery = 2 * time.Second

// stopTimeout bounds the last Commit of a replay that was interrupted.
const stopTimeout = 10 * time.Second

// ErrInterrupted is returned when ctx ended before the replay did. What came out
// until then is whole.
var ErrInterrupted = errors.New("replay was interrupted")

// Run replays a range, from its beginning or from states that an earlier run has
// left, into a sink.
func Run(ctx context.Context, h *history.History, r Range, from *States, o Options, pace Pacer, sink Sink, progress *Progress) error {
	progress.first.Store(r.first())
	if from != nil && len(from.Partitions) > 0 {
		progress.first.Store(max(r.first(), from.least()))
	}
	progress.last.Store(r.To)
	readers := o.Readers
	if readers <= 0 {
		readers = defaultReaders()
	}
	readers = min(readers, len(r.Partitions))
	work, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	m := merger{sink: sink, progress: progress, last: r.To}
	if o.Keep > 0 {
		m.states = newStates(r)
	}
	if from != nil {
		m.through = from.Through
		if m.states != nil {
			m.states.take(from)
		}
	}
	var workers sync.WaitGroup
	var started []*worker
	for group := range slices.Chunk(r.Partitions, (len(r.Partitions)+readers-1)/readers) {
		w, err := newWorker(h, r, group, from, o, pace, sink, progress)
		if err != nil {
			return err
		}
		started = append(started, w)
	}
	for _, w := range started {
		m.sources = append(m.sources, source{in: w.out})
		workers.Go(func() {
			if err := w.run(work); err != nil {
				fail(err)
			}
		})
	}
	err := m.run(work)
	fail(nil)
	workers.Wait()
	all := err == nil // is with the sink
	if ctx.Err() == nil {
		if all {
			err = sink.Commit(ctx, r.To, m.states)
		}
		if err == nil || ctx.Err() == nil {
			return err
		}
	}
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err = sink.Commit(finish, m.through, m.states)
	if all && err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("%w after event %d, of %d to %d", ErrInterrupted, m.through, r.From, r.To), err)
}
