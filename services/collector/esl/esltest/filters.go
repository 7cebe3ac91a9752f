package esltest

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"github.com/fsagent/fsagent/internal/event"
)

// filters are those of one client (mod_event_socket.c, parse_command and
// event_handler): positive ones are or-ed, a negative one that matches drops, and
// with negative ones alone nothing passes.
type filters []filterRule

type filterRule struct {
	header   string
	value    string // compared as a whole, without regard to case
	pattern  *regexp.Regexp
	negative bool
}

// command runs the arguments of "filter" and returns the reply.
func (f *filters) command(args string) string {
	words := strings.SplitN(args, " ", 3)
	switch {
	case words[0] == "delete" && len(words) > 1:
		return f.remove(words[1], strings.Join(words[2:], " "))
	case words[0] == "add" && len(words) == 3:
		return f.add(words[1], words[2])
	case words[0] != "add" && len(words) >= 2:
		return f.add(words[0], strings.Join(words[1:], " "))
	}
	return "-ERR invalid syntax"
}

func (f *filters) add(header, value string) string {
	r := filterRule{header: header, value: value}
	if v, ok := strings.CutPrefix(header, "-"); ok {
		r.header, r.negative = v, true
	} else if v, ok := strings.CutPrefix(value, "-"); ok {
		// The test for a pattern looks at the first character, which was the sign:
		// a negative pattern is an ordinary value.
		r.value, r.negative = v, true
	} else if p, ok := strings.CutPrefix(value, "/"); ok {
		re, err := regexp.Compile("(?i)" + strings.TrimSuffix(p, "/"))
		if err != nil {
			return "-ERR invalid regex"
		}
		r.pattern = re
	}
	*f = append(*f, r)
	return "+OK filter added. [" + r.header + "]=[" + value + "]"
}

func (f *filters) remove(header, value string) string {
	if header == "all" {
		*f = nil
		return "+OK filter deleted. [all]=[]"
	}
	*f = slices.DeleteFunc(*f, func(r filterRule) bool {
		return strings.EqualFold(r.header, header) && (value == "" || r.value == value)
	})
	return "+OK filter deleted. [" + header + "]=[" + value + "]"
}

func (f filters) pass(raw []byte) bool {
	if len(f) == 0 {
		return true
	}
	passed := false
	for _, r := range f {
		v := header(raw, r.header)
		if v == nil {
			continue
		}
		text := event.Decode(v)
		match := strings.EqualFold(text, r.value)
		if r.pattern != nil {
			match = r.pattern.MatchString(text)
		}
		if match && r.negative {
			return false
		}
		passed = passed || match
	}
	return passed
}

// header finds the value of a header, without regard to case, as FreeSWITCH does
// (switch_event.c, switch_event_get_header_ptr); nil if there is none.
func header(raw []byte, name string) []byte {
	for line := range bytes.Lines(raw) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if len(line) == 0 {
			return nil
		}
		i := bytes.LastIndex(line, []byte(": "))
		if i == len(name) && strings.EqualFold(string(line[:i]), name) {
			return line[i+2:]
		}
	}
	return nil
}
