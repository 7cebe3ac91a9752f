package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fsagent/fsagent/internal/freeport"
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
	legs        int
	calculators []*fleet.Process
	builder     builder
	http        string // URL of the first calculator, if it serves one
}

func (b *bench) crowd(ctx context.Context, legs, calculators int, more ...string) (*crowd, error) {
	s, dir, err := b.fresh()
	if err != nil {
		return nil, err
	}
	c := &crowd{nats: s, legs: legs, builder: builder{now: time.Now().Truncate(time.Second)}}
	if c.js, c.done, err = connect(ctx, s, true); err != nil {
		return nil, err
	}
	if c.calculators, err = b.services(s, dir, "", map[string]int{"calculator": calculators}, more...); err != nil {
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
// how long its partitions were silent, with reports coming for all of them: with
// the default lease, and with a short one.
func (b *bench) takeOver(ctx context.Context) ([]Row, error) {
	var rows []Row
	for _, lease := range []time.Duration{3 * time.Second, time.Second} {
		row, err := b.takeOverIn(ctx, lease)
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (b *bench) takeOverIn(ctx context.Context, lease time.Duration) (Row, error) {
	const legs, rate, seconds = 100_000, 5_000, 20
	c, err := b.crowd(ctx, legs, 2, "FSAGENT_CALCULATOR_LEASE="+lease.String())
	if err != nil {
		return Row{}, err
	}
	defer c.done()
	began := time.Now()
	killed := time.AfterFunc(seconds/4*time.Second, c.calculators[0].Kill)
	defer killed.Stop()
	if err := feed(ctx, c.js, rate*seconds, rate, func(i int) (*nats.Msg, error) { return c.builder.report(i%legs, 1+i/legs) }); err != nil {
		return Row{}, err
	}
	if err := c.caughtUp(ctx); err != nil {
		return Row{}, err
	}
	silence, err := longestSilence(ctx, c.js, began)
	if err != nil {
		return Row{}, err
	}
	row := Row{Name: fmt.Sprintf("take-over, lease %v", lease), Events: rate * seconds, Seconds: time.Since(began).Seconds(), CPU: map[string]float64{},
		Note: fmt.Sprintf("longest silence of a partition %v, 100,000 live legs", silence.Round(10*time.Millisecond))}
	return row, stopAll(append(c.calculators[1:], c.nats.Servers...))
}

// longestSilence is the longest time between two messages of samples of one
// partition, as the server received them.
func longestSilence(ctx context.Context, js jetstream.JetStream, since time.Time) (longest time.Duration, err error) {
	last := map[string]time.Time{}
	err = readAll(ctx, js, stream.Samples, true, func(msg jetstream.Msg, at time.Time) error {
		if before, ok := last[msg.Subject()]; ok && at.After(since) {
			longest = max(longest, at.Sub(before))
		}
		last[msg.Subject()] = at
		return nil
	})
	return longest, err
}

// ended lets a million legs begin and end, and tells what is left of them.
func (b *bench) ended(ctx context.Context) ([]Row, error) {
	const legs = 1_000_000
	port, err := freeport.Find()
	if err != nil {
		return nil, err
	}
	c, err := b.crowd(ctx, 1000, 1, "FSAGENT_HTTP_HOST=127.0.0.1", fmt.Sprintf("FSAGENT_HTTP_PORT=%d", port), "FSAGENT_HTTP_PROFILE=true")
	if err != nil {
		return nil, err
	}
	defer c.done()
	c.http = fmt.Sprintf("http://127.0.0.1:%d", port)
	// First as many as are remembered at once, so that buffers are as large as they
	// get: what grows from then on grows for ever.
	const first = 200_000
	if err := c.pass(ctx, 1, 0, first); err != nil {
		return nil, err
	}
	before, err := c.size(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := c.pass(ctx, 2, first, legs); err != nil {
		return nil, err
	}
	seconds := time.Since(began).Seconds() - settling.Seconds()
	after, err := c.size(ctx)
	if err != nil {
		return nil, err
	}
	row := Row{Name: "1,000,000 ended legs", Events: 2 * legs, Seconds: seconds, CPU: map[string]float64{},
		Note: fmt.Sprintf("keys %d → %d, bucket %d → %d kB, heap %d → %d kB, resident %d → %d MB",
			before.keys, after.keys, before.bytes>>10, after.bytes>>10, before.heap>>10, after.heap>>10, before.rss>>20, after.rss>>20)}
	return []Row{row}, stopAll(c.processes())
}

// settling is how long it takes the partitions to tidy up, which they do when they
// had no events for two looks (15 s each), and the server to take away the delete
// markers (1 minute, and as long again until it looks).
const settling = 150 * time.Second

// pass lets count legs begin and end that have numbers after so many others, then
// all be forgotten as the living ones report once more, and waits until nothing is
// left to do. round numbers the passes from 1.
func (c *crowd) pass(ctx context.Context, round, after, count int) error {
	// 5 minutes of linger at 3,000 legs a second are 900,000 legs remembered: the
	// events' own clock moves as if there were 500.
	if err := feed(ctx, c.js, 2*count, 0, func(i int) (*nats.Msg, error) {
		c.builder.now = c.builder.now.Add(time.Millisecond)
		if number := c.legs + after + i/2; i%2 == 0 {
			return c.builder.answer(number)
		} else {
			return c.builder.hangup(number)
		}
	}); err != nil {
		return err
	}
	// Past the linger time, on every partition.
	c.builder.now = c.builder.now.Add(10 * time.Minute)
	if err := feed(ctx, c.js, c.legs, 0, func(i int) (*nats.Msg, error) { return c.builder.report(i, round) }); err != nil {
		return err
	}
	if err := c.caughtUp(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(settling):
		return nil
	}
}

// size is what the state takes: keys and bytes of the bucket, delete markers
// included, and the memory of the calculator: what it has from the system, and
// what its garbage collector found alive.
type size struct {
	keys, bytes uint64
	rss, heap   int64
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
	heap, err := c.heap(ctx)
	if err != nil {
		return size{}, err
	}
	rss, err := c.calculators[0].RSS()
	return size{info.State.Msgs, info.State.Bytes, rss, heap}, err
}

// heap is what the garbage collector finds alive in the calculator, bytes. What is
// in pools goes with the second collection.
func (c *crowd) heap(ctx context.Context) (int64, error) {
	for range 2 {
		if _, err := c.get(ctx, "/debug/pprof/heap?gc=1"); err != nil {
			return 0, err
		}
	}
	page, err := c.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "go_gc_heap_live_bytes "); ok {
			bytes, err := strconv.ParseFloat(value, 64)
			return int64(bytes), err
		}
	}
	return 0, fmt.Errorf("bench: %s/metrics does not tell the live heap", c.http)
}

// get asks the calculator's own HTTP server.
func (c *crowd) get(ctx context.Context, path string) (page string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.http+path, nil)
	if err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", fmt.Errorf("bench: %s: %w", path, err)
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("bench: %s: %s", path, answer.Status)
	}
	return string(body), nil
}
