// Package explain tells how the numbers of a call leg were made: each event and
// report in order with its raw values, what was concluded from it, and why a
// number is missing. It answers "why is the MOS 3.1?".
//
// It computes nothing itself. It applies the events to the calculator's own step
// (package leg) and listens to what that says of each.
package explain

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/leg"
)

// ErrNoLeg is returned by Write when no event was of the leg that was asked for.
var ErrNoLeg = errors.New("no event of such a leg")

// Explainer collects the stories of legs. Make it with New.
type Explainer struct {
	table  *leg.Table
	only   string
	order  []leg.Key
	legs   map[leg.Key]*story
	events int
}

// New makes an Explainer for the leg with that Unique-ID, or for all legs if it
// is empty.
func New(p leg.Params, uniqueID string) *Explainer {
	x := &Explainer{table: leg.NewTable(p), only: uniqueID, legs: make(map[leg.Key]*story)}
	x.table.Trace(x.step)
	return x
}

// Event applies one event, in the order of the stream. seq is its sequence
// there, instance the FreeSWITCH server it came from.
func (x *Explainer) Event(seq uint64, instance string, raw []byte) {
	x.events++
	x.table.Apply(seq, instance, raw, func(*fsagentv1.Sample) {})
}

// story is the text about one leg.
type story struct {
	text    strings.Builder
	firstUS int64
	labels  *fsagentv1.Sample // the latest sample
	known   map[string]string // facts that were told already
}

func (x *Explainer) step(s leg.Step) {
	if x.only != "" && s.Key.UniqueID != x.only && event.Decode([]byte(s.Key.UniqueID)) != x.only {
		return
	}
	st := x.legs[s.Key]
	if st == nil {
		st = &story{firstUS: s.Event.ID().TimeUS, known: make(map[string]string)}
		x.legs[s.Key] = st
		x.order = append(x.order, s.Key)
	}
	if s.Sample != nil {
		st.labels = s.Sample
	}
	st.tell(s)
}

// Write writes the stories, one after the other. It returns ErrNoLeg if there is
// none.
func (x *Explainer) Write(w io.Writer) error {
	if len(x.order) == 0 {
		return fmt.Errorf("%w %s among %d events", ErrNoLeg, x.only, x.events)
	}
	out := bufio.NewWriter(w)
	for i, key := range x.order {
		if i > 0 {
			fmt.Fprintln(out)
		}
		x.legs[key].write(out, key)
	}
	return out.Flush()
}

func (st *story) write(w io.Writer, key leg.Key) {
	title := "Leg " + event.Decode([]byte(key.UniqueID))
	fmt.Fprintf(w, "%s\n%s\n", title, strings.Repeat("=", len([]rune(title))))
	if s := st.labels; s != nil {
		for _, l := range [][2]string{
			{"server", s.GetFsInstance()}, {"process", key.CoreUUID}, {"call", s.GetCallId()}, {"correlation", s.GetCorrelationId()},
			{"domain", s.GetDomainName()}, {"codec", s.GetCodecName()}, {"from", s.GetSrcIp()}, {"to", s.GetDstIp()},
		} {
			if l[1] != "" {
				fmt.Fprintf(w, "%-12s %s\n", l[0], l[1])
			}
		}
	} else {
		fmt.Fprintf(w, "%-12s %s\n", "process", key.CoreUUID)
	}
	fmt.Fprintf(w, "\n%s", st.text.String())
}

// news adds a fact unless it was told before and is the same.
func (st *story) news(about, name, value string) {
	if value != "" && st.known[about+name] != value {
		st.known[about+name] = value
		st.line(name, "%s", value)
	}
}

// line adds one fact under an event.
func (st *story) line(name, format string, args ...any) {
	fmt.Fprintf(&st.text, "            %-12s "+format+"\n", append([]any{name}, args...)...)
}
