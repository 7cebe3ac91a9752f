package chaos

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fsagent/fsagent/internal/sample"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// expectation is what the events make when nothing goes wrong.
type expectation struct {
	events  int
	samples map[sample.Identity]*fsagentv1.Sample
	points  map[pointKey]float64
}

// pointKey identifies a point: its series, as far as a sample tells it, and its
// time.
type pointKey struct {
	metric, instance, channel, direction string
	us                                   int64
}

// expect steps the events of the same calls in this process.
func (c *campaign) expect(ctx context.Context) (*expectation, error) {
	var calls []Calls
	for i := range c.cfg.Instances {
		p, err := c.playback(i)
		if err != nil {
			return nil, err
		}
		calls = append(calls, Calls{instanceName(i), freeswitch(i).CoreUUID, p})
	}
	e, err := Expect(ctx, calls...)
	if err != nil {
		return nil, err
	}
	return e.want, nil
}

func (e *expectation) add(s *fsagentv1.Sample) {
	e.samples[sample.IdentityOf(s)] = s
	for v := range sample.Values(s) {
		value := v.Float
		if v.Whole {
			value = float64(v.Int)
		}
		e.points[pointKey{v.Metric, s.GetFsInstance(), s.GetChannelId(), sample.DirectionName(v.Direction), s.GetTimeUs()}] = value
	}
}

// quiet is how long nothing new may come before what is missing is taken to be
// lost.
const quiet = 30 * time.Second

// verify waits for everything and compares.
func (c *campaign) verify(ctx context.Context, want *expectation) error {
	nc, err := nats.Connect(c.nats.URL())
	if err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	var points map[pointKey]float64
	for last := time.Now(); len(points) < len(want.points) && time.Since(last) < quiet; sleep(ctx, 200*time.Millisecond) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		before := len(points)
		if points, _, err = c.received(); err != nil {
			return err
		}
		if len(points) > before {
			last = time.Now()
		}
	}
	for _, name := range []string{"collector", "calculator", "exporter"} {
		for _, p := range c.groups[name] {
			if err := p.Stop(); err != nil {
				return err
			}
		}
	}
	live := map[string][]byte{} // samples by subject
	found, err := c.published(ctx, js, want, live)
	if err != nil {
		return err
	}
	if err := c.replayed(ctx, live); err != nil {
		return err
	}
	points, doubled, err := c.received()
	if err != nil {
		return err
	}
	if err := comparePoints(points, want.points); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%d samples, each once, and the same bytes by a replay; %d points, %d of them more than once with the same value; %s\n", found, len(points), doubled, c.faultCounts())
	return nil
}

func (c *campaign) faultCounts() string {
	var out strings.Builder
	out.WriteString("faults:")
	for _, name := range slices.Sorted(maps.Keys(c.counts)) {
		out.WriteString(fmt.Sprintf(" %s %d,", name, c.counts[name]))
	}
	return out.String()[:len(out.String())-1]
}

// published compares the samples of the stream with those expected, and appends
// them to live, by subject.
func (c *campaign) published(ctx context.Context, js jetstream.JetStream, want *expectation, live map[string][]byte) (int, error) {
	s, err := js.Stream(ctx, stream.Samples)
	if err != nil {
		return 0, fmt.Errorf("chaos: %w", err)
	}
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return 0, fmt.Errorf("chaos: %w", err)
	}
	seen := map[sample.Identity]uint64{}
	for read := uint64(0); read < s.CachedInfo().State.Msgs; {
		batch, err := consumer.FetchNoWait(1000)
		if err != nil {
			return 0, fmt.Errorf("chaos: %w", err)
		}
		for msg := range batch.Messages() {
			read++
			meta, err := msg.Metadata()
			if err != nil {
				return 0, fmt.Errorf("chaos: %w", err)
			}
			if err := check(msg.Data(), meta.Sequence.Stream, want, seen); err != nil {
				return 0, err
			}
			live[msg.Subject()] = append(live[msg.Subject()], msg.Data()...)
		}
	}
	return len(seen), complete(want, seen)
}

// replayed computes the samples of all events again, as a user does, and compares
// them with those of the live services: in each partition the same bytes in the
// same order.
func (c *campaign) replayed(ctx context.Context, live map[string][]byte) error {
	file := filepath.Join(c.dir, "replay.pb")
	cmd := exec.CommandContext(ctx, filepath.Join(c.cfg.Bin, "fsagent"), "replay", "-to-file", file)
	cmd.Dir = c.dir // no settings of whoever runs the campaign
	cmd.Env = append(os.Environ(), "FSAGENT_NATS_URL="+c.nats.URL())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("chaos: replay: %w\n%s", err, out)
	}
	batch, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	again := map[string][]byte{}
	for len(batch) > 0 {
		_, _, n := protowire.ConsumeField(batch)
		if n < 0 {
			return fmt.Errorf("chaos: replay: %w", protowire.ParseError(n))
		}
		s, err := sample.Decode(batch[:n])
		if err != nil || len(s) != 1 {
			return fmt.Errorf("chaos: replay: %d samples in one field: %w", len(s), err)
		}
		subject := stream.SampleSubject(stream.Partition([]byte(s[0].GetChannelId()), stream.DefaultPartitions))
		again[subject], batch = append(again[subject], batch[:n]...), batch[n:]
	}
	for p := range stream.DefaultPartitions {
		subject := stream.SampleSubject(p)
		if l, a := live[subject], again[subject]; !bytes.Equal(l, a) {
			return fmt.Errorf("%w: %s has %d bytes of samples, a replay makes %d, or other ones", ErrDifference, subject, len(l), len(a))
		}
	}
	return nil
}

func complete(want *expectation, seen map[sample.Identity]uint64) error {
	for id := range want.samples {
		if _, ok := seen[id]; !ok {
			return fmt.Errorf("%w: %d samples in the stream, %d expected; missing is %v", ErrDifference, len(seen), len(want.samples), want.samples[id])
		}
	}
	return nil
}

func check(data []byte, seq uint64, want *expectation, seen map[sample.Identity]uint64) error {
	samples, err := sample.Decode(data)
	if err != nil {
		return fmt.Errorf("%w: message %d of the samples: %w", ErrDifference, seq, err)
	}
	for _, s := range samples {
		id := sample.IdentityOf(s)
		if before, ok := seen[id]; ok {
			return fmt.Errorf("%w: sample %v is in the messages %d and %d", ErrDifference, id, before, seq)
		}
		seen[id] = seq
		switch w := want.samples[id]; {
		case w == nil:
			return fmt.Errorf("%w: message %d has a sample that no event makes: %v", ErrDifference, seq, s)
		case !proto.Equal(s, w):
			return fmt.Errorf("%w: message %d has\n%v, want\n%v", ErrDifference, seq, s, w)
		}
	}
	return nil
}

// received are the points at the sink; doubled came more than once.
func (c *campaign) received() (points map[pointKey]float64, doubled int, err error) {
	points = map[pointKey]float64{}
	for _, p := range c.sink.Points() {
		a := p.Attributes
		k := pointKey{p.Metric, a.Get("fs_instance"), a.Get("channel_id"), a.Get("direction"), p.Time.UnixMicro()}
		if before, ok := points[k]; ok {
			if doubled++; before != p.Value && !(math.IsNaN(before) && math.IsNaN(p.Value)) {
				return nil, 0, fmt.Errorf("%w: %v came as %s before", ErrDifference, p, strconv.FormatFloat(before, 'g', -1, 64))
			}
		}
		points[k] = p.Value
	}
	return points, doubled, nil
}

func comparePoints(got, want map[pointKey]float64) error {
	for k, w := range want {
		if g, ok := got[k]; !ok {
			return fmt.Errorf("%w: %d points received, %d expected; missing is %+v = %v", ErrDifference, len(got), len(want), k, w)
		} else if g != w {
			return fmt.Errorf("%w: %+v is %v, want %v", ErrDifference, k, g, w)
		}
	}
	for k, g := range got {
		if _, ok := want[k]; !ok {
			return fmt.Errorf("%w: nothing makes %+v = %v", ErrDifference, k, g)
		}
	}
	return nil
}
