package replay

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// Show shows a progress until ctx ends: a bar on a terminal, a line every ten
// seconds elsewhere.
func (p *Progress) Show(ctx context.Context, w io.Writer) {
	f, isFile := w.(*os.File)
	live := isFile && term.IsTerminal(int(f.Fd()))
	every := 10 * time.Second
	if live {
		every = 200 * time.Millisecond
		defer fmt.Fprint(w, "\r\x1b[K")
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		text := p.text(time.Since(began))
		if live {
			fmt.Fprintf(w, "\r%s %s\x1b[K", p.bar(), text)
		} else {
			fmt.Fprintln(w, "replay: "+text)
		}
	}
}

func (p *Progress) share() float64 {
	first := p.first.Load()
	return float64(max(p.Position.Load()+1, first)-first) / float64(p.last.Load()-first+1)
}

func (p *Progress) bar() string {
	const width = 24
	n := min(int(p.share()*width), width)
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", width-n) + "]"
}

func (p *Progress) text(spent time.Duration) string {
	share, rate := p.share(), float64(p.Events.Load())/spent.Seconds()
	left := "?"
	if share > 0 {
		left = time.Duration(float64(spent) * (1 - share) / share).Round(time.Second).String()
	}
	return fmt.Sprintf("%3.0f %%  event %d of %d  %.0f events/s  %d samples  %s left", 100*share, p.Position.Load(), p.last.Load(), rate, p.Samples.Load(), left)
}

// Summary is one line about a replay that took so long.
func (p *Progress) Summary(spent time.Duration) string {
	events := p.Events.Load()
	return fmt.Sprintf("replay: %d events, %d samples, %v, %.0f events/s", events, p.Samples.Load(), spent.Round(time.Millisecond), float64(events)/spent.Seconds())
}
