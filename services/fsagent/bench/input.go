package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/fsagent/fsagent/services/fsagent/fleet"
	"github.com/nats-io/nats.go"
)

const (
	instance   = "fs-1"
	partitions = stream.DefaultPartitions
	calls      = "05-load-80-calls"
)

// bench is what all measurements share.
type bench struct {
	cfg   Config
	dir   string
	out   io.Writer
	input []*nats.Msg // the events as a collector publishes them
	runs  int         // directories made so far
	// liveRate is what live has measured, events a second; 0 before.
	liveRate float64
	// pages are where the processes of this run serve profiles, by name.
	pages map[string]string
}

func (b *bench) playback() (esltest.Playback, error) {
	r, err := recording.Load(calls)
	if err != nil {
		return esltest.Playback{}, err
	}
	return esltest.Playback{
		Recordings: []*recording.Recording{r}, Copies: b.cfg.Copies, Stagger: 100 * time.Millisecond, OneLife: true,
		Speed: esltest.AsFast, Clients: 1, Start: time.Now().Add(-time.Hour).Truncate(time.Second),
	}, nil
}

// prepare makes the events as a collector publishes them.
func (b *bench) prepare(ctx context.Context) error {
	filter, err := esl.NewFilter(esl.FilterConfig{})
	if err != nil {
		return err
	}
	p, err := b.playback()
	if err != nil {
		return err
	}
	subscription := collector.Subscription(true)
	var mistake error
	err = p.Events(ctx, esltest.DefaultCoreUUID, func(raw []byte) {
		id, err := event.Scan(raw)
		if err != nil || !slices.Contains(subscription, string(id.Name)) {
			return
		}
		msg, err := message(filter.Append(nil, raw))
		if err != nil {
			mistake = err
			return
		}
		b.input = append(b.input, msg)
	})
	return errors.Join(err, mistake)
}

// message is one event as a collector publishes it.
func message(raw []byte) (*nats.Msg, error) {
	id, err := event.Scan(raw)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	channel := id.UniqueID
	if len(channel) == 0 {
		channel = []byte(instance)
	}
	return &nats.Msg{
		Subject: stream.EventSubject(stream.Partition(channel, partitions), instance, id.Name),
		Data:    raw,
		Header:  nats.Header{nats.MsgIdHdr: {string(id.CoreUUID) + ":" + strconv.FormatUint(id.Sequence, 10)}},
	}, nil
}

func (b *bench) meanBytes() float64 {
	sum := 0
	for _, m := range b.input {
		sum += len(m.Data)
	}
	return float64(sum) / float64(len(b.input))
}

// fresh is a NATS server with nothing in it, and its directory.
func (b *bench) fresh() (*fleet.NATS, string, error) {
	b.runs++
	dir := fmt.Sprintf("%s/run-%d", b.dir, b.runs)
	if err := mkdir(dir); err != nil {
		return nil, "", err
	}
	b.pages = map[string]string{}
	port, err := b.page("nats-server")
	if err != nil {
		return nil, "", err
	}
	s, err := fleet.StartNATS(b.cfg.Bin, dir, 1, "--profile", strconv.Itoa(port))
	return s, dir, err
}

// stopAll ends processes; those that were killed are gone already.
func stopAll(processes []*fleet.Process) error {
	var errs []error
	for _, p := range slices.Backward(processes) {
		errs = append(errs, p.Stop())
	}
	return errors.Join(errs...)
}
