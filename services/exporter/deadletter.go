package exporter

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fsagent/fsagent/internal/sample"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
)

// reason why something was parked.
type reason string

const (
	// reasonUndecodable: a message, or a sample of it, cannot be read.
	reasonUndecodable reason = "undecodable"
	// reasonTime: no time, or one that lies in the future.
	reasonTime reason = "time"
	// reasonKind: no body that this version knows.
	reasonKind reason = "kind"
	// reasonValue: not a number.
	reasonValue reason = "value"
	// reasonTooLarge: one sample is larger than the endpoint takes.
	reasonTooLarge reason = "too_large"
	// reasonRefused: the endpoint refuses this sample.
	reasonRefused reason = "refused"
)

// letter is what is parked on stream.DeadLetterSubject: a SampleBatch of one
// sample, or bytes that are none.
type letter struct {
	sequence uint64
	// id tells letters of one message apart, so that parking twice is harmless.
	id     string
	index  int
	reason reason
	detail string
	data   []byte
}

func sampleLetter(sequence uint64, s *fsagentv1.Sample, r reason, detail string) letter {
	data, err := proto.Marshal(fsagentv1.SampleBatch_builder{Samples: []*fsagentv1.Sample{s}}.Build())
	if err != nil {
		detail += "; " + err.Error() // keeps the account of it, if not the bytes
	}
	return letter{
		sequence: sequence, reason: r, detail: detail, data: data,
		id: sample.IdentityOf(s).String(),
	}
}

// parkAtOnce is how many letters are on their way to NATS at once.
const parkAtOnce = 256

// park letters, however long NATS takes for it: what is neither exported nor
// parked stays in the stream. It returns false if stop ended first.
func (l *lane) park(stop, work context.Context, letters ...letter) bool {
	for some := range slices.Chunk(letters, parkAtOnce) {
		for len(some) > 0 {
			if l.stopped {
				return false
			}
			left, err := l.post(work, some)
			if some = left; err == nil {
				l.stream.set(up, nil)
				continue
			}
			l.stream.set(waiting, fmt.Errorf("park on %s: %w", stream.DeadLetterSubject, err))
			if stop.Err() != nil || !l.pause.wait(stop) {
				l.stopped = true
			}
		}
	}
	return !l.stopped
}

// post letters together and wait for NATS to have them. It returns those that it
// may not have, and why; their ids make a repetition harmless.
func (l *lane) post(work context.Context, letters []letter) (left []letter, err error) {
	if l.js == nil { // a Sender's
		l.leaveOut(letters)
		return nil, nil
	}
	ask, cancel := context.WithTimeout(work, askTimeout)
	defer cancel()
	acks := make([]jetstream.PubAckFuture, len(letters))
	for i, x := range letters {
		if acks[i], err = l.js.PublishMsgAsync(x.message(), jetstream.WithMsgID(x.messageID())); err != nil {
			break
		}
	}
	for i, x := range letters {
		if acks[i] == nil {
			left = append(left, x)
			continue
		}
		select {
		case <-acks[i].Ok():
			l.parked(x)
		case e := <-acks[i].Err():
			left, err = append(left, x), e
		case <-ask.Done():
			left, err = append(left, x), ask.Err()
		}
	}
	return left, err
}

func (l *lane) parked(x letter) {
	l.metrics.park(x.reason)
	if count, ok := l.muffler.say(string(x.reason), time.Now()); ok {
		l.log.Warn("parked what cannot be exported", "subject", stream.DeadLetterSubject, "seq", x.sequence, "reason", x.why(), "count", count)
	}
}

func (x letter) why() string { return printable(string(x.reason) + ": " + x.detail) }

func (x letter) message() *nats.Msg {
	return &nats.Msg{Subject: stream.DeadLetterSubject, Data: x.data, Header: nats.Header{
		stream.HeaderReason:   {x.why()},
		stream.HeaderSequence: {strconv.FormatUint(x.sequence, 10)},
	}}
}

func (x letter) messageID() string {
	return printable(fmt.Sprintf("%d:%s:%s:%d", x.sequence, x.reason, x.id, x.index))
}

// printable is fit for a header of NATS: one line, not long.
func printable(s string) string {
	const most = 500
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
