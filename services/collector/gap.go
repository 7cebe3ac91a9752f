package collector

import (
	"fmt"
	"maps"
	"slices"

	"github.com/fsagent/fsagent/internal/event"
)

// Headers of FSAGENT_SYNC, besides those of every event. Event-Date-Timestamp is
// FreeSWITCH's clock just before the list was made.
const (
	HeaderSyncInstance = "Fsagent-Instance" // name of the FreeSWITCH server
	// HeaderSyncChannels are the Unique-IDs of the partition's channels, each
	// percent-encoded, separated by single spaces; "_undef_" if there are none.
	HeaderSyncChannels = "Fsagent-Channels"
)

// Headers of FSAGENT_GAP, besides those of every event. Core-UUID is that of the
// last event that was dropped, and Event-Date-Timestamp the latest of all. Its
// Event-Sequence, as that of FSAGENT_SYNC, is the collector's own.
const (
	HeaderGapInstance = "Gap-Instance" // name of the FreeSWITCH server
	HeaderGapFrom     = "Gap-From"     // Event-Date-Timestamp of the oldest dropped event, microseconds
	HeaderGapTo       = "Gap-To"       // of the newest
	HeaderGapCount    = "Gap-Count"    // how many events were dropped
	// HeaderGapCountOf, followed by an Event-Name, is how many of that name.
	HeaderGapCountOf = "Gap-Count-"
)

// gap is what was dropped of one life of one FreeSWITCH.
type gap struct {
	core   string
	fromUS int64
	toUS   int64
	counts map[string]int
}

// gaps collects drops until they can be told. A switch that restarts more often
// than maxLives while NATS is away has its last lives told as one.
type gaps []gap

const maxLives = 8

func (g *gaps) add(q *queued) {
	i := slices.IndexFunc(*g, func(one gap) bool { return one.core == q.core })
	if i < 0 && len(*g) == maxLives {
		i = maxLives - 1
	}
	if i < 0 {
		*g = append(*g, gap{core: q.core, fromUS: q.timeUS, toUS: q.timeUS, counts: make(map[string]int)})
		i = len(*g) - 1
	}
	one := &(*g)[i]
	one.core = q.core
	one.fromUS, one.toUS = min(one.fromUS, q.timeUS), max(one.toUS, q.timeUS)
	one.counts[q.name]++
}

func (g *gaps) take() []gap {
	taken := *g
	*g = nil
	return taken
}

// text is the gap as an event in plain format.
func (g gap) text(instance string, sequence uint64) []byte {
	total := 0
	for _, n := range g.counts {
		total += n
	}
	b := fmt.Appendf(nil, "Event-Name: %s\nCore-UUID: %s\nEvent-Date-Timestamp: %d\nEvent-Sequence: %d\n%s: %s\n%s: %d\n%s: %d\n%s: %d\n",
		event.Gap, g.core, g.toUS, sequence,
		HeaderGapInstance, instance, HeaderGapFrom, g.fromUS, HeaderGapTo, g.toUS, HeaderGapCount, total)
	for _, name := range slices.Sorted(maps.Keys(g.counts)) {
		b = fmt.Appendf(b, "%s%s: %d\n", HeaderGapCountOf, name, g.counts[name])
	}
	return append(b, '\n')
}

// events are the gap's messages, one for each partition.
func (g gap) events(instance string, partitions int, n *numbers, readNS int64) []queued {
	out := make([]queued, partitions)
	for p := range out {
		seq := n.next()
		out[p] = queued{data: g.text(instance, seq), core: g.core, name: event.Gap, sequence: seq, timeUS: g.toUS, readNS: readNS, part: int32(p), origin: madeLate}
	}
	return out
}
