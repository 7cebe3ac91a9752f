package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fsagent/fsagent/internal/sample"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// ErrName is returned for a name that a stream of replayed samples cannot have.
var ErrName = errors.New("name of a stream must be 1 to 64 letters, digits, '_' or '-', and none that the services use")

// ErrWritten is returned when another replay writes to the same stream.
var ErrWritten = errors.New("another replay writes to this stream")

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// SubjectPrefix begins the subject of replayed samples; the name of their stream
// ends it. The services read none such.
const SubjectPrefix = "fsagent.replay."

// metadata keys of a stream of replayed samples.
const (
	metaAsked = "fsagent.replay.asked"
	metaRange = "fsagent.replay.range"
)

// CheckStreamName refuses names of live streams, and what is no name.
func CheckStreamName(name string) error {
	upper := strings.ToUpper(name)
	if !nameForm.MatchString(name) || strings.HasPrefix(upper, "KV_") || strings.HasPrefix(upper, "OBJ_") ||
		slices.Contains([]string{stream.Events, stream.Samples, stream.DeadLetter, stream.State}, upper) {
		return fmt.Errorf("%q: %w", name, ErrName)
	}
	return nil
}

// Limits of one message. It ends with an event, unless that makes more than partBytes.
const (
	messageSamples = 200
	messageBytes   = 64 << 10
	partBytes      = 8 * messageBytes
)

// Stream is a sink: a stream of its own, of the same messages as the live samples,
// all on one subject and in the order of the events. Each is accepted only on top
// of the one before it and says through which event the samples are there, so each
// sample is there once, however often the replay is interrupted.
type Stream struct {
	js      jetstream.JetStream
	log     *slog.Logger
	name    string
	stream  jetstream.Stream
	epoch   int64 // tells this run from others
	tail    tail
	claimed stream.Reach // what was there when this run began
	batch   []byte
	samples int
	last    uint64 // event of the last sample taken
	taken   int    // samples of it
}

func (w *Stream) subject() string { return SubjectPrefix + w.name }

// OpenStream makes the stream, or goes on with that of an earlier replay that was
// asked for the same. plan is called only in the first case. The States returned
// say what is there already, nil if nothing is.
func OpenStream(ctx context.Context, js jetstream.JetStream, name, asked string, storage stream.Storage, replicas int, log *slog.Logger, plan func() (Range, error)) (*Stream, Range, *States, error) {
	w := &Stream{js: js, log: log, name: name, epoch: time.Now().UnixNano()}
	var r Range
	s, err := js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		if r, err = plan(); err != nil {
			return nil, r, nil, err
		}
		text, err := json.Marshal(r)
		if err != nil {
			return nil, r, nil, fmt.Errorf("stream %s: %w", name, err)
		}
		kept := jetstream.FileStorage
		if storage == stream.Memory {
			kept = jetstream.MemoryStorage
		}
		w.stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: name, Description: "samples of a replay", Subjects: []string{w.subject()}, Storage: kept, Replicas: replicas,
			AllowDirect: true, Metadata: map[string]string{metaAsked: asked, metaRange: string(text)},
		})
		if err != nil {
			return nil, r, nil, fmt.Errorf("stream %s: %w", name, err)
		}
		return w, r, nil, nil
	case err != nil:
		return nil, r, nil, fmt.Errorf("stream %s: %w", name, err)
	}
	w.stream = s
	cfg := s.CachedInfo().Config
	if !slices.Equal(cfg.Subjects, []string{w.subject()}) || cfg.Metadata[metaRange] == "" {
		return nil, r, nil, fmt.Errorf("stream %s %w", name, ErrExists)
	}
	if then := cfg.Metadata[metaAsked]; then != asked {
		return nil, r, nil, fmt.Errorf("stream %s %w; remove it to begin anew\nthen: %s\nnow:  %s", name, ErrOther, then, asked)
	}
	if err := json.Unmarshal([]byte(cfg.Metadata[metaRange]), &r); err != nil {
		return nil, r, nil, fmt.Errorf("stream %s: %w", name, err)
	}
	if err := w.claim(ctx); err != nil {
		return nil, r, nil, err
	}
	return w, r, &States{Through: w.tail.Through}, nil
}

// Through is the event through which all samples are in the stream.
func (w *Stream) Through() uint64 { return w.tail.Through }

// Encode makes an element of a SampleBatch.
func (w *Stream) Encode(b []byte, s *fsagentv1.Sample) ([]byte, error) { return sample.Append(b, s) }

// Take puts a sample into the next message, unless it is there already.
func (w *Stream) Take(ctx context.Context, e Entry) error {
	var err error
	switch {
	case e.Sequence == w.last && len(w.batch) >= partBytes:
		err = w.publish(ctx, stream.Reach{Through: w.last - 1, Part: w.taken})
	case e.Sequence > w.last && (w.samples >= messageSamples || len(w.batch) >= messageBytes):
		err = w.publish(ctx, stream.Reach{Through: w.last})
	}
	if err != nil {
		return err
	}
	if e.Sequence > w.last {
		w.last, w.taken = e.Sequence, 0
	}
	w.taken++
	if e.Sequence == w.claimed.Through+1 && w.taken <= w.claimed.Part {
		return nil
	}
	w.batch = append(w.batch, e.Data...)
	w.samples++
	return nil
}

// Commit publishes what there is, so that the stream says how far the replay is.
func (w *Stream) Commit(ctx context.Context, through uint64, _ *States) error {
	r := stream.Reach{Through: through}
	if w.last > through { // it was interrupted inside of an event
		r = stream.Reach{Through: w.last - 1, Part: w.taken}
	}
	if r.Through <= w.tail.Through && w.samples == 0 {
		return nil
	}
	return w.publish(ctx, r)
}

// publish does not come back without knowing what became of the message, unless ctx
// ends.
func (w *Stream) publish(ctx context.Context, r stream.Reach) error {
	msg := &nats.Msg{Subject: w.subject(), Data: w.batch, Header: nats.Header{stream.HeaderEpoch: {strconv.FormatInt(w.epoch, 10)}}}
	r.Write(msg.Header)
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		ack, failure := w.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(w.tail.sequence))
		if failure == nil {
			w.written(tail{r, ack.Sequence, w.epoch})
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		now, err := w.readTail(ctx)
		if err == nil && now.sequence > w.tail.sequence && now.epoch == w.epoch {
			w.written(now) // an earlier attempt was stored after all
			return nil
		}
		if err == nil && now.sequence != w.tail.sequence {
			return fmt.Errorf("stream %s: %w", w.name, ErrWritten)
		}
		if wait == 100*time.Millisecond {
			w.log.Warn("waiting for the stream to take samples", "stream", w.name, "err", failure)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

func (w *Stream) written(t tail) { w.tail, w.batch, w.samples = t, nil, 0 }

// tail is the last message of the stream.
type tail struct {
	stream.Reach
	sequence uint64 // 0: there is none
	epoch    int64  // the run that wrote it
}

func (w *Stream) readTail(ctx context.Context) (t tail, err error) {
	msg, err := w.stream.GetLastMsgForSubject(ctx, w.subject())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return t, nil
	} else if err != nil {
		return t, fmt.Errorf("last message of %s: %w", w.name, err)
	}
	t.sequence = msg.Sequence
	if t.Reach, err = stream.ReadReach(msg.Header); err == nil {
		t.epoch, err = strconv.ParseInt(msg.Header.Get(stream.HeaderEpoch), 10, 64)
	}
	if err != nil {
		return t, fmt.Errorf("last message of %s: its headers: %w", w.name, err)
	}
	return t, nil
}

// claim takes over what is there: what an earlier run still has on its way is
// refused from now on.
func (w *Stream) claim(ctx context.Context) error {
	for {
		var err error
		if w.tail, err = w.readTail(ctx); err != nil {
			return err
		}
		w.claimed = w.tail.Reach
		if err = w.publish(ctx, w.claimed); !errors.Is(err, ErrWritten) {
			return err
		}
	}
}
