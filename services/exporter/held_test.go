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
	made := created(t, js)
	for range 2 {
		if _, err := js.Publish(t.Context(), stream.SampleSubject(0), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	connection := uint64(0)
	h := newHeld(func() uint64 { return connection }, natstest.Logger(t))
	if h.since(made, connection) {
		t.Error("the first stream is another one")
	}
	first, second := h.takeNext(t, js), h.takeNext(t, js)
	first.settle()
	if got := len(h.owed); got != 0 {
		t.Errorf("owed: got %d, want none", got)
	}
	connection++
	if !h.unsure() {
		t.Error("unsure on a new connection: got false")
	}
	second.settle()
	if got := len(h.owed); got != 1 {
		t.Errorf("owed on a new connection: got %d, want 1", got)
	}
	if h.since(made, connection) {
		t.Error("the same stream is another one")
	}
	if got := unacknowledged(t, js); got != 0 || len(h.owed) != 0 || h.unsure() {
		t.Errorf("unacknowledged: got %d, owed %d, want none", got, len(h.owed))
	}
}

// TestHeldOfAnotherStream: what was stored before the stream was made is forgotten,
// what is of this stream is kept.
func TestHeldOfAnotherStream(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t).JetStream(stream.DefaultSettings())
	made := created(t, js)
	for range 2 {
		if _, err := js.Publish(t.Context(), stream.SampleSubject(0), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	h := newHeld(once, natstest.Logger(t))
	h.since(made, 0)
	h.takeNext(t, js)
	second := h.takeNext(t, js)
	if !h.since(second.stored, 0) {
		t.Error("a stream that was made later is the same one")
	}
	if got := h.count(); got != 1 || h.open[2] != second {
		t.Errorf("held: got %d, want the second only", got)
	}
	second.settle()
	if got := len(h.owed); got != 0 {
		t.Errorf("owed: got %d, want none", got)
	}
}

// created is when the samples stream was made.
func created(t *testing.T, js jetstream.JetStream) time.Time {
	t.Helper()
	s, err := js.Stream(t.Context(), stream.Samples)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().Created
}

func (h *held) takeNext(t *testing.T, js jetstream.JetStream) *delivery {
	t.Helper()
	msg, meta := deliver(t, js)
	return h.take(msg, meta)
}
