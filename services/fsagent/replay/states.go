package replay

import (
	"fmt"
	"maps"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/fsagent/fsagent/internal/leg"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// States is what a replay needs to go on from where an earlier one was: as the
// calculators' bucket, a state for each leg, and how far each partition's go.
type States struct {
	// Through: all samples of events up to it are out.
	Through    uint64
	Partitions map[int]*state
}

// state of one partition.
type state struct {
	// Cursor: the states are those after this event, which is at most Through.
	Cursor uint64
	Cores  [][]byte // encoded fsagentv1.Core
	Legs   map[string][]byte
}

// change of the state of a partition.
type change struct {
	partition int
	cursor    uint64
	cores     []*fsagentv1.Core
	legs      []leg.Change
}

func newStates(r Range) *States {
	s := &States{Partitions: map[int]*state{}}
	for _, p := range r.Partitions {
		s.Partitions[p.Number] = &state{Legs: map[string][]byte{}}
	}
	return s
}

// take takes over what an earlier replay has left.
func (s *States) take(from *States) {
	maps.Copy(s.Partitions, from.Partitions)
}

func (s *States) apply(c change) {
	p := s.Partitions[c.partition]
	p.Cursor, p.Cores = c.cursor, nil
	for _, m := range c.cores {
		b, err := proto.Marshal(m)
		if err != nil {
			panic(err) // every string was made valid when it was read
		}
		p.Cores = append(p.Cores, b)
	}
	for _, l := range c.legs {
		key := l.Key.CoreUUID + " " + l.Key.UniqueID
		if l.State == nil {
			delete(p.Legs, key)
		} else {
			p.Legs[key] = l.State
		}
	}
}

// least is the first event that has to be read.
func (s *States) least() uint64 {
	least := uint64(math.MaxUint64)
	for _, p := range s.Partitions {
		least = min(least, p.Cursor+1)
	}
	return least
}

// of is the state of a partition, nil if there is none.
func (s *States) of(number int) *state {
	if s == nil {
		return nil
	}
	if p := s.Partitions[number]; p != nil && p.Cursor > 0 {
		return p
	}
	return nil
}

// table is a table in that state.
func (p *state) table(params leg.Params) (*leg.Table, error) {
	t := leg.NewTable(params)
	var cores []*fsagentv1.Core
	for _, b := range p.Cores {
		c := &fsagentv1.Core{}
		if err := proto.Unmarshal(b, c); err != nil {
			return nil, fmt.Errorf("state of a replay: %w", err)
		}
		cores = append(cores, c)
	}
	t.LoadCores(cores)
	for _, b := range p.Legs {
		if _, err := t.LoadLeg(b); err != nil {
			return nil, fmt.Errorf("state of a replay: %w", err)
		}
	}
	return t, nil
}
