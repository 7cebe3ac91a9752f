package leg

import (
	"strings"

	"github.com/fsagent/fsagent/internal/event"
)

// set replaces *dst by an encoded value if there is one and it differs.
func set(dst *string, value []byte) {
	if len(value) == 0 || string(value) == *dst {
		return
	}
	if s := utf8Text(value); s != "" {
		*dst = s
	}
}

func better(dst *string, rank *uint8, value []byte, than uint8) {
	if *rank >= than || len(value) == 0 {
		return
	}
	if s := utf8Text(value); s != "" {
		*dst, *rank = s, than
	}
}

// utf8Text decodes a header value. What is not UTF-8 becomes U+FFFD, because
// labels have to be text, and a label is cut to 255 bytes.
func utf8Text(value []byte) string {
	s := strings.ToValidUTF8(event.Decode(value), "\uFFFD")
	if len(s) > maxLabel {
		s = strings.ToValidUTF8(s[:maxLabel], "")
	}
	return s
}

// maxLabel bounds the memory of a leg, whatever a dialplan puts into a variable.
const maxLabel = 255
