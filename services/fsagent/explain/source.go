package explain

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/fsagent/fsagent/services/fsagent/history"
)

// instanceOfFile is the name of the server whose events come from a file.
const instanceOfFile = "file"

// Events applies events that are at hand, numbered from 1.
func (x *Explainer) Events(instance string, events [][]byte) {
	for i, raw := range events {
		x.Event(uint64(i+1), instance, raw)
	}
}

// Capture applies the events of bytes captured from an event socket, from the
// server to the client; gzip is recognised. A capture that breaks off in the
// middle of a frame is applied as far as it goes.
func (x *Explainer) Capture(r io.Reader) error {
	in := bufio.NewReader(r)
	var src io.Reader = in
	if head, _ := in.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("read capture: %w", err)
		}
		defer z.Close()
		src = z
	}
	frames := esl.NewFrameReader(src, 0)
	for seq := uint64(1); ; seq++ {
		f, err := frames.Next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, esl.ErrTruncated), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read capture: %w", err)
		}
		if bytes.HasPrefix(f.Body, []byte("Event-")) {
			x.Event(seq, instanceOfFile, f.Body)
		}
	}
}

// Stream applies the events that a stream still has of the partition of a leg, up
// to the last one there is now.
func (x *Explainer) Stream(ctx context.Context, h *history.History, uniqueID string) error {
	partition := stream.Partition([]byte(uniqueID), h.Partitions)
	return h.Read(ctx, []string{stream.EventFilter(partition)}, h.First, h.Last, func(m history.Message) error {
		for raw, err := range event.Split(m.Payload) {
			if err == nil {
				x.Event(m.Sequence, m.Instance, raw)
			}
		}
		return nil
	})
}
