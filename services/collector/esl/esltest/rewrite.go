package esltest

import (
	"slices"
	"strconv"

	"github.com/fsagent/fsagent/internal/event"
)

// template is one recorded event with the places that make it another one: the
// same length but for Event-Sequence.
type template struct {
	raw      []byte
	core     string // Core-UUID
	sequence uint64
	seqAt    int   // where the digits of Event-Sequence begin
	seqEnd   int   // and end
	uuids    []int // where uuids begin that are not the Core-UUID
	cores    []int // where the Core-UUID stands
	times    []int // where values of 16 digits begin: microseconds since 1970
}

const (
	uuidLen  = 36
	timeLen  = 16
	copyMix  = 0x9E3779B1 // odd: multiplied by 0, 1, 2 … modulo 2^32 it never repeats
	seqLabel = "\nEvent-Sequence: "
)

func newTemplate(raw []byte) (template, error) {
	id, err := event.Scan(raw)
	if err != nil {
		return template{}, err
	}
	t := template{raw: raw, core: string(id.CoreUUID), sequence: id.Sequence}
	text := string(raw)
	for i := 0; i < len(raw); i++ {
		switch {
		case text[i] == '\n' && len(text)-i > len(seqLabel) && text[i:i+len(seqLabel)] == seqLabel && t.seqAt == 0:
			t.seqAt = i + len(seqLabel)
			t.seqEnd = t.seqAt + digits(text[t.seqAt:])
		case isUUID(text[i:]):
			if text[i:i+uuidLen] == string(id.CoreUUID) {
				t.cores = append(t.cores, i)
			} else {
				t.uuids = append(t.uuids, i)
			}
			i += uuidLen - 1
		case isTime(text, i):
			t.times = append(t.times, i)
			i += timeLen - 1
		}
	}
	return t, nil
}

// render appends the event as it is in copy number n: uuids of its own, the given
// Core-UUID and sequence, and times later by shift microseconds. Dates as text
// and RTCP's NTP times stay as recorded.
func (t *template) render(dst []byte, n uint32, core string, sequence uint64, shift int64) []byte {
	first := len(dst)
	dst = append(dst, t.raw...)
	out := dst[first:]
	for _, at := range t.cores {
		copy(out[at:at+uuidLen], core)
	}
	if n > 0 {
		for _, at := range t.uuids {
			mixHex(out[at:at+8], n*copyMix)
		}
	}
	if shift != 0 {
		for _, at := range t.times {
			shiftTime(out[at:at+timeLen], shift)
		}
	}
	if sequence == t.sequence {
		return dst
	}
	// The number may get longer: what is behind it moves.
	var number [20]byte
	return slices.Replace(dst, first+t.seqAt, first+t.seqEnd, strconv.AppendUint(number[:0], sequence, 10)...)
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func isUUID(s string) bool {
	if len(s) < uuidLen || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	for i := range uuidLen {
		if c := s[i]; c != '-' && unhex(c) < 0 {
			return false
		}
	}
	return true
}

// isTime finds a value of exactly 16 digits that begins with 1.
func isTime(s string, i int) bool {
	return s[i] == '1' && i >= 2 && s[i-1] == ' ' && s[i-2] == ':' &&
		digits(s[i:min(len(s), i+timeLen+1)]) == timeLen && i+timeLen < len(s) && s[i+timeLen] == '\n'
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func mixHex(b []byte, with uint32) {
	var v uint32
	for _, c := range b {
		v = v<<4 | uint32(unhex(c))
	}
	v ^= with
	for i := range b {
		b[i] = "0123456789abcdef"[v>>(28-4*i)&15]
	}
}

func shiftTime(b []byte, shift int64) {
	var v int64
	for _, c := range b {
		v = v*10 + int64(c-'0')
	}
	v += shift
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
}
