package replay

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// classes of legs by their MOS. The limits are those of user satisfaction in ITU-T
// G.107, Annex B: satisfied, and some users dissatisfied.
var classes = [...]struct {
	name  string
	least float64
}{{"good", 4.03}, {"fair", 3.6}, {"poor", 1}, {"no MOS", 0}}

const noMOS = len(classes) - 1

// classOf the account of a leg. FreeSWITCH's own value is no MOS.
func classOf(m *fsagentv1.LegEnd) int {
	if !m.HasMos() || m.GetMosSource() == fsagentv1.MosSource_MOS_SOURCE_FREESWITCH {
		return noMOS
	}
	for i, c := range classes {
		if m.GetMos() >= c.least {
			return i
		}
	}
	return noMOS
}

// movers are how many legs are named that changed most.
const movers = 10

// Comparison is a sink that counts what other settings change, leg by leg, and
// hands the samples on.
type Comparison struct {
	next          Sink
	legs, changed int
	partial       int
	moved         int // between classes
	moves         [len(classes)][len(classes)]int
	bad           [2]int // before, now
	before, now   spread
	biggest       []mover
	settings      [2]string
}

// mover is a leg whose MOS changed.
type mover struct {
	Instance string    `json:"fs_instance"`
	Channel  string    `json:"channel_id"`
	Call     string    `json:"call_id"`
	Codec    string    `json:"codec_name"`
	Ended    time.Time `json:"ended"`
	Old      float64   `json:"old"`
	New      float64   `json:"new"`
}

func (m mover) by() float64 { return math.Abs(m.New - m.Old) }

// NewComparison compares before with now, which say what the settings were, and
// hands samples on to next, unless it is nil.
func NewComparison(next Sink, before, now string) *Comparison {
	return &Comparison{next: next, settings: [2]string{before, now}}
}

// Encode is that of the sink behind.
func (c *Comparison) Encode(b []byte, s *fsagentv1.Sample) ([]byte, error) {
	if c.next == nil {
		return nil, nil
	}
	return c.next.Encode(b, s)
}

// Take compares a sample with what it was before.
func (c *Comparison) Take(ctx context.Context, e Entry) error {
	if m := e.Sample.GetLegEnd(); m != nil && e.Before != nil {
		c.compare(e.Sample, m, e.Before.GetLegEnd(), e.Before.GetBad())
	}
	if c.next == nil {
		return nil
	}
	return c.next.Take(ctx, e)
}

// Commit is that of the sink behind.
func (c *Comparison) Commit(ctx context.Context, through uint64, states *States) error {
	if c.next == nil {
		return nil
	}
	return c.next.Commit(ctx, through, states)
}

func (c *Comparison) compare(s *fsagentv1.Sample, now, before *fsagentv1.LegEnd, wasBad bool) {
	c.legs++
	if s.GetPartial() {
		c.partial++
	}
	if wasBad {
		c.bad[0]++
	}
	if s.GetBad() {
		c.bad[1]++
	}
	a, b := classOf(before), classOf(now)
	c.moves[a][b]++
	if a != b {
		c.moved++
	}
	if a != noMOS {
		c.before.add(before.GetMos())
	}
	if b != noMOS {
		c.now.add(now.GetMos())
	}
	if a == noMOS && b == noMOS || a != noMOS && b != noMOS && before.GetMos() == now.GetMos() {
		return
	}
	c.changed++
	if a == noMOS || b == noMOS {
		return // there is no difference to tell
	}
	m := mover{Instance: s.GetFsInstance(), Channel: s.GetChannelId(), Call: s.GetCallId(), Codec: s.GetCodecName(), Ended: time.UnixMicro(s.GetTimeUs()).UTC(), Old: before.GetMos(), New: now.GetMos()}
	// The first of two equal ones stays before the other.
	at := slices.IndexFunc(c.biggest, func(o mover) bool { return m.by() > o.by() })
	if at < 0 {
		at = len(c.biggest)
	}
	if at < movers {
		c.biggest = slices.Insert(c.biggest, at, m)
		c.biggest = c.biggest[:min(len(c.biggest), movers)]
	}
}

// spread counts MOS to the hundredth.
type spread struct {
	counts [501]int
	n      int
	sum    float64
}

func (s *spread) add(mos float64) {
	s.counts[min(max(int(math.Round(mos*100)), 0), len(s.counts)-1)]++
	s.n++
	s.sum += mos
}

func (s *spread) mean() float64 {
	if s.n == 0 {
		return math.NaN()
	}
	return s.sum / float64(s.n)
}

// quantile is the MOS that share of the legs do not exceed, to the hundredth.
func (s *spread) quantile(share float64) float64 {
	if s.n == 0 {
		return math.NaN()
	}
	want, seen := int(math.Ceil(share*float64(s.n))), 0
	for i, n := range s.counts {
		if seen += n; seen >= max(want, 1) {
			return float64(i) / 100
		}
	}
	return math.NaN()
}

// in is how many are in [from, from + 0.5).
func (s *spread) in(from float64) (n int) {
	for i := int(from * 100); i < int(from*100)+50 && i < len(s.counts); i++ {
		n += s.counts[i]
	}
	return n
}

// quantiles that are printed.
var quantiles = []float64{0.05, 0.25, 0.5, 0.75, 0.95}

// Write prints the comparison.
func (c *Comparison) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "old: %s\nnew: %s\n\n", c.settings[0], c.settings[1])
	fmt.Fprintf(out, "%d legs have ended (%d of them partial); the MOS of %d is another, %d are in another class (%s)\n\n", c.legs, c.partial, c.changed, c.moved, share(c.moved, c.legs))
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "class\told\tnew\t")
	for _, to := range classes {
		fmt.Fprintf(t, "→ %s\t", to.name)
	}
	fmt.Fprintln(t)
	for i, class := range classes {
		old, now := 0, 0
		for j := range classes {
			old, now = old+c.moves[i][j], now+c.moves[j][i]
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t", class.name, old, now)
		for j := range classes {
			cell := fmt.Sprint(c.moves[i][j])
			if i == j {
				cell = "(" + cell + ")"
			}
			fmt.Fprintf(t, "%s\t", cell)
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintf(t, "bad\t%d\t%d\t\n", c.bad[0], c.bad[1])
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\ngood from %.2f, fair from %.2f (ITU-T G.107, Annex B)\n\n", classes[0].least, classes[1].least)
	c.writeSpread(out)
	if len(c.biggest) > 0 {
		fmt.Fprintln(out, "\nbiggest movers")
		t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ended\tinstance\tleg\tcall\tcodec\told\tnew\tby")
		for _, m := range c.biggest {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.2f\t%.2f\t%+.2f\n", m.Ended.Format("2006-01-02 15:04:05"), m.Instance, m.Channel, short(m.Call), orElse(m.Codec, "-"), m.Old, m.New, m.New-m.Old)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return out.Flush()
}

func share(part, whole int) string {
	if whole == 0 {
		return "0.0%"
	}
	return percent(int64(part), int64(whole))
}

func (c *Comparison) writeSpread(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "MOS\tlegs\tmean\t")
	for _, q := range quantiles {
		fmt.Fprintf(t, "%.0f %%\t", 100*q)
	}
	for from := 1.0; from < 4.5; from += 0.5 {
		fmt.Fprintf(t, "%.1f-\t", from)
	}
	fmt.Fprintln(t)
	for i, s := range []*spread{&c.before, &c.now} {
		fmt.Fprintf(t, "%s\t%d\t%.2f\t", [...]string{"old", "new"}[i], s.n, s.mean())
		for _, q := range quantiles {
			fmt.Fprintf(t, "%.2f\t", s.quantile(q))
		}
		for from := 1.0; from < 4.5; from += 0.5 {
			fmt.Fprintf(t, "%d\t", s.in(from))
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush() // out is buffered and keeps its error
}

// spreadJSON is a spread in the JSON form.
type spreadJSON struct {
	Legs      int                `json:"legs"`
	Mean      *float64           `json:"mean"`
	Quantiles map[string]float64 `json:"quantiles,omitempty"`
	Classes   map[string]int     `json:"classes"`
	Bad       int                `json:"bad"`
}

func (c *Comparison) json(i int, s *spread) spreadJSON {
	out := spreadJSON{Legs: s.n, Classes: map[string]int{}, Bad: c.bad[i]}
	if s.n > 0 {
		mean := s.mean()
		out.Mean, out.Quantiles = &mean, map[string]float64{}
		for _, q := range quantiles {
			out.Quantiles[fmt.Sprintf("%g", q)] = s.quantile(q)
		}
	}
	for a := range classes {
		for b := range classes {
			out.Classes[classes[[2]int{a, b}[i]].name] += c.moves[a][b]
		}
	}
	return out
}

// WriteJSON prints the comparison as JSON.
func (c *Comparison) WriteJSON(w io.Writer) error {
	moves := map[string]map[string]int{}
	for a := range classes {
		moves[classes[a].name] = map[string]int{}
		for b := range classes {
			moves[classes[a].name][classes[b].name] = c.moves[a][b]
		}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Settings     [2]string                 `json:"settings"`
		Legs         int                       `json:"legs"`
		Partial      int                       `json:"partial"`
		OtherMOS     int                       `json:"other_mos"`
		OtherClass   int                       `json:"other_class"`
		Old          spreadJSON                `json:"old"`
		New          spreadJSON                `json:"new"`
		Moves        map[string]map[string]int `json:"moves"`
		BiggestMoves []mover                   `json:"biggest_movers"`
	}{c.settings, c.legs, c.partial, c.changed, c.moved, c.json(0, &c.before), c.json(1, &c.now), moves, c.biggest})
}
