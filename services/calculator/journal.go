package calculator

import (
	"context"
	"fmt"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// journal is how the states of a partition's legs lie in the bucket: each
// checkpoint adds the legs that changed, packed into segments with rising
// numbers, and of all segments the last one that speaks of a leg counts. One key
// a leg would be simpler, and cost a message for every leg that had an event
// since the checkpoint before.
//
// When the segments have grown to several times what the legs need, a
// checkpoint writes all legs. Its owner record then says with which segment to
// begin, and the earlier ones are deleted.
type journal struct {
	partition   int
	first, next uint64 // segments that count: first <= number < next
	size        int    // bytes of all legs when they were last written
	grown       int    // bytes of the segments since
	// forgotten are legs that the segments still speak of. They were forgotten
	// before the last checkpoint, so its cursor is past their end and they may be
	// given up with the next one.
	forgotten []leg.Key
	waste     []string // keys of segments that count no more
	holed     bool     // segments are missing: nothing is to rely on their numbers
}

const (
	// maxSegment bytes of states are begun in one segment. With the state that
	// goes over it stays far below the server's largest message, 1 MiB.
	maxSegment = 256 << 10
	// maxSegments is after how many all legs are written anew: they are as many
	// keys of the bucket.
	maxSegments = 64
	// slack is how much the segments of a partition with few legs may grow.
	slack = 8 << 10
)

// entries are what a checkpoint changes in the bucket, besides the owner record.
type entries struct {
	segments []state // to be written before the record
	first    uint64  // the segments that count then: first <= number < next
	next     uint64
	waste    []string // keys to be deleted after the record
}

// cut takes what changed in the table since the last cut, or all of it if asked
// or if that is due.
func (j *journal) cut(t *leg.Table, all bool) entries {
	all = all || j.holed || j.grown > 2*j.size+slack || j.next-j.first >= maxSegments
	if all {
		for n := j.first; n < j.next; n++ {
			j.waste = append(j.waste, stream.SegmentKey(j.partition, n))
		}
		j.first, j.size, j.grown, j.forgotten, j.holed = j.next, 0, 0, nil, false
		t.Touch()
	}
	var w segmentWriter
	for _, k := range j.forgotten {
		if !t.Has(k) {
			w.forget(k)
		}
	}
	j.forgotten = nil
	for _, c := range t.Changes() {
		switch {
		case c.State != nil:
			w.add(c.State)
		case !all: // else it is in no segment that counts
			j.forgotten = append(j.forgotten, c.Key)
		}
	}
	out := entries{waste: j.waste}
	j.waste = nil
	for _, value := range w.segments() {
		out.segments = append(out.segments, state{key: stream.SegmentKey(j.partition, j.next), value: value})
		j.next++
		j.grown += len(value)
	}
	if all {
		j.size, j.grown = j.grown, 0
	}
	out.first, out.next = j.first, j.next
	return out
}

// extent of a journal: its segments that count, and their bytes.
type extent struct {
	first, next uint64
	bytes       int
}

func (j *journal) extent() extent { return extent{j.first, j.next, j.size + j.grown} }

// wasteful reports whether writing all legs would make the bucket smaller or whole.
func (j *journal) wasteful() bool { return j.holed || j.grown > 0 || len(j.forgotten) > 0 }

// loadTries is how often the segments are read before one that should be there
// is given up. In a cluster the server that is asked may lag behind.
const loadTries = 6

// load reads the segments that the owner record speaks of into the table, which
// must be empty.
func (j *journal) load(ctx context.Context, s *store, o *ownership, t *leg.Table) error {
	retry := newBackoff(&o.m.trouble)
	for try := 1; ; try++ {
		*j = journal{partition: o.partition, first: o.record.GetFirstSegment(), next: o.record.GetFirstSegment()}
		missing, err := j.read(ctx, s, o, t)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			return nil
		}
		if try == loadTries {
			o.m.gaps.WithLabelValues(gapState).Inc()
			o.log.Error("states of legs are missing in the bucket: numbers of these legs are incomplete", "keys", missing)
			j.holed = true
			return nil
		}
		if !retry.wait(ctx, o.log, "load segments", fmt.Errorf("missing %v", missing)) {
			return context.Cause(ctx)
		}
	}
}

// read returns the keys of segments that should be there and are not.
func (j *journal) read(ctx context.Context, s *store, o *ownership, t *leg.Table) (missing []string, err error) {
	seen := map[uint64]bool{}
	states, bytes := 0, 0
	err = s.values(ctx, stream.SegmentFilter(j.partition), func(key string, value []byte) {
		_, number, ok := stream.SegmentOf(key)
		switch {
		case !ok:
			return
		case number < j.first:
			j.waste = append(j.waste, key)
		default:
			n := j.take(o, t, key, value)
			states, bytes = states+n, bytes+len(value)
		}
		seen[number] = true
		j.next = max(j.next, number+1)
	})
	if err != nil {
		return nil, fmt.Errorf("load legs of partition %d: %w", j.partition, err)
	}
	for n := j.first; n < o.record.GetNextSegment(); n++ {
		if !seen[n] {
			missing = append(missing, stream.SegmentKey(j.partition, n))
		}
	}
	j.next = max(j.next, o.record.GetNextSegment())
	if live, ended := t.Len(); states > 0 {
		j.size = bytes / states * (live + ended)
	}
	j.grown = max(bytes-j.size, 0)
	return missing, nil
}

// take loads the states of one segment and returns how many there were.
func (j *journal) take(o *ownership, t *leg.Table, key string, value []byte) int {
	unreadable := func(err error) {
		// What it spoke of is made anew from the events that follow.
		o.m.reject("state")
		o.log.Error("states of legs cannot be read", "key", key, "err", err)
	}
	var segment fsagentv1.Segment
	if err := proto.Unmarshal(value, &segment); err != nil {
		unreadable(err)
		return 0
	}
	for _, k := range segment.GetForgotten() {
		t.Unload(leg.Key{CoreUUID: k.GetCoreUuid(), UniqueID: k.GetUniqueId()})
	}
	for _, data := range segment.GetLegs() {
		if _, err := t.LoadLeg(data); err != nil {
			unreadable(err)
		}
	}
	return len(segment.GetLegs())
}

// segmentWriter packs the fields of the message Segment.
type segmentWriter struct {
	done  [][]byte
	value []byte
}

const (
	forgottenField = 1
	legsField      = 2
)

func (w *segmentWriter) add(state []byte) { w.append(legsField, state) }

func (w *segmentWriter) forget(k leg.Key) {
	b, err := proto.Marshal(fsagentv1.LegKey_builder{CoreUuid: k.CoreUUID, UniqueId: k.UniqueID}.Build())
	if err != nil {
		panic(err) // the table takes no other ids than those that can stand here
	}
	w.append(forgottenField, b)
}

func (w *segmentWriter) append(field protowire.Number, value []byte) {
	w.value = protowire.AppendTag(w.value, field, protowire.BytesType)
	w.value = protowire.AppendBytes(w.value, value)
	if len(w.value) >= maxSegment {
		w.done, w.value = append(w.done, w.value), nil
	}
}

// segments are what was packed, in order.
func (w *segmentWriter) segments() [][]byte {
	if len(w.value) > 0 {
		w.done, w.value = append(w.done, w.value), nil
	}
	return w.done
}
