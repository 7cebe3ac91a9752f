package bench

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/fsagent/fsagent/services/fsagent/fleet"
	"github.com/nats-io/nats.go/jetstream"
)

// sizes plays calls at their own pace, with an RTCP report of each direction every
// 5 s or less, and tells what that needs of processors, memory and disk.
func (b *bench) sizes(ctx context.Context) ([]Row, error) {
	var rows []Row
	for _, copies := range []int{10, 50, 150} {
		legs, err := b.legsAtOnce(ctx, copies)
		if err != nil {
			return rows, err
		}
		some, err := b.live(ctx, run{name: fmt.Sprintf("up to %d legs", legs), calculators: 1, exporters: 1, copies: copies})
		if err != nil {
			return rows, err
		}
		some[0].Of = ""
		rows = append(rows, some...)
	}
	return rows, nil
}

// legsAtOnce is how many legs live at the same time, at most.
func (b *bench) legsAtOnce(ctx context.Context, copies int) (most int, err error) {
	p, err := b.playback()
	if err != nil {
		return 0, err
	}
	p.Copies = copies
	table := leg.NewTable(leg.DefaultParams())
	seq := uint64(0)
	err = p.Events(ctx, esltest.DefaultCoreUUID, func(raw []byte) {
		seq++
		table.Apply(seq, instance, raw, func(*fsagentv1.Sample) {})
		live, _ := table.Len()
		most = max(most, live)
	})
	return most, err
}

// needs of a run: cores and peak memory of each process, and what the streams take
// on disk.
func needs(ctx context.Context, js jetstream.JetStream, row Row, processes []*fleet.Process) (string, error) {
	peaks := map[string]int64{}
	for _, p := range processes {
		peak, err := p.Peak()
		if err != nil {
			return "", err
		}
		peaks[p.Name] = peak
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(peaks)) {
		out = append(out, fmt.Sprintf("%s %.2f cores %d MB", name, row.CPU[name]/row.Seconds, peaks[name]>>20))
	}
	for _, name := range []string{stream.Events, stream.Samples} {
		s, err := js.Stream(ctx, name)
		if err != nil {
			return "", fmt.Errorf("bench: %w", err)
		}
		out = append(out, fmt.Sprintf("%s %d B an event", name, int(s.CachedInfo().State.Bytes)/row.Events))
	}
	return strings.Join(out, ", "), nil
}
