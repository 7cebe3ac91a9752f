package calculator

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/fsagent/fsagent/internal/stream"
	"github.com/nats-io/nats.go/jetstream"
)

// membership knows which calculators live. Each writes a heartbeat into the
// bucket and watches those of all. The own heartbeat, seen on the watch, is the
// clock by which the others are judged: while it does not come through, nothing
// can be said of anybody, and nobody is counted dead.
type membership struct {
	js    jetstream.JetStream
	kv    jetstream.KeyValue
	id    string
	lease time.Duration
	log   *slog.Logger

	trouble *trouble
	missed  int // heartbeats in a row that NATS did not take
}

// run tells changed the living, sorted, whenever they change, until ctx ends.
// changed runs on membership's goroutine and must not wait.
func (m *membership) run(ctx context.Context, changed func(living []string)) {
	beat := time.NewTicker(m.lease / 3)
	defer beat.Stop()
	var told []string
	said := false
	seen := map[string]time.Time{}
	for ctx.Err() == nil {
		watch, err := m.kv.Watch(ctx, stream.MemberKey("*"))
		if err != nil {
			if !said && ctx.Err() == nil {
				m.log.Warn("cannot watch the other calculators, trying again", "err", err)
				said = true
			}
			select {
			case <-ctx.Done():
			case <-beat.C:
			}
			continue
		}
		said = false
		// What is listed first may be old: everybody gets a full lease.
		for id := range seen {
			seen[id] = time.Now()
		}
		m.follow(ctx, watch, beat.C, seen, func() {
			living := slices.Sorted(maps.Keys(seen))
			if slices.Contains(living, m.id) && !slices.Equal(living, told) {
				told = living
				changed(living)
			}
		})
		_ = watch.Stop() // it has ended, or is being given up
	}
}

// follow returns when ctx ends or the watch no longer shows our own heartbeat.
func (m *membership) follow(ctx context.Context, watch jetstream.KeyWatcher, beat <-chan time.Time, seen map[string]time.Time, update func()) {
	lastOwn := time.Now()
	listed := false
	m.heartbeat(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat:
			m.heartbeat(ctx)
			if time.Since(lastOwn) > 2*m.lease {
				return
			}
		case entry, ok := <-watch.Updates():
			if !ok {
				return
			}
			if entry == nil { // end of the list of those that were there
				listed = true
				update()
				continue
			}
			id := entry.Key()[len(stream.MemberKey("")):]
			if entry.Operation() != jetstream.KeyValuePut {
				delete(seen, id)
				update()
				continue
			}
			seen[id] = time.Now()
			if id == m.id {
				lastOwn = time.Now()
				for other, at := range seen {
					if lastOwn.Sub(at) > m.lease {
						m.log.Warn("a calculator gives no sign of life, its partitions move", "member", other, "silent", lastOwn.Sub(at).Round(time.Millisecond).String())
						delete(seen, other)
					}
				}
			}
			if listed {
				update()
			}
		}
	}
}

func (m *membership) heartbeat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, m.lease/2)
	defer cancel()
	ttl := max(2*m.lease, 2*time.Second).Round(time.Second)
	// A heartbeat that does not arrive shows on the watch; the next one follows.
	_, err := m.js.Publish(ctx, stream.StateSubject(stream.MemberKey(m.id)), []byte(m.id), jetstream.WithMsgTTL(ttl))
	if err == nil || !m.js.Conn().IsConnected() { // that NATS is away is told by the connection
		if m.missed >= 2 && err == nil {
			m.log.Info("NATS takes heartbeats again")
		}
		m.missed = 0
		return
	}
	if m.missed++; m.missed < 2 {
		return
	}
	if m.missed == 2 {
		m.log.Warn("NATS does not take heartbeats, other calculators may take the partitions", "err", err)
	}
	m.trouble.note("heartbeat", err)
}

// leave tells the others at once.
func (m *membership) leave(ctx context.Context) error {
	if err := m.kv.Purge(ctx, stream.MemberKey(m.id), jetstream.PurgeTTL(deleteMarkerTTL)); err != nil {
		return fmt.Errorf("leave the calculators: %w", err)
	}
	return nil
}
