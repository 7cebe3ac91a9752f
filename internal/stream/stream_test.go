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

func TestLegKey(t *testing.T) {
	t.Parallel()
	if got, want := stream.LegKey(7, "c-1", "u-1"), "leg.7.c-1.u-1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	seen := map[string]string{}
	for _, id := range []string{"", "a.b", "a b", "a/b", "sip:x@y.z", strings.Repeat("x", 65), strings.Repeat("x", 200_000), "sha256-abc", "ü"} {
		key := stream.LegKey(0, "core", id)
		if strings.Count(key, ".") != 3 || len(key) > 100 || strings.ContainsAny(key, " @:/ü") {
			t.Errorf("key of %.20q is %s", id, key)
		}
		if other, ok := seen[key]; ok {
			t.Errorf("%.20q and %.20q have the same key", id, other)
		}
		seen[key] = id
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

func TestEnsureRefusesNewerFormat(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t).JetStream(stream.DefaultSettings())
	kv, err := js.KeyValue(t.Context(), stream.State)
	if err != nil {
		t.Fatal(err)
	}
	var meta fsagentv1.Meta
	meta.SetPartitions(stream.DefaultPartitions)
	meta.SetFormat(stream.FormatVersion + 1)
	value, err := proto.Marshal(&meta)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), stream.MetaKey, value); err != nil {
		t.Fatal(err)
	}
	err = stream.Ensure(t.Context(), js, stream.DefaultSettings())
	if !errors.Is(err, stream.ErrSettings) || !strings.Contains(err.Error(), "newer fsagent") {
		t.Errorf("got %v, want ErrSettings that tells of a newer fsagent", err)
	}
}
