package calculator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/calculator"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
)

const instance = "fs-1"

// load reads the events of recordings, one after the other.
func load(t testing.TB, names ...string) [][]byte {
	t.Helper()
	var out [][]byte
	for _, n := range names {
		r, err := recording.Load(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r.Events()...)
	}
	return out
}

// subject of an event, as the collector would publish it.
func subject(raw []byte, partitions int) string {
	id, _ := event.Scan(raw)
	channel := id.UniqueID
	if len(channel) == 0 {
		channel = []byte(instance)
	}
	return stream.EventSubject(stream.Partition(channel, partitions), instance, id.Name)
}

func publish(t testing.TB, js jetstream.JetStream, events [][]byte, partitions int) {
	t.Helper()
	msgs := make([]*nats.Msg, len(events))
	for i, raw := range events {
		msgs[i] = &nats.Msg{Subject: subject(raw, partitions), Data: raw}
	}
	publishMessages(t, js, msgs)
}

func publishMessages(t testing.TB, js jetstream.JetStream, msgs []*nats.Msg) {
	t.Helper()
	for chunk := range slices.Chunk(msgs, 500) {
		for _, msg := range chunk {
			if _, err := js.PublishMsgAsync(msg); err != nil {
				t.Fatal(err)
			}
		}
		<-js.PublishAsyncComplete()
	}
}

// expected is what the events make, by the step alone: per partition, in order.
func expected(events [][]byte, partitions int) []string {
	tables := make([]*leg.Table, partitions)
	for p := range tables {
		tables[p] = leg.NewTable(leg.DefaultParams())
	}
	var out []string
	for i, raw := range events {
		id, _ := event.Scan(raw)
		channel := id.UniqueID
		if len(channel) == 0 {
			channel = []byte(instance)
		}
		tables[stream.Partition(channel, partitions)].Apply(uint64(i+1), instance, raw, func(s *fsagentv1.Sample) {
			out = append(out, encode(s))
		})
	}
	slices.Sort(out)
	return out
}

func encode(s *fsagentv1.Sample) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// messages of the samples stream, in order.
func messages(t testing.TB, js jetstream.JetStream) (out []*jetstream.RawStreamMsg) {
	t.Helper()
	s, err := js.Stream(t.Context(), stream.Samples)
	if err != nil {
		t.Fatal(err)
	}
	state := s.CachedInfo().State
	for seq := max(state.FirstSeq, 1); seq <= state.LastSeq; seq++ {
		msg, err := s.GetMsg(t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // a test has deleted it
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, msg)
	}
	return out
}

// published reads all samples of the stream, sorted.
func published(t testing.TB, js jetstream.JetStream) (out []string) {
	t.Helper()
	for _, msg := range messages(t, js) {
		var batch fsagentv1.SampleBatch
		if err := proto.Unmarshal(msg.Data, &batch); err != nil {
			t.Fatal(err)
		}
		for _, one := range batch.GetSamples() {
			out = append(out, encode(one))
		}
	}
	slices.Sort(out)
	return out
}

// await waits until the stream has as many samples as wanted, and compares.
func await(t testing.TB, js jetstream.JetStream, want []string) {
	t.Helper()
	var got []string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if got = published(t, js); len(got) >= len(want) {
			break
		}
	}
	compare(t, got, want)
}

func compare(t testing.TB, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	count := map[string]int{}
	for _, s := range want {
		count[s]++
	}
	for _, s := range got {
		count[s]--
	}
	shown := 0
	for s, n := range count {
		if n != 0 && shown < 5 {
			shown++
			var one fsagentv1.Sample
			if err := proto.Unmarshal([]byte(s), &one); err != nil {
				t.Fatal(err)
			}
			t.Errorf("%+d of %v", -n, &one)
		}
	}
	t.Errorf("got %d samples, want %d", len(got), len(want))
}

// replica is a calculator of a test.
type replica struct {
	*calculator.Calculator
	reg  *prometheus.Registry
	nc   *nats.Conn
	stop context.CancelFunc
	done chan error
}

func start(t testing.TB, s *natstest.Server, settings stream.Settings, cfg calculator.Config) *replica {
	t.Helper()
	return startOn(t, s.Connect(), settings, cfg)
}

func startOn(t testing.TB, nc *nats.Conn, settings stream.Settings, cfg calculator.Config) *replica {
	t.Helper()
	reg := prometheus.NewRegistry()
	c, err := calculator.New(cfg, nc, settings.Partitions, natstest.Logger(t), reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &replica{Calculator: c, reg: reg, nc: nc, stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- c.Run(ctx) }()
	t.Cleanup(func() { r.end(t) })
	return r
}

// end stops the replica in order.
func (r *replica) end(t testing.TB) {
	t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
		r.done <- nil
	case <-time.After(2 * time.Minute):
		t.Error("the calculator does not stop")
	}
}

// metric is the value of a counter or gauge with one label.
func (r *replica) metric(t testing.TB, name, label string) float64 {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s of %s", name, label)
	return 0
}

func quick() calculator.Config {
	cfg := calculator.DefaultConfig()
	cfg.Lease = 600 * time.Millisecond
	cfg.CheckpointInterval = 100 * time.Millisecond
	cfg.FlushInterval = 5 * time.Millisecond
	return cfg
}

func owned(r *replica) []int { return r.Health().(calculator.Health).Partitions }

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestSamplesOfRecordings(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	settings := stream.DefaultSettings()
	js := s.JetStream(settings)
	events := load(t, "02-bridged-pcmu", "03g-loss5-only", "05-load-80-calls", "06a-hold", "07-failed")
	publish(t, js, events, settings.Partitions)
	start(t, s, settings, quick())
	await(t, js, expected(events, settings.Partitions))
}

func TestPackedMessages(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	settings := stream.DefaultSettings()
	settings.Partitions = 1
	js := s.JetStream(settings)
	events := load(t, "02-bridged-pcmu", "03g-loss5-only")
	for chunk := range slices.Chunk(events, 7) {
		var packed []byte
		for _, raw := range chunk {
			packed = event.AppendFrame(packed, raw)
		}
		if _, err := js.Publish(t.Context(), stream.EventSubject(0, instance, []byte("PACKED")), packed); err != nil {
			t.Fatal(err)
		}
	}
	start(t, s, settings, quick())
	await(t, js, expected(events, 1))
}

// One event can end more legs than a message has room for: FreeSWITCH has started
// anew. A successor that finds a part of their samples published makes the others.
func TestManyEndAtOnce(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	settings := stream.DefaultSettings()
	settings.Partitions = 1
	js := s.JetStream(settings)
	var events [][]byte
	at := func(core, name, more string) {
		n := len(events) + 1
		events = append(events, fmt.Appendf(nil, "Event-Name: %s\nCore-UUID: %s\nEvent-Date-Timestamp: %d\nEvent-Sequence: %d\n%s\n\n",
			name, core, 1_700_000_000_000_000+int64(n)*1000, n, more))
	}
	const legs = 6000
	for i := range legs {
		at("old", "CHANNEL_CREATE", fmt.Sprintf("Unique-ID: %08d-0000-4000-8000-000000000000\nvariable_sip_call_id: call-%d-of-some-length%%40198.51.100.7", i, i))
	}
	at("new", "HEARTBEAT", "")
	at("new", "FSAGENT_SYNC", "Fsagent-Instance: fs-1\nFsagent-Channels: _undef_")
	want := expected(events, settings.Partitions)
	if len(want) != legs {
		t.Fatalf("%d samples, want %d", len(want), legs)
	}
	publish(t, js, events, settings.Partitions)
	r := start(t, s, settings, quick())
	await(t, js, want)
	r.end(t)

	samples, err := js.Stream(t.Context(), stream.Samples)
	if err != nil {
		t.Fatal(err)
	}
	parts := 0
	for _, msg := range messages(t, js) {
		reach, err := stream.ReadReach(msg.Header)
		if err != nil {
			t.Fatal(err)
		}
		if parts > 0 { // only the first part is left
			if err := samples.DeleteMsg(t.Context(), msg.Sequence); err != nil {
				t.Fatal(err)
			}
		}
		if reach.Part > 0 {
			parts++
		}
	}
	if parts < 2 {
		t.Fatalf("%d messages with a part of an event, want several", parts)
	}
	bucket, err := js.Stream(t.Context(), stream.StateStream)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{stream.OwnerKey(0), stream.SegmentFilter(0)} {
		if err := bucket.Purge(t.Context(), jetstream.WithPurgeSubject(stream.StateSubject(key))); err != nil {
			t.Fatal(err)
		}
	}
	start(t, s, settings, quick())
	await(t, js, want)
}

// The events stream is made anew and has come beyond the old cursor before anybody
// notices: every event of it is stepped once, and by legs of its own.
func TestStreamMadeAnewAhead(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	settings := stream.DefaultSettings()
	settings.Partitions = 1
	js := s.JetStream(settings)
	ends := func(core string, n int) (events [][]byte) {
		for i := range n {
			events = append(events, fmt.Appendf(nil, "Event-Name: CHANNEL_HANGUP_COMPLETE\nCore-UUID: %s\nEvent-Date-Timestamp: %d\nEvent-Sequence: %d\nUnique-ID: %s-%d\n\n",
				core, 1_700_000_000_000_000+int64(i)*1000, i+1, core, i))
		}
		return events
	}
	old, new := ends("old", 20), ends("new", 100)
	publish(t, js, old, 1)
	start(t, s, settings, quick())
	await(t, js, expected(old, 1))
	if err := js.DeleteStream(t.Context(), stream.Events); err != nil {
		t.Fatal(err)
	}
	if err := stream.Ensure(t.Context(), js, settings); err != nil {
		t.Fatal(err)
	}
	publish(t, js, new, 1)
	want := append(expected(old, 1), expected(new, 1)...)
	slices.Sort(want)
	await(t, js, want)
}

// Streams in the memory of a cluster come back empty and as old as before, each with
// its servers: what is published afterwards is stepped, though its sequences were read
// before.
func TestMemoryOfCluster(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{1, 3} {
		t.Run(fmt.Sprint(replicas, " replicas"), func(t *testing.T) {
			t.Parallel()
			servers := natstest.Cluster(t, 3)
			nc, err := stream.Connect(stream.Connection{URL: servers.URL()}, t.Name(), natstest.Logger(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			settings := stream.DefaultSettings()
			settings.Partitions, settings.Storage, settings.Replicas = 1, stream.Memory, replicas
			if err := stream.EnsureRetry(t.Context(), js, settings, natstest.Logger(t)); err != nil {
				t.Fatal(err)
			}
			events := load(t, "02-bridged-pcmu")
			publish(t, js, events, 1)
			startOn(t, nc, settings, quick())
			await(t, js, expected(events, 1))
			s, err := js.Stream(t.Context(), stream.Events)
			if err != nil {
				t.Fatal(err)
			}
			if replicas == 1 {
				servers.Restart(s.CachedInfo().Cluster.Leader)
			} else {
				servers.Restart()
			}
			if err := stream.EnsureRetry(t.Context(), js, settings, natstest.Logger(t)); err != nil {
				t.Fatal(err)
			}
			after := load(t, "01-single-pcmu")
			if len(after) >= len(events) {
				t.Fatal("they would come behind what was read")
			}
			for i, raw := range after {
				for { // until there is a leader
					_, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject(raw, 1), Data: raw}, jetstream.WithMsgID(fmt.Sprint(i)))
					if err == nil {
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
			want := expected(after, 1)
			var got []string
			for end := time.Now().Add(2 * time.Minute); len(got) < len(want) && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				all := published(t, js)
				got = slices.DeleteFunc(all, func(s string) bool { return !slices.Contains(want, s) })
			}
			compare(t, got, want)
		})
	}
}

// What cannot be understood is counted, and the partition goes on.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	settings := stream.DefaultSettings()
	settings.Partitions = 1
	js := s.JetStream(settings)
	events := load(t, "02-bridged-pcmu")
	var msgs []*nats.Msg
	for i, raw := range events {
		for _, bad := range [][]byte{nil, []byte("\x00\xff"), raw[:100], bytes.ReplaceAll(raw, []byte("Unique-ID"), []byte("Unique-Id")), []byte("Content-Length: 99999\n\n")} {
			msgs = append(msgs, &nats.Msg{Subject: fmt.Sprintf("fsagent.events.0.%s.X%d", instance, i), Data: bad})
		}
		msgs = append(msgs, &nats.Msg{Subject: "fsagent.events.0.odd", Data: raw}, &nats.Msg{Subject: subject(raw, 1), Data: raw})
	}
	publishMessages(t, js, msgs)
	r := start(t, s, settings, quick())
	await(t, js, expected(events, 1))
	if n := r.Stats().Rejected["malformed"]; n == 0 {
		t.Errorf("nothing was rejected: %+v", r.Stats())
	}
}

// A replica that leaves in order hands over; one that vanishes is replaced.
func TestReplicasComeAndGo(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	settings := stream.DefaultSettings()
	js := s.JetStream(settings)
	events := load(t, "05-load-80-calls")
	want := expected(events, settings.Partitions)
	parts := slices.Collect(slices.Chunk(events, len(events)/5+1))

	a := start(t, s, settings, quick())
	until(t, "a owns all", func() bool { return len(owned(a)) == 16 })
	publish(t, js, parts[0], settings.Partitions)

	b := start(t, s, settings, quick())
	publish(t, js, parts[1], settings.Partitions)
	until(t, "two share", func() bool { return len(owned(a)) == 8 && len(owned(b)) == 8 })

	c := start(t, s, settings, quick())
	publish(t, js, parts[2], settings.Partitions)
	until(t, "three share", func() bool { return len(owned(a))+len(owned(b))+len(owned(c)) == 16 && len(owned(c)) >= 5 })

	a.nc.Close() // vanishes: nothing of it reaches the server any more
	publish(t, js, parts[3], settings.Partitions)
	until(t, "b and c share", func() bool { return len(owned(b)) == 8 && len(owned(c)) == 8 })

	b.end(t) // leaves
	publish(t, js, parts[4], settings.Partitions)
	until(t, "c owns all", func() bool { return len(owned(c)) == 16 })
	await(t, js, want)
}

// The stream is smaller than what comes at once: a calculator that is at work misses
// events that were removed before it came to them, and says so.
func TestEventsRemovedAhead(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	settings := stream.DefaultSettings()
	settings.Partitions, settings.EventsMaxBytes = 1, 300_000
	js := s.JetStream(settings)
	r := start(t, s, settings, quick())
	until(t, "it owns the partition", func() bool { return len(owned(r)) == 1 })
	events := load(t, "05-load-80-calls")
	for range 5 {
		publish(t, js, events, 1)
	}
	until(t, "the gap is counted", func() bool { return r.metric(t, "fsagent_event_gaps_total", "events") > 0 })
	until(t, "it has read what is there", func() bool { return r.metric(t, "fsagent_events_behind", "0") == 0 })
	r.end(t)
	if n := r.metric(t, "fsagent_event_gaps_total", "state") + r.metric(t, "fsagent_event_gaps_total", "stream"); n != 0 {
		t.Errorf("%v other gaps, want none", n)
	}
}

// The server goes and comes back with its data.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	settings := stream.DefaultSettings()
	js := s.JetStream(settings)
	events := load(t, "05-load-80-calls")
	want := expected(events, settings.Partitions)
	parts := slices.Collect(slices.Chunk(events, len(events)/3+1))
	r := start(t, s, settings, quick())
	for i, part := range parts {
		publish(t, js, part, settings.Partitions)
		if i < 2 {
			restart := s.Stop()
			restart()
			for _, nc := range []*nats.Conn{js.Conn(), r.nc} {
				until(t, "the clients are back", func() bool { return nc.Stats().Reconnects > uint64(i) && nc.IsConnected() })
			}
		}
	}
	await(t, js, want)
}
