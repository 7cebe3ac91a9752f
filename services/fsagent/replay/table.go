package replay

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fsagent/fsagent/internal/sample"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// Table is a sink that prints a line for every leg as it ends, and in the end one
// for every leg that lives on.
type Table struct {
	out    *bufio.Writer
	live   map[string]*row // by channel and server
	titled bool
	legs   int
}

// NewTable prints to w.
func NewTable(w io.Writer) *Table {
	return &Table{out: bufio.NewWriter(w), live: map[string]*row{}}
}

// row is what is known of a leg that has not ended.
type row struct {
	first  uint64
	last   *fsagentv1.Sample
	medium [2]medium // by direction - 1
}

// medium is one direction of it.
type medium struct {
	reports        int
	jitters        int
	jitterMS       float64 // sum
	lost, expected int64
	last           *fsagentv1.Report
}

// Encode makes nothing.
func (t *Table) Encode([]byte, *fsagentv1.Sample) ([]byte, error) { return nil, nil }

// Take notes a report, and prints a leg that has ended.
func (t *Table) Take(_ context.Context, e Entry) error {
	s := e.Sample
	key := s.GetFsInstance() + " " + s.GetChannelId()
	if s.HasLegEnd() {
		delete(t.live, key)
		return t.print(ended(s))
	}
	r := t.live[key]
	if r == nil {
		r = &row{first: e.Sequence}
		t.live[key] = r
	}
	// A sample shares its memory with its neighbours.
	r.last = fsagentv1.Sample_builder{TimeUs: s.GetTimeUs(), FsInstance: s.GetFsInstance(), ChannelId: s.GetChannelId(), CallId: s.GetCallId(), Bad: s.GetBad(), Partial: s.GetPartial()}.Build()
	if d := int(s.GetDirection()) - 1; d >= 0 && d < len(r.medium) && s.GetMedia() == "" {
		r.medium[d].add(s.GetReport())
	}
	return nil
}

func (m *medium) add(r *fsagentv1.Report) {
	m.reports++
	if r.HasJitterMs() {
		m.jitters++
		m.jitterMS += r.GetJitterMs()
	}
	m.lost += r.GetPacketsLost()
	m.expected += r.GetPacketsExpected()
	m.last = fsagentv1.Report_builder{MosReason: r.GetMosReason()}.Build()
	if r.HasMos() {
		m.last.SetMos(r.GetMos())
	}
}

// Commit prints what is buffered.
func (t *Table) Commit(context.Context, uint64, *States) error { return t.out.Flush() }

// Close prints the legs that live on, and how many legs there were.
func (t *Table) Close() error {
	rows := make([]*row, 0, len(t.live))
	for _, r := range t.live {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b *row) int { return cmp.Compare(a.first, b.first) })
	for _, r := range rows {
		if err := t.print(r.line()); err != nil {
			return err
		}
	}
	fmt.Fprintf(t.out, "%d legs, %d of them not ended\n", t.legs, len(rows))
	return t.out.Flush()
}

const columns = "%-23s %-10s %-8s %-36s %-6s %8s %18s %18s  %s\n"

// line of the table; the columns of a direction are jitter, loss and MOS.
type line struct {
	at                            int64
	instance, call, channel       string
	codec, talk, inbound, outward string
	notes                         []string
}

func (t *Table) print(l line) error {
	if !t.titled {
		t.titled = true
		fmt.Fprintf(t.out, columns, "time", "instance", "call", "leg", "codec", "talk s", "in: ms, loss, MOS", "out: ms, loss, MOS", "")
	}
	t.legs++
	_, err := fmt.Fprintf(t.out, columns, time.UnixMicro(l.at).UTC().Format("2006-01-02 15:04:05.000"), l.instance, short(l.call), l.channel, orElse(l.codec, "-"),
		orElse(l.talk, "-"), l.inbound, l.outward, strings.Join(l.notes, ", "))
	return err
}

func short(id string) string {
	if len(id) > 8 {
		return id[:8]
	}
	return id
}

func ended(s *fsagentv1.Sample) line {
	m := s.GetLegEnd()
	l := line{at: s.GetTimeUs(), instance: s.GetFsInstance(), call: s.GetCallId(), channel: s.GetChannelId(), codec: s.GetCodecName(),
		inbound: summary(m.GetInbound()), outward: summary(m.GetOutbound())}
	if answered := m.GetAnsweredTimeUs(); answered > 0 {
		end := s.GetTimeUs()
		if m.GetLastEventUs() > 0 {
			end = m.GetLastEventUs()
		}
		l.talk = fmt.Sprintf("%.1f", float64(end-answered)/1e6)
	}
	if m.GetEndReason() != 0 {
		l.notes = append(l.notes, sample.ReasonName(m.GetEndReason()))
	}
	if m.GetGap() {
		l.notes = append(l.notes, "gap")
	}
	l.notes = append(l.notes, marks(s)...)
	return l
}

func marks(s *fsagentv1.Sample) (out []string) {
	if s.GetPartial() {
		out = append(out, "partial")
	}
	if s.GetBad() {
		out = append(out, "bad")
	}
	return out
}

func summary(d *fsagentv1.DirectionSummary) string {
	jitter, loss, mos := "-", "-", sample.ReasonName(d.GetMosReason())
	if d.HasJitterMeanMs() {
		jitter = fmt.Sprintf("%.1f", d.GetJitterMeanMs())
	}
	if expected := d.GetPacketsExpected(); expected > 0 {
		loss = percent(d.GetPacketsLost()-d.GetPacketsLostBefore(), expected)
	}
	if d.HasMos() {
		mos = fmt.Sprintf("%.2f", d.GetMos())
	}
	return jitter + " " + loss + " " + mos
}

func percent(part, whole int64) string {
	return fmt.Sprintf("%.1f%%", 100*float64(part)/float64(whole))
}

func (r *row) line() line {
	s := r.last
	return line{at: s.GetTimeUs(), instance: s.GetFsInstance(), call: s.GetCallId(), channel: s.GetChannelId(),
		inbound: r.medium[0].text(), outward: r.medium[1].text(), notes: append([]string{"not ended"}, marks(s)...)}
}

func (m medium) text() string {
	jitter, loss, mos := "-", "-", "-"
	if m.jitters > 0 {
		jitter = fmt.Sprintf("%.1f", m.jitterMS/float64(m.jitters))
	}
	if m.expected > 0 {
		loss = percent(m.lost, m.expected)
	}
	if m.last.HasMos() {
		mos = fmt.Sprintf("%.2f", m.last.GetMos())
	} else if m.last != nil {
		mos = sample.ReasonName(m.last.GetMosReason())
	}
	return jitter + " " + loss + " " + mos
}
