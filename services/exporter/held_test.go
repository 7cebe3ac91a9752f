package exporter

import (
	"context"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/nats-io/nats.go/jetstream"
)

// once is a connection that is never lost.
func once() uint64 { return 0 }

// deliver returns the next delivery of the shared consumer.
func deliver(t *testing.T, js jetstream.JetStream) (jetstream.Msg, *jetstream.MsgMetadata) {
	t.Helper()
	settings := stream.ExportSettings{AckWait: time.Second, MaxAckPending: DefaultConfig().MaxAckPending}
	c, err := js.CreateOrUpdateConsumer(t.Context(), stream.Samples, stream.ExportAll(settings))
	if err != nil {
		t.Fatal(err)
	}
	msg, err := c.Next(jetstream.FetchMaxWait(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	meta, err := msg.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	return msg, meta
}

func unacknowledged(t *testing.T, js jetstream.JetStream) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		c, err := js.Consumer(ctx, stream.Samples, stream.ExportConsumer)
		if err != nil {
			t.Fatal(err)
		}
		info := c.CachedInfo()
		if info.NumAckPending == 0 || ctx.Err() != nil {
			return info.NumAckPending
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestRedeliveryWhileHeld: the server took us for dead and delivers again. The
// samples go out once, and the message is acknowledged by its new delivery.
func TestRedeliveryWhileHeld(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t).JetStream(stream.DefaultSettings())
	if _, err := js.Publish(t.Context(), stream.SampleSubject(0), []byte("x")); err != nil {
		t.Fatal(err)
	}
	h := newHeld(once, natstest.Logger(t))
	first := h.takeNext(t, js)
	if first == nil {
		t.Fatal("first delivery: got nil")
	}
	if again := h.takeNext(t, js); again != nil {
		t.Error("second delivery while held: got another, want nil")
	}
	if got := h.count(); got != 1 {
		t.Errorf("held: got %d, want 1", got)
	}
	first.settle()
	if got := unacknowledged(t, js); got != 0 {
		t.Errorf("unacknowledged: got %d, want 0", got)
	}
}

// TestAcknowledgementIsOwed: it could not be sent when the samples were out, and
// the message comes again. It is acknowledged, and the samples stay out.
func TestAcknowledgementIsOwed(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	js := srv.JetStream(stream.DefaultSettings())
	if _, err := js.Publish(t.Context(), stream.SampleSubject(0), []byte("x")); err != nil {
		t.Fatal(err)
	}
	nc := srv.Connect()
	old, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	h := newHeld(once, natstest.Logger(t))
	first := h.takeNext(t, old)
	nc.Close()
	first.settle()
	if got := len(h.owed); got != 1 {
		t.Fatalf("owed: got %d, want 1", got)
	}
	h.alive()
	if got := len(h.owed); got != 1 {
		t.Errorf("owed after another try: got %d, want 1", got)
	}
	if again := h.takeNext(t, js); again != nil {
		t.Error("delivered again: got a message to export, want nil")
	}
	if got := unacknowledged(t, js); got != 0 || len(h.owed) != 0 {
		t.Errorf("unacknowledged: got %d, owed %d, want none", got, len(h.owed))
	}
}

// TestOwedInAnotherStream: what is owed is owed to the stream that was, and not to a
// message of the same sequence in the one that was made in its place.
func TestOwedInAnotherStream(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	js := srv.JetStream(stream.DefaultSettings())
	publish := func() {
		if _, err := js.Publish(t.Context(), stream.SampleSubject(0), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	nc := srv.Connect()
	old, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	h := newHeld(once, natstest.Logger(t))
	msg, meta := deliver(t, old)
	nc.Close()
	h.done(msg, meta)
	if got := len(h.owed); got != 1 {
		t.Fatalf("owed: got %d, want 1", got)
	}
	if err := js.DeleteStream(t.Context(), stream.Samples); err != nil {
		t.Fatal(err)
	}
	if err := stream.Ensure(t.Context(), js, stream.DefaultSettings()); err != nil {
		t.Fatal(err)
	}
	publish()
	if h.takeNext(t, js) == nil {
		t.Error("a message of the new stream was taken for the old one")
	}
}

// TestNothingIsAcknowledgedUnseen: on a new connection an acknowledgement waits until
// it is known of which stream it is.
func TestNothingIsAcknowledgedUnseen(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t).JetStream(stream.DefaultSettings())
	if _, err := js.Publish(t.Context(), stream.SampleSubject(0), []byte("x")); err != nil {
		t.Fatal(err)
	}
	connection := uint64(0)
	h := newHeld(func() uint64 { return connection }, natstest.Logger(t))
	d := h.takeNext(t, js)
	connection++
	if !h.unsure() {
		t.Error("unsure on a new connection: got false")
	}
	d.settle()
	if got := len(h.owed); got != 1 {
		t.Errorf("owed on a new connection: got %d, want 1", got)
	}
	if got := h.since(answer{StreamState: state(t, js), connection: connection, held: h.last()}); got != 0 {
		t.Errorf("forgotten: got %d, want none", got)
	}
	if got := unacknowledged(t, js); got != 0 || len(h.owed) != 0 || h.unsure() {
		t.Errorf("unacknowledged: got %d, owed %d, want none", got, len(h.owed))
	}
}

// TestHeldOfAnotherStream: what the stream there is cannot have is forgotten.
func TestHeldOfAnotherStream(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t).JetStream(stream.DefaultSettings())
	for range 2 {
		if _, err := js.Publish(t.Context(), stream.SampleSubject(0), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	now := state(t, js)
	later := now
	later.FirstTime = now.LastTime
	for name, tc := range map[string]struct {
		state jetstream.StreamState
		held  uint64 // when asked
		want  int
	}{
		"the same":                     {now, 2, 0},
		"empty":                        {jetstream.StreamState{}, 2, 2},
		"empty, before the second":     {jetstream.StreamState{}, 1, 1},
		"its end is lost":              {jetstream.StreamState{Msgs: 1, FirstSeq: 1, LastSeq: 1, FirstTime: now.FirstTime}, 2, 1},
		"begun after the first":        {later, 2, 1},
		"the first has aged out":       {jetstream.StreamState{Msgs: 1, FirstSeq: 2, LastSeq: 2, FirstTime: now.LastTime}, 2, 0},
		"both have aged out":           {jetstream.StreamState{FirstSeq: 3, LastSeq: 2}, 2, 0},
		"answered before both came":    {jetstream.StreamState{}, 0, 0},
		"filled again after both came": {jetstream.StreamState{Msgs: 9, FirstSeq: 1, LastSeq: 9, FirstTime: now.LastTime.Add(time.Second)}, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeld(once, natstest.Logger(t))
			h.open[1] = &delivery{sequence: 1, stored: now.FirstTime}
			h.owed[2] = debt{owedMessage{}, now.LastTime}
			if got := h.since(answer{StreamState: tc.state, held: tc.held}); got != tc.want {
				t.Errorf("forgotten: got %d, want %d", got, tc.want)
			}
		})
	}
}

// owedMessage takes its acknowledgement.
type owedMessage struct{ jetstream.Msg }

func (owedMessage) Ack() error { return nil }

// state of the samples stream.
func state(t *testing.T, js jetstream.JetStream) jetstream.StreamState {
	t.Helper()
	s, err := js.Stream(t.Context(), stream.Samples)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}

func (h *held) takeNext(t *testing.T, js jetstream.JetStream) *delivery {
	t.Helper()
	msg, meta := deliver(t, js)
	return h.take(msg, meta)
}
