package exporter

import (
	"context"
	"fmt"
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

// park a letter, however long NATS takes for it: what is neither exported nor
// parked stays in the stream. It returns false if stop ended first.
func (l *lane) park(stop, work context.Context, x letter) bool {
	if l.stopped {
		return false
	}
	msg := &nats.Msg{Subject: stream.DeadLetterSubject, Data: x.data, Header: nats.Header{
		stream.HeaderReason:   {printable(string(x.reason) + ": " + x.detail)},
		stream.HeaderSequence: {strconv.FormatUint(x.sequence, 10)},
	}}
	id := printable(fmt.Sprintf("%d:%s:%s:%d", x.sequence, x.reason, x.id, x.index))
	for {
		ask, cancel := context.WithTimeout(work, askTimeout)
		_, err := l.js.PublishMsg(ask, msg, jetstream.WithMsgID(id))
		cancel()
		if err == nil {
			l.stream.set(up, nil)
			l.metrics.park(x.reason)
			if count, ok := l.muffler.say(string(x.reason), time.Now()); ok {
				l.log.Warn("parked what cannot be exported", "subject", msg.Subject, "seq", x.sequence, "reason", msg.Header.Get(stream.HeaderReason), "count", count)
			}
			return true
		}
		l.stream.set(waiting, fmt.Errorf("park on %s: %w", msg.Subject, err))
		if stop.Err() != nil || !l.pause.wait(stop) {
			l.stopped = true
			return false
		}
	}
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
