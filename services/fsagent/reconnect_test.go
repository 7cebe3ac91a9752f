package fsagent_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/sample"
	"github.com/fsagent/fsagent/internal/service"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/fsagent/fsagent/services/fsagent"
)

// life writes what happens to channels of a FreeSWITCH whose clock is this
// machine's.
type life struct {
	server   *esltest.Server
	core     string
	sequence uint64
	at       time.Time
}

func (l *life) event(name, channel, more string) {
	l.sequence++
	l.at = l.at.Add(time.Millisecond)
	l.server.Send(fmt.Appendf(nil, "Event-Name: %s\nCore-UUID: %s\nEvent-Date-Timestamp: %d\nEvent-Sequence: %d\nUnique-ID: %s\n"+
		"Caller-Channel-Created-Time: %d\nvariable_sip_call_id: sip-%s\n%s\n", name, l.core, l.at.UnixMicro(), l.sequence, channel, l.at.UnixMicro(), channel, more))
}

// A connection breaks, calls end and begin unseen, then FreeSWITCH itself is
// replaced: what ended unseen is closed as such, what goes on keeps its name, and
// nothing of the old process stays.
func TestReconnect(t *testing.T) {
	t.Parallel()
	b := newSwitchboard(t, "")
	cfg := b.config(t)
	cfg.Collector.ESL.RetryMin, cfg.Collector.ESL.RetryMax = 10*time.Millisecond, 50*time.Millisecond
	p, err := fsagent.Open(t.Context(), cfg, natstest.Logger(t), service.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	until(t, "ready", func() bool { return p.Ready() == nil })
	partitions := uint64(cfg.Storage.Partitions)
	until(t, "the first snapshot", func() bool { return p.Collector.Stats().Made == partitions })

	l := &life{server: b.server, core: "11111111-0000-4000-8000-000000000001", at: time.Now().Add(-time.Minute)}
	for _, channel := range []string{"ends-seen", "ends-unseen", "goes-on"} {
		l.event(event.ChannelCreate, channel, "")
		l.event(event.ChannelAnswer, channel, "")
	}
	l.event(event.ChannelHangupComplete, "ends-seen", "")
	l.event(event.ChannelDestroy, "ends-seen", "")
	until(t, "they are published", func() bool { return p.Collector.Stats().Published == 8 })
	b.server.SetMode(esltest.Foreign)
	b.server.Cut()
	until(t, "cut off", func() bool { return p.Collector.Ready() != nil })
	l.at = l.at.Add(10 * time.Second)
	l.event(event.ChannelHangupComplete, "ends-unseen", "")
	l.event(event.ChannelDestroy, "ends-unseen", "")
	l.event(event.ChannelCreate, "begins-unseen", "")
	b.server.SetMode(esltest.Normal)
	until(t, "the second snapshot, with the one that began", func() bool { return p.Collector.Stats().Made == 2*partitions+1 })
	until(t, "two ends", func() bool { return p.Calculator.Stats().LegEnds == 2 })

	b.server.Restart("22222222-0000-4000-8000-000000000002")
	until(t, "the third snapshot", func() bool { return p.Collector.Stats().Made == 3*partitions+1 })
	until(t, "four ends", func() bool { return p.Calculator.Stats().LegEnds == 4 })
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	got := make(map[string]fsagentv1.Reason) // why the end of each leg is unknown, by id and name
	for _, m := range batches(t, p.NATS) {
		samples, err := sample.Decode(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range samples {
			got[one.GetChannelId()+" "+one.GetCorrelationId()] = one.GetLegEnd().GetEndReason()
		}
	}
	const unknown = fsagentv1.Reason_REASON_END_UNKNOWN
	want := map[string]fsagentv1.Reason{
		"ends-seen sip-ends-seen": 0, "ends-unseen sip-ends-unseen": unknown, "goes-on sip-goes-on": unknown, "begins-unseen sip-begins-unseen": unknown,
	}
	if !maps.Equal(got, want) {
		t.Errorf("ends of legs: got %v, want %v", got, want)
	}
}
