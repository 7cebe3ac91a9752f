package exporter

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsagent/fsagent/internal/stream"
	"github.com/nats-io/nats.go/jetstream"
)

// errCaughtUp ends the intake of new samples: its consumer is no more, because
// the one of all samples has come to the same place.
var errCaughtUp = errors.New("caught up")

// aheadTick is how often a replica that is late looks after the second consumer.
const aheadTick = time.Second

// ahead lets new samples overtake old ones. When the messages that come are older
// than Config.LiveAfter, the replicas make a second consumer that begins at the
// end of the stream, and send what it has beside the old ones, over a lane of its
// own. When the consumer of all messages comes to that place, it acknowledges
// what the second one has exported already, without sending it, and the second
// one is removed. What is uncertain in between is sent twice, which is harmless.
type ahead struct {
	held *held
	lane *lane

	// late is true while the messages that come are old and more are waiting.
	late atomic.Bool
	// exported are messages that went ahead; nil if none did.
	exported atomic.Pointer[stretch]
}

// stretch of the stream: messages by their sequences, and when the last of them was
// there. In a stream that is made anew the same sequences come later.
type stretch struct {
	first, through uint64
	at             time.Time
}

func (s *stretch) has(meta *jetstream.MsgMetadata) bool {
	seq := meta.Sequence.Stream
	return s != nil && seq >= s.first && seq <= s.through && !meta.Timestamp.After(s.at)
}

// has is true if a message has been exported ahead of its turn. It takes note of
// how late the messages are.
func (a *ahead) has(meta *jetstream.MsgMetadata) bool {
	if after := a.lane.cfg.LiveAfter; after > 0 {
		a.late.Store(time.Since(meta.Timestamp) > after && meta.NumPending >= fetchMessages)
	}
	return a.exported.Load().has(meta)
}

// run looks after the second consumer until ctx ends.
func (a *ahead) run(ctx context.Context) {
	var reading sync.WaitGroup
	defer reading.Wait()
	tick := time.NewTicker(aheadTick)
	defer tick.Stop()
	var busy atomic.Bool
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !a.late.Load() && !busy.Load() {
			continue
		}
		found, err := a.tend(ctx)
		if err != nil && ctx.Err() == nil {
			a.lane.log.Debug("second consumer not looked after", "consumer", stream.ExportAheadConsumer, "err", err)
		}
		if found && busy.CompareAndSwap(false, true) {
			reading.Go(func() {
				defer busy.Store(false)
				a.read(ctx)
			})
		}
	}
}

// tend makes the second consumer if it is needed, takes note of how far it is,
// and removes it when it is no longer needed.
func (a *ahead) tend(ctx context.Context) (found bool, err error) {
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	js := a.lane.js
	second, err := js.Consumer(ask, stream.Samples, stream.ExportAheadConsumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return a.make(ask)
	}
	if err != nil {
		return false, err
	}
	all, err := js.Consumer(ask, stream.Samples, stream.ExportConsumer)
	if err != nil {
		return false, err
	}
	info := second.CachedInfo()
	a.exported.Store(&stretch{info.Config.OptStartSeq, info.AckFloor.Stream, info.TimeStamp})
	if all.CachedInfo().Delivered.Stream+1 < info.Config.OptStartSeq {
		return true, nil
	}
	if err := js.DeleteConsumer(ask, stream.Samples, stream.ExportAheadConsumer); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return false, err
	}
	a.lane.log.Info("old samples are through", "consumer", stream.ExportConsumer, "seq", info.Config.OptStartSeq)
	return false, nil
}

func (a *ahead) make(ctx context.Context) (made bool, err error) {
	if !a.late.Load() || a.lane.otlp.ready() != nil {
		return false, nil
	}
	s, err := a.lane.js.Stream(ctx, stream.Samples)
	if err != nil {
		return false, err
	}
	first := s.CachedInfo().State.LastSeq + 1
	_, err = a.lane.js.CreateConsumer(ctx, stream.Samples, stream.ExportAhead(a.lane.settings(), first))
	if errors.Is(err, jetstream.ErrConsumerExists) { // another replica was first, and began elsewhere
		return true, nil
	}
	if err != nil {
		return false, err
	}
	a.lane.log.Info("old samples are many, sending new ones beside them", "consumer", stream.ExportAheadConsumer, "seq", first)
	return true, nil
}

// read the second consumer until it is removed or ctx ends.
func (a *ahead) read(ctx context.Context) {
	i := &intake{
		Exporter: a.lane.Exporter, name: stream.ExportAheadConsumer, held: a.held, bytes: a.lane.cfg.BufferBytes,
		// Its end is no news; that the stream is gone the first intake says.
		condition: newCondition(slog.New(slog.DiscardHandler), "second consumer"),
	}
	i.attach = func(ctx context.Context) (jetstream.Consumer, error) {
		c, err := i.js.Consumer(ctx, stream.Samples, stream.ExportAheadConsumer)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			err = errCaughtUp
		}
		return c, err
	}
	i.accept = func(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata) {
		i.hold(ctx, msg, meta, a.lane)
	}
	if err := i.run(ctx); err != nil {
		a.lane.log.Debug("new samples come in their turn again", "cause", err)
	}
}
