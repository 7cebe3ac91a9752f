// Package deadletter reads what the exporters have parked because no endpoint
// takes it, and hands it back to them. A dead letter is a batch of one sample, or
// bytes that could not be read as one; its headers say why it was parked and where
// it was in the samples stream.
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/fsagent/fsagent/internal/sample"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNotFound is returned for a sequence that holds no letter.
var ErrNotFound = errors.New("no such dead letter")

// Letter is one dead letter.
type Letter struct {
	// Sequence in the stream of dead letters: its name for people.
	Sequence uint64
	// Parked is when the exporter gave up.
	Parked time.Time
	// Reason is one word, Detail what was said about it.
	Reason, Detail string
	// Source is the sequence of its message in the samples stream.
	Source uint64
	// Data is an encoded SampleBatch, or bytes that are none.
	Data []byte
}

// Box is the stream of dead letters.
type Box struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

// Open the box. There is none before a service has made the streams.
func Open(ctx context.Context, js jetstream.JetStream) (*Box, error) {
	s, err := js.Stream(ctx, stream.DeadLetter)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream.DeadLetter, err)
	}
	return &Box{js: js, stream: s}, nil
}

// All yields the letters that are there now, oldest first; an error ends it.
func (b *Box) All(ctx context.Context) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		info, err := b.stream.Info(ctx)
		if err != nil {
			yield(Letter{}, fmt.Errorf("stream %s: %w", stream.DeadLetter, err))
			return
		}
		if info.State.Msgs == 0 {
			return
		}
		consumer, err := b.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
		if err != nil {
			yield(Letter{}, fmt.Errorf("read %s: %w", stream.DeadLetter, err))
			return
		}
		messages, err := consumer.Messages()
		if err != nil {
			yield(Letter{}, fmt.Errorf("read %s: %w", stream.DeadLetter, err))
			return
		}
		defer messages.Stop()
		for {
			msg, err := messages.Next(jetstream.NextContext(ctx))
			if err != nil {
				yield(Letter{}, fmt.Errorf("read %s: %w", stream.DeadLetter, err))
				return
			}
			meta, err := msg.Metadata()
			if err != nil {
				yield(Letter{}, fmt.Errorf("read %s: %w", stream.DeadLetter, err))
				return
			}
			x := letter(meta.Sequence.Stream, meta.Timestamp, msg.Headers().Get, msg.Data())
			if !yield(x, nil) || x.Sequence >= info.State.LastSeq || meta.NumPending == 0 {
				return
			}
		}
	}
}

// Get returns one letter, or an error wrapping ErrNotFound.
func (b *Box) Get(ctx context.Context, sequence uint64) (Letter, error) {
	msg, err := b.stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Letter{}, fmt.Errorf("%w: %d", ErrNotFound, sequence)
	}
	if err != nil {
		return Letter{}, fmt.Errorf("dead letter %d: %w", sequence, err)
	}
	return letter(sequence, msg.Time, msg.Header.Get, msg.Data), nil
}

// Retry hands a letter back to the exporters and then removes it from the box. If
// it fails in between, the letter stays and may be handed back again: the sample
// goes out with the same identity, time and value.
func (b *Box) Retry(ctx context.Context, x Letter) error {
	if _, err := b.js.Publish(ctx, stream.RetrySubject, x.Data); err != nil {
		return fmt.Errorf("hand back dead letter %d: %w", x.Sequence, err)
	}
	if err := b.stream.DeleteMsg(ctx, x.Sequence); err != nil {
		return fmt.Errorf("remove dead letter %d: %w", x.Sequence, err)
	}
	return nil
}

// Samples of a letter; an error wraps sample.ErrBatch.
func (x Letter) Samples() ([]*fsagentv1.Sample, error) { return sample.Decode(x.Data) }

func letter(sequence uint64, at time.Time, header func(string) string, data []byte) Letter {
	reason, detail, _ := strings.Cut(header(stream.HeaderReason), ": ")
	source, err := strconv.ParseUint(header(stream.HeaderSequence), 10, 64)
	if err != nil {
		source = 0 // not written by an exporter; still worth a look
	}
	return Letter{Sequence: sequence, Parked: at, Reason: reason, Detail: detail, Source: source, Data: data}
}
