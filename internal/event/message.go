package event

import (
	"bytes"
	"fmt"
	"iter"
)

// A message of the events stream holds one event as it is, or any number of
// events, each framed as on the event socket: "Content-Length: <n>\n\n" and n
// bytes. An event of its own never begins with Content-Length, so the first
// bytes tell the two forms apart.

const framePrefix = "Content-Length: "

// Split walks the events of one message of the events stream. A frame that
// cannot be read ends the walk with an error that wraps ErrMalformed; the
// events before it have been given out.
func Split(payload []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if !bytes.HasPrefix(payload, []byte(framePrefix)) {
			yield(payload, nil)
			return
		}
		for rest := payload; len(rest) > 0; {
			line, after, ok := bytes.Cut(rest, []byte("\n\n"))
			length, isFrame := bytes.CutPrefix(line, []byte(framePrefix))
			n, isNumber := Uint(length)
			if !ok || !isFrame || !isNumber || n > uint64(len(after)) {
				yield(nil, fmt.Errorf("%w: bad frame at byte %d of a packed message", ErrMalformed, len(payload)-len(rest)))
				return
			}
			if !yield(after[:n], nil) {
				return
			}
			rest = after[n:]
		}
	}
}

// AppendFrame adds one event to a packed message.
func AppendFrame(payload, raw []byte) []byte {
	payload = fmt.Appendf(payload, "%s%d\n\n", framePrefix, len(raw))
	return append(payload, raw...)
}
