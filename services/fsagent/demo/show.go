package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// show draws until ctx ends: a live picture on a terminal, a line every five
// seconds elsewhere.
func (d *demo) show(ctx context.Context, w io.Writer) {
	f, live := terminal(w)
	every := 5 * time.Second
	if live {
		every = 250 * time.Millisecond
		fmt.Fprint(w, "\x1b[?1049h\x1b[?25l") // other screen, no cursor
		defer fmt.Fprint(w, "\x1b[?25h\x1b[?1049l")
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	before, then := d.account(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		a, now := d.account(), time.Now()
		seconds := now.Sub(then).Seconds()
		p := d.board.picture(live)
		summary := fmt.Sprintf("%d legs live, %d ended   %.0f events/s   %.0f samples/s   %d points accepted   lag %d batches",
			p.live, p.ended, float64(a.collector.EventsRead-before.collector.EventsRead)/seconds,
			float64(a.samples()-before.samples())/seconds, a.exporter.PointsAccepted, uint64(a.exporter.Held)+a.exporter.Pending)
		if live {
			width, height, err := term.GetSize(int(f.Fd()))
			if err != nil {
				width, height = 80, 24
			}
			fmt.Fprint(w, style(colourful(w)).screen(p, summary, width, height))
			if now.Sub(then) < time.Second {
				continue // rates over a second at least
			}
		} else {
			fmt.Fprintln(w, summary)
		}
		before, then = a, now
	}
}

func terminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// colourful is false for files and pipes, and where the user wants no colour
// (no-color.org).
func colourful(w io.Writer) bool {
	_, ok := terminal(w)
	_, no := os.LookupEnv("NO_COLOR")
	return ok && !no
}
