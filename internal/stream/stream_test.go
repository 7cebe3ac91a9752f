package stream_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
)

func TestEnsure(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t).JetStream(stream.DefaultSettings())
	if err := stream.Ensure(t.Context(), js, stream.DefaultSettings()); err != nil {
		t.Errorf("a second time: %v", err)
	}
	for _, c := range []struct {
		name   string
		change func(*stream.Settings)
		says   string
	}{
		{"partitions", func(s *stream.Settings) { s.Partitions = 4 }, "made with 16 partitions, configured 4"},
		{"storage", func(s *stream.Settings) { s.Storage = stream.Memory }, "storage"},
		{"replicas", func(s *stream.Settings) { s.Replicas = 3 }, "replicas"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stream.DefaultSettings()
			c.change(&s)
			err := stream.Ensure(t.Context(), js, s)
			if !errors.Is(err, stream.ErrSettings) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want ErrSettings naming %q", err, c.says)
			}
		})
	}
	relaxed := stream.DefaultSettings()
	relaxed.EventsMaxAge = time.Hour // an operator may have changed a limit
	if err := stream.Ensure(t.Context(), js, relaxed); err != nil {
		t.Errorf("other limits: %v", err)
	}
}

func TestEnsureAtOnce(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	js, err := jetstream.New(s.Connect())
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error)
	for range 8 {
		go func() { results <- stream.EnsureRetry(t.Context(), js, stream.DefaultSettings(), natstest.Logger(t)) }()
	}
	for range 8 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestEventSubject(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, want string }{
		{"CHANNEL_CREATE", "fsagent.events.3.fs-1.CHANNEL_CREATE"},
		{"", "fsagent.events.3.fs-1.UNKNOWN"},
		{"a.b", "fsagent.events.3.fs-1.UNKNOWN"},
		{"X >", "fsagent.events.3.fs-1.UNKNOWN"},
		{strings.Repeat("A", 65), "fsagent.events.3.fs-1.UNKNOWN"},
	} {
		got := stream.EventSubject(3, "fs-1", []byte(c.name))
		if got != c.want {
			t.Errorf("name %q: got %s, want %s", c.name, got, c.want)
		}
		if instance, ok := stream.Instance(got); !ok || instance != "fs-1" {
			t.Errorf("Instance(%s) = %q, %v", got, instance, ok)
		}
		if p, ok := stream.PartitionOf(got); !ok || p != 3 {
			t.Errorf("PartitionOf(%s) = %d, %v", got, p, ok)
		}
	}
	for _, bad := range []string{"", "fsagent.events.x.fs.Y", "fsagent.events.-1.fs.Y", "fsagent.samples.3", "other.3.fs.X"} {
		if _, ok := stream.PartitionOf(bad); ok {
			t.Errorf("PartitionOf(%q) is ok", bad)
		}
	}
	for _, bad := range []string{"", "fsagent.events.3", "fsagent.events.3.fs", "fsagent.samples.3", "fsagent.events.3..X", "fsagent.events.3.a.b.c"} {
		if _, ok := stream.Instance(bad); ok {
			t.Errorf("Instance(%q) is ok", bad)
		}
	}
}

// The partition of an id is part of the format of the stream: it must never change.
func TestPartitionIsStable(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]int{
		"":                                     1,
		"ff63b5fa-955b-4c2f-a6fc-23010ebc8a97": 2,
		"1efb7e8f-87f8-48ad-96d2-d9fdc43754d8": 14,
	} {
		if got := stream.Partition([]byte(id), 16); got != want {
			t.Errorf("Partition(%q) = %d, want %d", id, got, want)
		}
	}
	var count [16]int
	for i := range 16_000 {
		count[stream.Partition(fmt.Appendf(nil, "%08x-0000-4000-8000-%012d", i*2654435761, i), 16)]++
	}
	for p, n := range count {
		if n < 800 || n > 1200 {
			t.Errorf("partition %d has %d of 16000 ids", p, n)
		}
	}
}

func TestSegmentKey(t *testing.T) {
	t.Parallel()
	for _, want := range []uint64{0, 7, 1<<64 - 1} {
		key := stream.SegmentKey(12, want)
		for _, key := range []string{key, stream.StateSubject(key)} {
			if partition, got, ok := stream.SegmentOf(key); !ok || got != want || partition != 12 {
				t.Errorf("%s is segment %d of partition %d, %v", key, got, partition, ok)
			}
		}
	}
	for _, key := range []string{"", "segment", "segment.1", "segment.1.", "segment.1.x", "segment.1.-1", "segment.-1.1", "segment.x.1", "owner.1.1"} {
		if p, n, ok := stream.SegmentOf(key); ok {
			t.Errorf("%q is segment %d of partition %d", key, n, p)
		}
	}
}

func TestCheckInstance(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{"fs-1": true, "A_b": true, strings.Repeat("x", 64): true,
		"": false, "a.b": false, "a b": false, "*": false, ">": false, strings.Repeat("x", 65): false, "ü": false} {
		if err := stream.CheckInstance(name); (err == nil) != ok {
			t.Errorf("CheckInstance(%q) = %v", name, err)
		}
	}
}

// A server that takes only small messages is refused: there would be samples and
// states that never get in.
func TestEnsureRefusesSmallPayload(t *testing.T) {
	t.Parallel()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, MaxPayload: 64 << 10, JetStream: true, StoreDir: t.TempDir(), NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	nc, err := stream.Connect(stream.Connection{URL: srv.ClientURL()}, t.Name(), natstest.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	_, compared := stream.Compare(t.Context(), js, stream.DefaultSettings())
	for _, err := range []error{compared, stream.EnsureRetry(t.Context(), js, stream.DefaultSettings(), natstest.Logger(t))} {
		if !errors.Is(err, stream.ErrSettings) || !strings.Contains(err.Error(), "up to 65536 bytes; set its max_payload") {
			t.Errorf("got %v, want ErrSettings that tells of max_payload", err)
		}
	}
}

func TestEnsureRefusesOtherFormat(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t).JetStream(stream.DefaultSettings())
	kv, err := js.KeyValue(t.Context(), stream.State)
	if err != nil {
		t.Fatal(err)
	}
	for format, want := range map[uint32]string{stream.FormatVersion + 1: "newer fsagent", stream.FormatVersion - 1: "earlier fsagent"} {
		var meta fsagentv1.Meta
		meta.SetPartitions(stream.DefaultPartitions)
		meta.SetFormat(format)
		value, err := proto.Marshal(&meta)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(t.Context(), stream.MetaKey, value); err != nil {
			t.Fatal(err)
		}
		err = stream.Ensure(t.Context(), js, stream.DefaultSettings())
		if !errors.Is(err, stream.ErrSettings) || !strings.Contains(err.Error(), want) {
			t.Errorf("format %d: got %v, want ErrSettings that tells of a %s", format, err, want)
		}
	}
}
