package collector

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/fsagent/fsagent/internal/event"
)

func item(name string, sequence uint64, size int) queued {
	return queued{data: make([]byte, size), core: "c", name: name, sequence: sequence, timeUS: int64(sequence)}
}

func drain(b *buffer) (names []string) {
	for {
		q, ok := b.pop()
		if !ok {
			return names
		}
		names = append(names, fmt.Sprintf("%s %d", q.name, q.sequence))
		b.releaseOf(q)
	}
}

func TestBufferDropsTheLeast(t *testing.T) {
	t.Parallel()
	const size = 1000 - itemOverhead
	dropped := make(map[string]int)
	b := newBuffer(4000, func(q *queued, reason dropReason) {
		if reason != bufferFull {
			t.Errorf("reason %v", reason)
		}
		dropped[q.name]++
	})
	b.push(item(event.RecvRTCP, 1, size))
	b.push(item(event.ChannelCreate, 2, size))
	b.push(item(event.Heartbeat, 3, size))
	b.push(item(event.SendRTCP, 4, size))
	b.push(item(event.ChannelAnswer, 5, size)) // 1 goes
	b.push(item(event.RecvRTCP, 6, size))      // 4 goes
	b.push(item(event.ChannelBridge, 7, size)) // 6 goes
	b.push(item(event.ChannelHold, 8, size))   // 3 goes: no report is left
	b.push(item(event.RecvRTCP, 9, size))      // goes itself: all others matter more
	b.push(item(event.Heartbeat, 10, size))    // goes itself
	b.push(item(event.ChannelUnhold, 11, size))
	want := []string{"CHANNEL_ANSWER 5", "CHANNEL_BRIDGE 7", "CHANNEL_HOLD 8", "CHANNEL_UNHOLD 11"}
	if got := drain(b); !reflect.DeepEqual(got, want) {
		t.Errorf("left: got %v, want %v", got, want)
	}
	counts := map[string]int{event.RecvRTCP: 3, event.SendRTCP: 1, event.Heartbeat: 2, event.ChannelCreate: 1}
	if !reflect.DeepEqual(dropped, counts) {
		t.Errorf("dropped: got %v, want %v", dropped, counts)
	}
	gaps, stale := b.takeGaps()
	if !stale {
		t.Error("after a CHANNEL_CREATE was dropped no snapshot is asked for")
	}
	if want := []gap{{core: "c", fromUS: 1, toUS: 10, counts: counts}}; !reflect.DeepEqual(gaps, want) {
		t.Errorf("gaps: got %+v, want %+v", gaps, want)
	}
	if bytes, _, waits := b.size(); bytes != 0 || waits || b.hasGaps() {
		t.Errorf("not empty: %d bytes", bytes)
	}
}

func TestBufferHoldsItsLimitAndOrder(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	b := newBuffer(limit, func(*queued, dropReason) {})
	names := []string{event.RecvRTCP, event.ChannelCreate, event.Codec, event.SendRTCP}
	var inFlight []queued
	last := uint64(0)
	for i := range uint64(20_000) {
		b.push(item(names[i%4], i+1, int(i*7919%3000)))
		if bytes, _, _ := b.size(); bytes > limit {
			t.Fatalf("%d bytes after event %d", bytes, i)
		}
		if i%3 == 0 {
			if q, ok := b.pop(); ok {
				if q.sequence <= last {
					t.Fatalf("event %d after event %d", q.sequence, last)
				}
				last = q.sequence
				inFlight = append(inFlight, q)
			}
		}
		if len(inFlight) == 20 {
			for _, q := range inFlight {
				b.releaseOf(q)
			}
			inFlight = nil
		}
	}
	for _, q := range inFlight {
		b.releaseOf(q)
	}
	drain(b)
	if bytes, _, _ := b.size(); bytes != 0 {
		t.Errorf("%d bytes are accounted for nothing", bytes)
	}
}

func TestGapText(t *testing.T) {
	t.Parallel()
	var g gaps
	for _, q := range []queued{item(event.RecvRTCP, 7, 0), item(event.ChannelCreate, 9, 0), item(event.RecvRTCP, 8, 0)} {
		g.add(&q)
	}
	other := item(event.Codec, 1, 0)
	other.core = "d"
	g.add(&other)
	all := g.take()
	if len(all) != 2 {
		t.Fatalf("got %d gaps, want one for each Core-UUID", len(all))
	}
	const want = "Event-Name: FSAGENT_GAP\nCore-UUID: c\nEvent-Date-Timestamp: 9\nEvent-Sequence: 8\n" +
		"Gap-Instance: fs1\nGap-From: 7\nGap-To: 9\nGap-Count: 3\n" +
		"Gap-Count-CHANNEL_CREATE: 1\nGap-Count-RECV_RTCP_MESSAGE: 2\n\n"
	if got := string(all[0].text("fs1", 8)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := event.Parse(all[0].text("fs1", 8)); err != nil {
		t.Error(err)
	}
}
