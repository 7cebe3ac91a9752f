package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/fsagent/fsagent/services/fsagent/fleet"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// measurement makes one row or several.
type measurement struct {
	name string
	run  func(*bench, context.Context) ([]Row, error)
}

// measurements in the order of their run: later ones are compared with the limit.
var measurements = []measurement{
	{"limit", (*bench).limit},
	{"live", func(b *bench, ctx context.Context) ([]Row, error) {
		return b.live(ctx, run{name: "live", calculators: 2})
	}},
	{"whole", func(b *bench, ctx context.Context) ([]Row, error) {
		return b.live(ctx, run{name: "whole", calculators: 2, exporters: 1})
	}},
	{"latency", (*bench).latency},
	{"backlog", func(b *bench, ctx context.Context) ([]Row, error) { return b.backlog(ctx, "backlog", "live", 2) }},
	{"replicas", (*bench).replicas},
	{"legs", (*bench).crowds},
	{"take-over", (*bench).takeOver},
	{"ended", (*bench).ended},
	{"sizes", (*bench).sizes},
	{"replay", (*bench).replaySpeed}, {"replay-beside", (*bench).besideReplay}, {"replay-memory", (*bench).replayMemory}, {"archive", (*bench).archive},
}

func mkdir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// cpu is what every process has used since the last call with the same map.
type cpu struct {
	processes []*fleet.Process
	before    map[string]time.Duration
}

func (c *cpu) start(processes []*fleet.Process) error {
	c.processes, c.before = processes, map[string]time.Duration{"bench": own()}
	for _, p := range processes {
		used, err := p.CPU()
		if err != nil {
			return err
		}
		c.before[p.Name] = used
	}
	return nil
}

func (c *cpu) used() (map[string]float64, error) {
	out := map[string]float64{"bench": (own() - c.before["bench"]).Seconds()}
	for _, p := range c.processes {
		used, err := p.CPU()
		if err != nil {
			return nil, err
		}
		out[p.Name] = (used - c.before[p.Name]).Seconds()
	}
	return out, nil
}

func own() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it cannot fail for oneself
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// connect returns a client with all streams made.
func connect(ctx context.Context, s *fleet.NATS, fast bool) (jetstream.JetStream, func(), error) {
	nc, err := nats.Connect(s.URL())
	if err != nil {
		return nil, nil, fmt.Errorf("bench: %w", err)
	}
	js, err := jetstream.New(nc)
	if err == nil {
		err = stream.Ensure(ctx, js, stream.DefaultSettings())
	}
	if err == nil && fast {
		err = allowFast(ctx, js)
	}
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return js, nc.Close, nil
}

// allowFast lets the events stream take the fast publisher, which the limit is
// measured with.
func allowFast(ctx context.Context, js jetstream.JetStream) error {
	s, err := js.Stream(ctx, stream.Events)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	cfg := s.CachedInfo().Config
	cfg.AllowBatchPublish = true
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// publish puts all events into the stream by the fastest publisher there is.
func (b *bench) publish(ctx context.Context, js jetstream.JetStream) error {
	fast, err := jetstreamext.NewFastPublisher(js, jetstreamext.FastPublishFlowControl{Flow: 500, MaxOutstandingAcks: 4, AckTimeout: 30 * time.Second})
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	for _, m := range b.input {
		msg := nats.NewMsg(m.Subject)
		msg.Data, msg.Header[nats.MsgIdHdr] = m.Data, m.Header[nats.MsgIdHdr]
		if _, err := fast.AddMsg(msg); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
	}
	if _, err := fast.Close(ctx); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// limit is what the server can do: all events published with ids and read by one
// ordered consumer a partition, at once.
func (b *bench) limit(ctx context.Context) ([]Row, error) {
	s, _, err := b.fresh()
	if err != nil {
		return nil, err
	}
	js, done, err := connect(ctx, s, true)
	if err != nil {
		return nil, err
	}
	defer done()
	var read atomic.Int64
	all := make(chan struct{})
	for p := range partitions {
		consumer, err := js.OrderedConsumer(ctx, stream.Events, jetstream.OrderedConsumerConfig{FilterSubjects: []string{stream.EventFilter(p)}})
		if err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
		consuming, err := consumer.Consume(func(jetstream.Msg) {
			if read.Add(1) == int64(len(b.input)) {
				close(all)
			}
		}, jetstream.PullMaxMessages(500))
		if err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
		defer consuming.Stop()
	}
	var used cpu
	if err := used.start(s.Servers); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := b.publish(ctx, js); err != nil {
		return nil, err
	}
	select {
	case <-all:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	row := Row{Name: "limit", Events: len(b.input), Seconds: time.Since(began).Seconds(), Note: "fast publisher, 16 ordered consumers"}
	if row.CPU, err = used.used(); err != nil {
		return nil, err
	}
	return []Row{row}, stopAll(s.Servers)
}

// services starts calculators and exporters.
func (b *bench) services(s *fleet.NATS, dir string, sink string, groups map[string]int, more ...string) ([]*fleet.Process, error) {
	var out []*fleet.Process
	for _, name := range []string{"calculator", "exporter", "collector"} {
		for i := range groups[name] {
			process := fmt.Sprintf("%s-%d", name, i+1)
			port, err := b.page(process)
			if err != nil {
				return out, err
			}
			p, err := fleet.Start(b.cfg.Bin, dir, process, name, nil, append([]string{
				"FSAGENT_NATS_URL=" + s.URL(), "FSAGENT_LOG_LEVEL=warn",
				"FSAGENT_HTTP_HOST=127.0.0.1", "FSAGENT_HTTP_PORT=" + strconv.Itoa(port), "FSAGENT_HTTP_PROFILE=true",
				"FSAGENT_OTEL_ENDPOINT=" + sink, "FSAGENT_OTEL_INSECURE=true",
			}, more...))
			if err != nil {
				return out, err
			}
			out = append(out, p)
		}
	}
	return out, nil
}

// run is one way to play the calls.
type run struct {
	name                   string
	calculators, exporters int
	rate                   float64 // events a second; 0 is as fast as they are read
	latency                bool    // measure it
	// copies of the recording, at its own pace, to tell what such a load needs; 0
	// is the copies of the configuration.
	copies int
}

// live plays the calls from a simulated FreeSWITCH and waits until their samples
// are in the stream; with exporters, until their points were accepted.
func (b *bench) live(ctx context.Context, r run) ([]Row, error) {
	s, dir, err := b.fresh()
	if err != nil {
		return nil, err
	}
	js, done, err := connect(ctx, s, false)
	if err != nil {
		return nil, err
	}
	defer done()
	sink, err := otlptest.Start("127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer sink.Close()
	sink.Discard()
	freeswitch, err := esltest.Start(esltest.Config{})
	if err != nil {
		return nil, err
	}
	defer freeswitch.Close()
	environ := []string{fmt.Sprintf(`FSAGENT_FREESWITCH_INSTANCES=[{"name":%q,"host":"127.0.0.1","port":%d,"password":%q}]`,
		instance, freeswitch.Addr().Port, esltest.DefaultPassword)}
	if r.copies == 0 {
		// FreeSWITCH does not wait: what is too fast must fit. Nor shall the time before
		// the first event be measured.
		environ = append(environ, fmt.Sprintf("FSAGENT_EVENTS_BUFFER_BYTES=%d", 1<<30), "FSAGENT_PUBLISH_JOIN_DELAY=0s")
	}
	processes, err := b.services(s, dir, sink.Addr(), map[string]int{"collector": 1, "calculator": r.calculators, "exporter": r.exporters}, environ...)
	if err != nil {
		return nil, err
	}
	if err := claimed(ctx, js); err != nil {
		return nil, err
	}
	p, err := b.playback()
	if err != nil {
		return nil, err
	}
	p.Rate = r.rate
	least := len(b.input)
	if r.copies > 0 {
		least = least / b.cfg.Copies * r.copies
		p.Copies, p.Speed = r.copies, 1
	}
	if err := freeswitch.WaitForClient(ctx, 1); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	all := append(processes, s.Servers...)
	var used cpu
	if err := used.start(all); err != nil {
		return nil, err
	}
	profiles := b.profile(ctx, r.name)
	began := time.Now()
	if _, err := freeswitch.Play(ctx, p); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	stepped, err := finished(ctx, js, least)
	if err != nil {
		return nil, err
	}
	note := ""
	if r.exporters > 0 {
		if err := exported(ctx, js); err != nil {
			return nil, err
		}
		points := 0
		for _, r := range sink.Requests() {
			points += r.Points
		}
		note = fmt.Sprintf("%d points", points)
	}
	row := Row{Name: r.name, Events: stepped, Seconds: time.Since(began).Seconds(), Of: "limit", Note: note}
	if row.CPU, err = used.used(); err != nil {
		return nil, err
	}
	if r.name == "live" {
		b.liveRate = row.Rate()
	}
	if err := profiles(); err != nil {
		return nil, err
	}
	if r.copies > 0 {
		if row.Note, err = needs(ctx, js, row, all); err != nil {
			return nil, err
		}
	}
	if r.latency {
		d, err := latencies(ctx, js, func(string) bool { return true })
		if err != nil {
			return nil, err
		}
		row.Note = percentiles(d)
	}
	return []Row{row}, stopAll(all)
}

// backlog fills the stream first and starts the calculators then.
func (b *bench) backlog(ctx context.Context, name, of string, calculators int) ([]Row, error) {
	s, dir, err := b.fresh()
	if err != nil {
		return nil, err
	}
	js, done, err := connect(ctx, s, true)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := b.publish(ctx, js); err != nil {
		return nil, err
	}
	processes, err := b.services(s, dir, "", map[string]int{"calculator": calculators})
	if err != nil {
		return nil, err
	}
	all := append(processes, s.Servers...)
	var used cpu
	if err := used.start(all); err != nil {
		return nil, err
	}
	stepped, err := finished(ctx, js, len(b.input))
	if err != nil {
		return nil, err
	}
	ended := time.Now()
	began, err := firstClaim(ctx, js)
	if err != nil {
		return nil, err
	}
	row := Row{Name: name, Events: stepped, Seconds: ended.Sub(began).Seconds(), Of: of}
	if row.CPU, err = used.used(); err != nil {
		return nil, err
	}
	return []Row{row}, stopAll(all)
}

// firstClaim is when the first partition was claimed and its work began: a claim
// leaves a message in the samples stream.
func firstClaim(ctx context.Context, js jetstream.JetStream) (time.Time, error) {
	samples, err := js.Stream(ctx, stream.Samples)
	if err != nil {
		return time.Time{}, fmt.Errorf("bench: %w", err)
	}
	msg, err := samples.GetMsg(ctx, samples.CachedInfo().State.FirstSeq)
	if err != nil {
		return time.Time{}, fmt.Errorf("bench: %w", err)
	}
	return msg.Time, nil
}

// replicas compares one calculator with four on the same cores.
func (b *bench) replicas(ctx context.Context) ([]Row, error) {
	one, err := b.live(ctx, run{name: "live, 1 calculator", calculators: 1})
	if err != nil {
		return nil, err
	}
	four, err := b.live(ctx, run{name: "live, 4 calculators", calculators: 4})
	if err != nil {
		return nil, err
	}
	four[0].Of = one[0].Name
	four[0].Ratio = four[0].Rate() / one[0].Rate()
	return append(one, four...), nil
}

const patience = 3 * time.Minute

// poll asks until the answer is yes.
func poll(ctx context.Context, what string, ok func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		yes, err := ok()
		if err != nil || yes {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("bench: %s did not happen within %v", what, patience)
		}
	}
}

// claimed waits until every partition has an owner that has begun.
func claimed(ctx context.Context, js jetstream.JetStream) error {
	return poll(ctx, "claims of all partitions", func() (bool, error) {
		s, err := js.Stream(ctx, stream.Samples)
		if err != nil {
			return false, err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(stream.SampleFilter))
		return err == nil && len(info.State.Subjects) == partitions, err
	})
}

// finished waits until the samples of all events are in the stream: each
// partition's last samples message speaks of the end of its last leg. It returns
// how many events the stream has.
func finished(ctx context.Context, js jetstream.JetStream, least int) (int, error) {
	events, err := js.Stream(ctx, stream.Events)
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	var have uint64
	if err := poll(ctx, "all events in the stream", func() (bool, error) {
		info, err := events.Info(ctx)
		if err == nil {
			have = info.State.Msgs
		}
		return have >= uint64(least), err
	}); err != nil {
		return 0, fmt.Errorf("%d of %d events are in the stream: %w", have, least, err)
	}
	info, err := events.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	wanted, err := lastEnds(ctx, events)
	if err != nil {
		return 0, err
	}
	samples, err := js.Stream(ctx, stream.Samples)
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	for p, sequence := range wanted {
		if err := through(ctx, samples, p, sequence); err != nil {
			return 0, err
		}
	}
	return int(info.State.Msgs), nil
}

// through waits until the samples of a partition's events up to sequence are out.
func through(ctx context.Context, samples jetstream.Stream, partition int, sequence uint64) error {
	return poll(ctx, fmt.Sprintf("the last samples of partition %d", partition), func() (bool, error) {
		msg, err := samples.GetLastMsgForSubject(ctx, stream.SampleSubject(partition))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		reach, err := stream.ReadReach(msg.Header)
		return reach.Through >= sequence, err
	})
}

// lastEnds is the sequence of the last CHANNEL_HANGUP_COMPLETE of each partition.
func lastEnds(ctx context.Context, events jetstream.Stream) (map[int]uint64, error) {
	out := map[int]uint64{}
	for p := range partitions {
		msg, err := events.GetLastMsgForSubject(ctx, strings.TrimSuffix(stream.EventFilter(p), ">")+instance+".CHANNEL_HANGUP_COMPLETE")
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
		out[p] = msg.Sequence
	}
	return out, nil
}

// exported waits until the exporters have settled every samples message.
func exported(ctx context.Context, js jetstream.JetStream) error {
	return poll(ctx, "the export of all samples", func() (bool, error) {
		consumer, err := js.Consumer(ctx, stream.Samples, stream.ExportConsumer)
		if err != nil {
			return false, err
		}
		info := consumer.CachedInfo()
		return info.NumPending == 0 && info.NumAckPending == 0, nil
	})
}
