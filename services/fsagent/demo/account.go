package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fsagent/fsagent/services/calculator"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/exporter"
)

// account follows the events from one stage to the next.
type account struct {
	sent       uint64 // events that the simulated servers wrote to the collector
	collector  collector.Stats
	calculator calculator.Stats
	exporter   exporter.Stats
}

func (d *demo) account() account {
	a := account{collector: d.pipeline.Collector.Stats(), calculator: d.pipeline.Calculator.Stats(), exporter: d.pipeline.Exporter.Stats()}
	for _, s := range d.servers {
		for _, c := range s.Stats().Clients {
			a.sent += c.Events
		}
	}
	return a
}

func (a account) samples() uint64 { return a.calculator.Reports + a.calculator.LegEnds }

// settled reports whether nothing is under way any more.
func (a account) settled() bool {
	return len(a.missing()) == 0 && a.exporter.Held == 0 && a.exporter.Pending == 0
}

// missing lists what came out of a stage in another number than went in.
func (a account) missing() []string {
	var out []string
	compare := func(what string, in, accounted uint64) {
		if in != accounted {
			out = append(out, fmt.Sprintf("%s: %d in, %d accounted for", what, in, accounted))
		}
	}
	compare("events sent and read", a.sent, a.collector.EventsRead)
	compare("events read and published", a.collector.EventsRead, a.collector.Published+sum(a.collector.Dropped)+sum(a.collector.Rejected))
	compare("events published and stepped", a.collector.Published-a.collector.Duplicates+a.collector.Made, a.calculator.Stepped+sum(a.calculator.Rejected))
	compare("samples made and exported", a.samples(), a.exporter.Samples)
	if a.exporter.PointsRejected > 0 || a.exporter.Parked > 0 {
		out = append(out, fmt.Sprintf("points rejected: %d, samples parked: %d", a.exporter.PointsRejected, a.exporter.Parked))
	}
	if n := sum(a.collector.Dropped); n > 0 {
		out = append(out, fmt.Sprintf("events dropped: %d", n))
	}
	return out
}

func (a account) String() string {
	var b strings.Builder
	row := func(what string, n uint64, note string) { fmt.Fprintf(&b, "%-28s %8d  %s\n", what, n, note) }
	row("events sent by FreeSWITCH", a.sent, "")
	row("events read", a.collector.EventsRead, "")
	row("events published", a.collector.Published, reasons(a.collector.Dropped, "dropped")+reasons(a.collector.Rejected, "rejected"))
	row("events stepped", a.calculator.Stepped, reasons(a.calculator.Rejected, "rejected"))
	row("samples", a.samples(), fmt.Sprintf("%d reports, %d ends of legs", a.calculator.Reports, a.calculator.LegEnds))
	row("points accepted", a.exporter.PointsAccepted, fmt.Sprintf("of %d samples", a.exporter.Samples))
	return b.String()
}

func reasons(m map[string]uint64, what string) string {
	var b strings.Builder
	for _, reason := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%d %s: %s  ", m[reason], what, reason)
	}
	return b.String()
}

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}
