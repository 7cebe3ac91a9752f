package collector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector/esl"
)

const (
	// snapshotBody is how long a list of channels may be at least, in bytes; a row
	// has about 800 (switch_core_sqldb.c, table channels).
	snapshotBody = 64 << 20
	// snapshotsAtOnce is how many servers are asked for their channels at a time.
	snapshotsAtOnce = 8
	// drainTimeout is how long the events before the list may take to arrive.
	drainTimeout = time.Minute
)

// errDrain is returned when the event connection does not answer while it lives.
var errDrain = errors.New("events that were before the list of channels did not arrive in time")

// watched is the event connection of a session, as a snapshot sees it.
type watched struct {
	conn    *esl.Conn
	replied chan struct{} // holds one token after a reply
}

// drain returns when everything that the server had for the event connection has
// been read: a command is answered behind the queue (mod_event_socket.c,
// read_packet).
func (w watched) drain(ctx context.Context) error {
	select {
	case <-w.replied:
	default:
	}
	if err := w.conn.Probe(); err != nil {
		return err
	}
	select {
	case <-w.replied:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(drainTimeout):
		return errDrain
	}
}

// reconcile tells the stream which channels the server has, and what is known of
// those whose beginning is not in it: after the connect, and when events were
// dropped that would have told it, until ctx ends.
func (s *freeswitch) reconcile(ctx context.Context, w watched) {
	select {
	case <-s.stale: // the one to come serves
	default:
	}
	retry := backoff{least: s.esl.RetryMin, most: s.esl.RetryMax}
	said := false
	for ctx.Err() == nil {
		err := s.snapshot(ctx, w)
		if ctx.Err() != nil {
			return
		}
		s.met.snapshot(err == nil)
		if err == nil {
			retry.reset()
			s.awaitStale(ctx)
			continue
		}
		if !said {
			said = true
			s.log.Warn("no snapshot of the channels, trying again; calls that began before now stay unknown, and calls that ended unseen stay open",
				"err", err, "advice", snapshotAdvice(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry.next(err)):
		}
	}
}

func snapshotAdvice(err error) string {
	if errors.Is(err, esl.ErrTimeout) || errors.Is(err, errDrain) {
		return "see whether FreeSWITCH or the network is overloaded, or raise esl.reply_timeout"
	}
	return "allow show, uuid_dump, global_getvar and strmicroepoch in esl-allowed-api of the user"
}

// awaitStale returns when a snapshot is needed, and some time has gone in which
// the need may have grown.
func (s *freeswitch) awaitStale(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-s.stale:
	}
	select {
	case <-ctx.Done():
	case <-time.After(s.esl.RetryMax):
	}
	select {
	case <-s.stale:
	default:
	}
	s.legs.forget()
}

// forgetLegs asks for a snapshot of everything.
func (s *freeswitch) forgetLegs() {
	s.legs.forget()
	select {
	case s.stale <- struct{}{}:
	default:
	}
}

// snapshot takes one. Commands go over a connection of their own, because they
// stop the events of the one they are on. The table of channels is written behind
// the events, and gets time to catch up with what was before the connection; then
// the clock is read, then the table, then everything that happened until then is
// let through. So a channel whose last event is older than the connection and that
// is not in the list has ended, and if its end was to be seen, it has been.
func (s *freeswitch) snapshot(ctx context.Context, w watched) error {
	cfg, err := s.ESL(s.esl)
	if err != nil {
		return err
	}
	cfg.MaxBody = max(cfg.MaxBody, snapshotBody)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(s.esl.SnapshotDelay):
	}
	// Few at a time over all servers: after an outage they all come at once, and
	// each may be some megabytes.
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case s.turns <- struct{}{}:
	}
	inTurn := true
	done := func() {
		if inTurn {
			<-s.turns
			inTurn = false
		}
	}
	defer done()
	c, err := esl.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	core, atUS, err := identity(c)
	if err != nil {
		return err
	}
	out, err := c.API("show", "channels as json")
	if err != nil {
		return err
	}
	channels, err := listed(out)
	if err != nil {
		return err
	}
	if err := w.drain(ctx); err != nil {
		return err
	}
	unknown := s.legs.reconcile(core, channels, atUS)
	s.log.Info("snapshot of the channels", "count", len(channels), "unknown", len(unknown))
	s.sync(core, atUS, channels)
	done() // descriptions are paced, and may take long
	return s.describe(ctx, c, core, unknown)
}

// identity asks which process this is and what its clock shows, in microseconds
// since 1970.
func identity(c *esl.Conn) (core string, atUS int64, err error) {
	out, err := c.API("global_getvar", "core_uuid")
	if err != nil {
		return "", 0, err
	}
	core = event.Encode(trim(out))
	out, err = c.API("strmicroepoch", "")
	if err != nil {
		return "", 0, err
	}
	us, ok := event.Uint([]byte(trim(out)))
	if !ok || us == 0 || us >= 1<<53 {
		return "", 0, fmt.Errorf("api strmicroepoch: %q is not a time", out)
	}
	return core, int64(us), nil
}

// sync puts FSAGENT_SYNC into the buffer, one for each partition. Channels are
// ids as events have them.
func (s *freeswitch) sync(core string, atUS int64, channels []string) {
	parts := make([][]byte, s.partitions)
	for _, id := range channels {
		p := stream.Partition([]byte(id), s.partitions)
		if len(parts[p]) > 0 {
			parts[p] = append(parts[p], ' ')
		}
		parts[p] = append(parts[p], id...)
	}
	for p, ids := range parts {
		if len(ids) == 0 {
			ids = []byte("_undef_")
		}
		n := s.numbers.next()
		s.buf.push(queued{
			data: fmt.Appendf(nil, "Event-Name: %s\nCore-UUID: %s\nEvent-Date-Timestamp: %d\nEvent-Sequence: %d\n%s: %s\n%s: %s\n\n",
				event.Sync, core, atUS, n, HeaderSyncInstance, s.Name, HeaderSyncChannels, ids),
			core: core, name: event.Sync, sequence: n, timeUS: atUS, readNS: s.clock.now(), part: int32(p), origin: madeHere,
		})
	}
}

// describe puts one CHANNEL_DATA into the buffer for each channel, so many a
// second as are configured. A channel that has ended meanwhile is left out.
func (s *freeswitch) describe(ctx context.Context, c *esl.Conn, core string, channels []string) error {
	pace := time.NewTicker(time.Second / time.Duration(s.esl.SnapshotRate))
	defer pace.Stop()
	for _, id := range channels {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-pace.C:
		}
		out, err := c.API("uuid_dump", event.Decode([]byte(id))+" json")
		switch {
		case errors.Is(err, esl.ErrRefused): // "-ERR No such channel!"
			continue
		case err != nil:
			return err
		}
		raw, err := plain(out)
		if err == nil {
			err = s.enqueue(raw, dumped)
		}
		if err != nil {
			s.met.reject("malformed")
			s.log.Warn("channel cannot be described", "channel_id", id, "err", err)
			continue
		}
		s.legs.add(core, id)
	}
	return nil
}
