package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/fsagent/fleet"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Built events, for measurements that need more legs at once than were recorded.

const builtCore = "f5a9e570-0000-4000-8000-0000000000ff"

// builder makes events of numbered legs in one FreeSWITCH process.
type builder struct {
	sequence uint64
	now      time.Time // of the next event
}

func channelOf(leg int) string {
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(leg)*2654435761, leg)
}

func (b *builder) event(name string, leg int, lines ...string) (*nats.Msg, error) {
	b.sequence++
	b.now = b.now.Add(20 * time.Microsecond)
	head := []string{
		"Event-Name: " + name, "Core-UUID: " + builtCore,
		fmt.Sprintf("Event-Date-Timestamp: %d", b.now.UnixMicro()), fmt.Sprintf("Event-Sequence: %d", b.sequence),
		"Unique-ID: " + channelOf(leg),
	}
	return message([]byte(strings.Join(append(head, lines...), "\n") + "\n\n"))
}

func (b *builder) answer(leg int) (*nats.Msg, error) {
	return b.event("CHANNEL_ANSWER", leg, "Call-Direction: inbound", "Channel-Read-Codec-Name: PCMU", "Channel-Write-Codec-Name: PCMU",
		fmt.Sprintf("Caller-Channel-Created-Time: %d", b.now.UnixMicro()), fmt.Sprintf("Caller-Channel-Answered-Time: %d", b.now.UnixMicro()),
		"variable_sip_call_id: "+channelOf(leg)+"%40example.net", "variable_sip_from_host: example.net",
		"variable_local_media_ip: 192.0.2.1", "variable_remote_media_ip: 192.0.2.2", "variable_rtp_use_codec_name: PCMU")
}

// report is the round-th report of what FreeSWITCH received on a leg.
func (b *builder) report(leg, round int) (*nats.Msg, error) {
	return b.event("SEND_RTCP_MESSAGE", leg, "SSRC: 1305b307", "NTP-Most-Significant-Word: 4004418646", "NTP-Least-Significant-Word: 1287755749",
		"RTP-Timestamp: 32160", "Sender-Packet-Count: 199", "Octect-Packet-Count: 31840", "Last-RTP-Timestamp: 32160",
		fmt.Sprintf("Capture-Time: %d", b.now.UnixMicro()), "Source-SSRC: 1305b307", "Source-Fraction: 0", "Source-Lost: 1",
		fmt.Sprintf("Source-Highest-Sequence-Number-Received: %d", 20000+250*round), "Source-Jitter: 12", "Source-LSR: 0", "Source-DLSR: 0")
}

func (b *builder) hangup(leg int) (*nats.Msg, error) {
	return b.event("CHANNEL_HANGUP_COMPLETE", leg, "Hangup-Cause: NORMAL_CLEARING", "Call-Direction: inbound",
		fmt.Sprintf("Caller-Channel-Answered-Time: %d", b.now.UnixMicro()-1000), "variable_rtp_audio_in_packet_count: 500",
		"variable_rtp_audio_out_packet_count: 500", "variable_rtp_audio_in_media_bytes: 86000", "variable_rtp_audio_out_media_bytes: 86000")
}

// session is how many messages one fast publisher sends.
const session = 100_000

// feed publishes what make makes, at a rate (events a second; 0 is as fast as the
// server takes them).
func feed(ctx context.Context, js jetstream.JetStream, n, rate int, make func(i int) (*nats.Msg, error)) error {
	for from := 0; from < n; from += session {
		if err := feedSession(ctx, js, min(session, n-from), rate, func(i int) (*nats.Msg, error) { return make(from + i) }); err != nil {
			return err
		}
	}
	return nil
}

func feedSession(ctx context.Context, js jetstream.JetStream, n, rate int, make func(i int) (*nats.Msg, error)) error {
	fast, err := jetstreamext.NewFastPublisher(js, jetstreamext.FastPublishFlowControl{Flow: 500, MaxOutstandingAcks: 4, AckTimeout: 30 * time.Second})
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	began := time.Now()
	for i := range n {
		msg, err := make(i)
		if err != nil {
			return err
		}
		if _, err := fast.AddMsg(msg); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		if rate > 0 && i%50 == 0 {
			time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		}
	}
	if _, err := fast.Close(ctx); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// crowd is a server with calculators that hold so many live legs.
type crowd struct {
	nats        *fleet.NATS
	js          jetstream.JetStream
	done        func()
	calculators []*fleet.Process
	builder     builder
}

func (b *bench) crowd(ctx context.Context, legs, calculators int) (*crowd, error) {
	s, dir, err := b.fresh()
	if err != nil {
		return nil, err
	}
	c := &crowd{nats: s, builder: builder{now: time.Now().Truncate(time.Second)}}
	if c.js, c.done, err = connect(ctx, s, true); err != nil {
		return nil, err
	}
	if c.calculators, err = b.services(s, dir, "", map[string]int{"calculator": calculators}); err != nil {
		return nil, err
	}
	if err := claimed(ctx, c.js); err != nil {
		return nil, err
	}
	if err := feed(ctx, c.js, 2*legs, 0, func(i int) (*nats.Msg, error) {
		if i < legs {
			return c.builder.answer(i)
		}
		return c.builder.report(i-legs, 0)
	}); err != nil {
		return nil, err
	}
	return c, c.caughtUp(ctx)
}

func (c *crowd) processes() []*fleet.Process { return append(c.calculators, c.nats.Servers...) }

// caughtUp waits until the samples of every partition's last event are out. The
// last event of each partition must make one.
func (c *crowd) caughtUp(ctx context.Context) error {
	events, err := c.js.Stream(ctx, stream.Events)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	samples, err := c.js.Stream(ctx, stream.Samples)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	for p := range partitions {
		last, err := events.GetLastMsgForSubject(ctx, stream.EventFilter(p))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		} else if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		if err := through(ctx, samples, p, last.Sequence); err != nil {
			return err
		}
	}
	return nil
}

// crowds compares the cost of an event at 1,000 live legs with that at 100,000.
func (b *bench) crowds(ctx context.Context) ([]Row, error) {
	var rows []Row
	for _, legs := range []int{1_000, 100_000} {
		c, err := b.crowd(ctx, legs, 2)
		if err != nil {
			return nil, err
		}
		const rate, seconds = 10_000, 20
		var used cpu
		if err := used.start(c.processes()); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := feed(ctx, c.js, rate*seconds, rate, func(i int) (*nats.Msg, error) { return c.builder.report(i%legs, 1+i/legs) }); err != nil {
			return nil, err
		}
		if err := c.caughtUp(ctx); err != nil {
			return nil, err
		}
		row := Row{Name: fmt.Sprintf("%d live legs", legs), Events: rate * seconds, Seconds: time.Since(began).Seconds()}
		if row.CPU, err = used.used(); err != nil {
			return nil, err
		}
		for _, p := range c.calculators {
			rss, err := p.RSS()
			if err != nil {
				return nil, err
			}
			row.Note += fmt.Sprintf("%s %d MB  ", p.Name, rss>>20)
		}
		rows = append(rows, row)
		c.done()
		if err := stopAll(c.processes()); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// takeOver kills one of two calculators that hold 100,000 live legs, and tells
// how long its partitions were silent, with reports coming for all of them.
func (b *bench) takeOver(ctx context.Context) ([]Row, error) {
	const legs, rate, seconds = 100_000, 5_000, 20
	c, err := b.crowd(ctx, legs, 2)
	if err != nil {
		return nil, err
	}
	defer c.done()
	began := time.Now()
	killed := time.AfterFunc(seconds/4*time.Second, c.calculators[0].Kill)
	defer killed.Stop()
	if err := feed(ctx, c.js, rate*seconds, rate, func(i int) (*nats.Msg, error) { return c.builder.report(i%legs, 1+i/legs) }); err != nil {
		return nil, err
	}
	if err := c.caughtUp(ctx); err != nil {
		return nil, err
	}
	silence, err := longestSilence(ctx, c.js, began)
	if err != nil {
		return nil, err
	}
	row := Row{Name: "take-over", Events: rate * seconds, Seconds: time.Since(began).Seconds(), CPU: map[string]float64{},
		Note: fmt.Sprintf("longest silence of a partition %v, 100,000 live legs, default lease", silence.Round(10*time.Millisecond))}
	return []Row{row}, stopAll(append(c.calculators[1:], c.nats.Servers...))
}

// longestSilence is the longest time between two messages of samples of one
// partition, as the server received them.
func longestSilence(ctx context.Context, js jetstream.JetStream, since time.Time) (longest time.Duration, err error) {
	consumer, err := js.OrderedConsumer(ctx, stream.Samples, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since, HeadersOnly: true,
	})
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	last := map[string]time.Time{}
	for {
		batch, err := consumer.FetchNoWait(5000)
		if err != nil {
			return 0, fmt.Errorf("bench: %w", err)
		}
		n := 0
		for msg := range batch.Messages() {
			n++
			meta, err := msg.Metadata()
			if err != nil {
				return 0, fmt.Errorf("bench: %w", err)
			}
			if before, ok := last[msg.Subject()]; ok {
				longest = max(longest, meta.Timestamp.Sub(before))
			}
			last[msg.Subject()] = meta.Timestamp
		}
		if n == 0 {
			return longest, nil
		}
	}
}

// ended lets a million legs begin and end, and tells what is left of them.
func (b *bench) ended(ctx context.Context) ([]Row, error) {
	const legs = 1_000_000
	c, err := b.crowd(ctx, 1000, 1)
	if err != nil {
		return nil, err
	}
	defer c.done()
	before, err := c.size(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	// 5 minutes of linger at 3,000 legs a second are 900,000 legs remembered: the
	// events' own clock moves as if there were 500.
	if err := feed(ctx, c.js, 2*legs, 0, func(i int) (*nats.Msg, error) {
		c.builder.now = c.builder.now.Add(time.Millisecond)
		if i%2 == 0 {
			return c.builder.answer(1000 + i/2)
		}
		return c.builder.hangup(1000 + i/2)
	}); err != nil {
		return nil, err
	}
	// Past the linger time, on every partition.
	c.builder.now = c.builder.now.Add(10 * time.Minute)
	if err := feed(ctx, c.js, 1000, 0, func(i int) (*nats.Msg, error) { return c.builder.report(i, 5) }); err != nil {
		return nil, err
	}
	if err := c.caughtUp(ctx); err != nil {
		return nil, err
	}
	seconds := time.Since(began).Seconds()
	if err := poll(ctx, "the deletion of the ended legs", func() (bool, error) {
		now, err := c.size(ctx)
		return now.keys <= before.keys+100, err
	}); err != nil {
		return nil, err
	}
	after, err := c.size(ctx)
	if err != nil {
		return nil, err
	}
	row := Row{Name: "1,000,000 ended legs", Events: 2 * legs, Seconds: seconds, CPU: map[string]float64{},
		Note: fmt.Sprintf("keys %d → %d, bucket %d → %d kB, calculator %d → %d MB", before.keys, after.keys, before.bytes>>10, after.bytes>>10, before.rss>>20, after.rss>>20)}
	return []Row{row}, stopAll(c.processes())
}

// size is what the state takes: keys and bytes of the bucket, delete markers
// included, and the memory of the calculator.
type size struct {
	keys, bytes uint64
	rss         int64
}

func (c *crowd) size(ctx context.Context) (size, error) {
	s, err := c.js.Stream(ctx, stream.StateStream)
	if err != nil {
		return size{}, fmt.Errorf("bench: %w", err)
	}
	info, err := s.Info(ctx)
	if err != nil {
		return size{}, fmt.Errorf("bench: %w", err)
	}
	rss, err := c.calculators[0].RSS()
	return size{info.State.Msgs, info.State.Bytes, rss}, err
}
