package explain

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector/esl"
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

// Stream applies the events that the events stream still has of the partition
// of a leg, up to the last one there is now.
func (x *Explainer) Stream(ctx context.Context, js jetstream.JetStream, partitions int, uniqueID string) error {
	partition := stream.Partition([]byte(uniqueID), partitions)
	consumer, err := js.OrderedConsumer(ctx, stream.Events, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{stream.EventFilter(partition)}, DeliverPolicy: jetstream.DeliverAllPolicy,
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", stream.Events, err)
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return fmt.Errorf("read %s: %w", stream.Events, err)
	}
	for left := info.NumPending; left > 0; left-- {
		msg, err := next(ctx, consumer)
		if err != nil {
			return fmt.Errorf("read %s, %d messages before its end: %w", stream.Events, left, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", stream.Events, err)
		}
		instance, _ := stream.Instance(msg.Subject())
		for raw, err := range event.Split(msg.Data()) {
			if err == nil {
				x.Event(meta.Sequence.Stream, instance, raw)
			}
		}
		if meta.NumPending == 0 {
			return nil
		}
	}
	return nil
}

func next(ctx context.Context, c jetstream.Consumer) (jetstream.Msg, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	return c.Next(jetstream.FetchMaxWait(10 * time.Second))
}
