package demo

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fsagent/fsagent/internal/sample"
)

// Lower limits of MOS classes (ITU-T G.107 Annex B): satisfied, some users
// dissatisfied.
const (
	good = 4.03
	fair = 3.6
)

// style writes colours, or does not.
type style bool

const (
	reset  = "\x1b[0m"
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
)

func (s style) paint(colour, text string) string {
	if !s || colour == "" {
		return text
	}
	return colour + text + reset
}

const columns = "%-10s %-8s %-8s %-8s %-6s %7s %9s %12s %7s  %s"

// header is the line above the rows.
func (s style) header() string {
	return s.paint(bold, fmt.Sprintf(columns, "instance", "call", "leg", "media", "codec", "reports", "jitter ms", "lost/expected", "loss %", "MOS"))
}

// line is one row. What was not measured is "-", and the reason stands where the
// MOS would.
func (s style) line(r row) string {
	jitter, counts, percent := "-", "-", "-"
	if r.jitterMS != nil {
		jitter = strconv.FormatFloat(*r.jitterMS, 'f', 1, 64)
	}
	if r.lost != nil && r.expected != nil {
		counts = fmt.Sprintf("%d/%d", *r.lost, *r.expected)
		if *r.expected > 0 {
			percent = strconv.FormatFloat(100*float64(*r.lost)/float64(*r.expected), 'f', 1, 64)
		}
	}
	mos, colour := r.why, dim
	if r.mos != nil {
		mos, colour = strconv.FormatFloat(*r.mos, 'f', 2, 64), class(*r.mos)
	}
	text := fmt.Sprintf(columns, r.instance, r.call, short(r.channel), sample.DirectionName(r.direction), r.codec, strconv.Itoa(r.reports), jitter, counts, percent, "")
	text += s.paint(colour, mos)
	if !r.ended {
		text += s.paint(dim, " live")
	}
	return text
}

func class(mos float64) string {
	switch {
	case mos >= good:
		return green
	case mos >= fair:
		return yellow
	}
	return red
}

// table is all rows under a header.
func (s style) table(p picture) string {
	var b strings.Builder
	b.WriteString(s.header())
	b.WriteByte('\n')
	for _, r := range p.rows {
		b.WriteString(s.line(r))
		b.WriteByte('\n')
	}
	return b.String()
}

// screen is the live picture: a summary, then as many rows as fit.
func (s style) screen(p picture, summary string, width, height int) string {
	lines := []string{s.paint(bold, "fsagent demo") + "   ctrl-C ends", summary, "", s.header()}
	for _, r := range p.rows {
		if len(lines) >= height-1 {
			break
		}
		lines = append(lines, s.line(r))
	}
	var b strings.Builder
	b.WriteString("\x1b[H") // home
	for _, l := range lines {
		b.WriteString(clip(l, width))
		b.WriteString("\x1b[K\r\n") // clear the rest of the line
	}
	b.WriteString("\x1b[J") // and of the screen
	return b.String()
}

// clip cuts a line at the width of the terminal, not counting colours.
func clip(line string, width int) string {
	n := 0
	for i := 0; i < len(line); i++ {
		if line[i] == '\x1b' {
			if j := strings.IndexByte(line[i:], 'm'); j >= 0 {
				i += j
				continue
			}
		}
		if n++; n > width {
			return line[:i] + reset
		}
	}
	return line
}
