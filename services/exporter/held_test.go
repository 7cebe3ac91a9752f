package exporter

import (
	"context"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/nats-io/nats.go/jetstream"
)

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
	h := newHeld(natstest.Logger(t))
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
	h := newHeld(natstest.Logger(t))
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
	h := newHeld(natstest.Logger(t))
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

func (h *held) takeNext(t *testing.T, js jetstream.JetStream) *delivery {
	t.Helper()
	msg, meta := deliver(t, js)
	return h.take(msg, meta)
}
