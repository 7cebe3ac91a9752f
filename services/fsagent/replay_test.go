package fsagent_test

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"testing"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/sample"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/fsagent/history"
	"github.com/fsagent/fsagent/services/fsagent/replay"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// heap is a sink that keeps everything.
type heap struct{ entries []replay.Entry }

func (*heap) Encode(b []byte, s *fsagentv1.Sample) ([]byte, error) { return sample.Append(b, s) }
func (h *heap) Take(_ context.Context, e replay.Entry) error {
	h.entries = append(h.entries, e)
	return nil
}
func (*heap) Commit(context.Context, uint64, *replay.States) error { return nil }
func (h *heap) of(keep func(replay.Entry) bool) (out []replay.Entry) {
	return slices.DeleteFunc(slices.Clone(h.entries), func(e replay.Entry) bool { return !keep(e) })
}
func everything(t *testing.T, nc *nats.Conn, name string) *history.History {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	h, err := history.OpenOn(t.Context(), js, name, stream.DefaultPartitions, natstest.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// again replays a range.
func again(t *testing.T, h *history.History, from, to string, w replay.WarmUp) (*heap, replay.Range) {
	t.Helper()
	o := replay.Options{WarmUp: w, Params: leg.DefaultParams()}
	var err error
	if o.From, err = replay.ParseBound(from); err != nil {
		t.Fatal(err)
	}
	if o.To, err = replay.ParseBound(to); err != nil {
		t.Fatal(err)
	}
	plan, err := replay.Plan(t.Context(), h, o)
	if err != nil {
		t.Fatal(err)
	}
	var sink heap
	if err := replay.Run(t.Context(), h, plan, nil, o, nil, &sink, &replay.Progress{}); err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(sink.entries, func(a, b replay.Entry) int { return int(int64(a.Sequence - b.Sequence)) }) {
		t.Error("the samples are not in the order of the stream")
	}
	return &sink, plan
}

// byPartition puts what was replayed as the samples stream has it.
func (h *heap) byPartition() [][]byte {
	out := make([][]byte, stream.DefaultPartitions)
	for _, e := range h.entries {
		p := stream.Partition([]byte(e.Sample.GetChannelId()), len(out))
		out[p] = append(out[p], e.Data...)
	}
	return out
}

// sameAsLive compares a replay of the whole stream, and of parts of it, with the
// samples that the live services have made.
func sameAsLive(t *testing.T, nc *nats.Conn, live [][]byte) {
	t.Helper()
	h := everything(t, nc, stream.Events)
	whole, _ := again(t, h, "", "", replay.WarmUpAuto)
	for p, got := range whole.byPartition() {
		if !bytes.Equal(got, live[p]) {
			t.Errorf("partition %d: the replay made %d bytes of samples, the live services %d", p, len(got), len(live[p]))
		}
	}
	extent := extents(t, h)
	size := h.Last - h.First + 1
	for _, part := range [][2]uint64{{0, size / 2}, {size / 4, 3 * size / 4}, {size - 1, size - 1}} {
		from, to := h.First+part[0], h.First+part[1]
		got, plan := again(t, h, strconv.FormatUint(from, 10), strconv.FormatUint(to, 10), replay.WarmUpAuto)
		inside := func(e replay.Entry) bool { return e.Sequence >= from && e.Sequence <= to }
		compareEntries(t, plan, got.entries, whole.of(inside), func(replay.Entry) bool { return true })

		got, plan = again(t, h, strconv.FormatUint(from, 10), strconv.FormatUint(to, 10), replay.WarmUpNone)
		compareEntries(t, plan, got.entries, whole.of(inside), func(e replay.Entry) bool {
			x := extent[e.Sample.GetFsInstance()+" "+e.Sample.GetChannelId()]
			return x[0] >= from && x[1] <= to && !e.Sample.GetPartial()
		})
		for _, e := range got.entries {
			if x := extent[e.Sample.GetFsInstance()+" "+e.Sample.GetChannelId()]; x[2] < from && from > 1 != e.Sample.GetPartial() {
				t.Errorf("from %d: a sample of a leg that was created by event %d has partial %v", plan.From, x[2], e.Sample.GetPartial())
				break
			}
		}
	}
}

func compareEntries(t *testing.T, plan replay.Range, got, want []replay.Entry, whole func(replay.Entry) bool) {
	t.Helper()
	of := func(entries []replay.Entry) (out []byte, n int) {
		for _, e := range entries {
			if whole(e) {
				out, n = append(out, e.Data...), n+1
			}
		}
		return out, n
	}
	g, gn := of(got)
	w, wn := of(want)
	if !bytes.Equal(g, w) {
		t.Errorf("events %d to %d: replay made %d samples, the whole has %d there, or other ones", plan.From, plan.To, gn, wn)
	}
}

// extents are the first and the last event of every leg, and its CHANNEL_CREATE.
func extents(t *testing.T, h *history.History) map[string][3]uint64 {
	t.Helper()
	out := map[string][3]uint64{}
	err := h.Read(t.Context(), []string{"fsagent.events.>"}, h.First, h.Last, func(m history.Message) error {
		for raw := range event.Split(m.Payload) {
			if id, err := event.Scan(raw); err == nil {
				key := m.Instance + " " + string(id.UniqueID)
				x, ok := out[key]
				if !ok {
					x[0] = m.Sequence
				}
				x[1] = m.Sequence
				if string(id.Name) == event.ChannelCreate {
					x[2] = m.Sequence
				}
				out[key] = x
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
