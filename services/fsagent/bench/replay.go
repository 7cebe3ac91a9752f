package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/fsagent/history"
	"github.com/fsagent/fsagent/services/fsagent/replay"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// replaySpeed measures a replay of all events into a file, against ordered consumers
// that only read the same events.
func (b *bench) replaySpeed(ctx context.Context) ([]Row, error) {
	s, dir, err := b.fresh()
	if err != nil {
		return nil, err
	}
	js, done, err := connect(ctx, s, true)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := b.publish(ctx, js); err != nil {
		return nil, err
	}
	h, err := history.OpenOn(ctx, js, stream.Events, partitions, quiet())
	if err != nil {
		return nil, err
	}
	var every []string
	for p := range partitions {
		every = append(every, stream.EventFilter(p))
	}
	const one = "read, 1 consumer"
	var rows []Row
	for _, run := range []struct {
		name string
		do   func() error
	}{
		{one, func() error { return readOnly(ctx, h, []string{"fsagent.events.>"}) }},
		{"read, 16 consumers", func() error { return readOnly(ctx, h, every) }},
		{"replay to protobuf", func() error { return replayInto(ctx, h, filepath.Join(dir, "samples.pb"), replay.Protobuf, 0) }},
		{"replay, 16 consumers", func() error { return replayInto(ctx, h, filepath.Join(dir, "samples.pb"), replay.Protobuf, partitions) }},
		{"replay to ndjson", func() error { return replayInto(ctx, h, filepath.Join(dir, "samples.ndjson"), replay.NDJSON, 0) }},
	} {
		var used cpu
		if err := used.start(s.Servers); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := run.do(); err != nil {
			return nil, err
		}
		row := Row{Name: run.name, Events: len(b.input), Seconds: time.Since(began).Seconds()}
		if row.CPU, err = used.used(); err != nil {
			return nil, err
		}
		if run.name != one {
			row.Of, row.Ratio = one, row.Rate()/rows[0].Rate()
		}
		rows = append(rows, row)
	}
	return rows, stopAll(s.Servers)
}

// readOnly reads everything with an ordered consumer for each subject, at once.
func readOnly(ctx context.Context, h *history.History, subjects []string) error {
	errs := make([]error, len(subjects))
	var readers sync.WaitGroup
	for i, subject := range subjects {
		readers.Go(func() {
			errs[i] = h.Read(ctx, []string{subject}, h.First, h.Last, func(history.Message) error { return nil })
		})
	}
	readers.Wait()
	return errors.Join(errs...)
}

func replayInto(ctx context.Context, h *history.History, path string, format replay.Format, readers int) error {
	o := replay.Options{WarmUp: replay.WarmUpAuto, Params: leg.DefaultParams(), Readers: readers}
	r, err := replay.Plan(ctx, h, o)
	if err != nil {
		return err
	}
	f, err := replay.CreateFile(path, format, "", r)
	if err != nil {
		return err
	}
	err = replay.Run(ctx, h, r, nil, o, nil, f, &replay.Progress{})
	return errors.Join(err, f.Close(err == nil), os.Remove(path))
}

// besideReplay measures how long live events take to their samples: alone, beside a
// replay at full speed, and beside one with --rate auto.
func (b *bench) besideReplay(ctx context.Context) ([]Row, error) {
	const legs, rate, seconds = 1000, 5000, 12
	c, err := b.crowd(ctx, legs, 2)
	if err != nil {
		return nil, err
	}
	defer c.done()
	if err := allowFast(ctx, c.js); err != nil {
		return nil, err
	}
	if err := b.publish(ctx, c.js); err != nil {
		return nil, err
	}
	if err := c.caughtUp(ctx); err != nil {
		return nil, err
	}
	h, err := history.OpenOn(ctx, c.js, stream.Events, partitions, quiet())
	if err != nil {
		return nil, err
	}
	var rows []Row
	round := 1
	for _, beside := range []string{"live alone", "live beside a replay", "live beside --rate auto"} {
		var used cpu
		if err := used.start(c.processes()); err != nil {
			return nil, err
		}
		watched, stop := context.WithCancel(ctx)
		replayed, ended := make(chan int, 1), make(chan error, 1)
		go func() {
			n, err := replayAgain(watched, h, beside)
			replayed <- n
			ended <- err
		}()
		before, began := c.builder.sequence, time.Now()
		err := feedPaced(ctx, c.js, rate*seconds, rate, func(i int) (*nats.Msg, error) { return c.builder.report(i%legs, round+i/legs) })
		round += rate*seconds/legs + 1
		if err == nil {
			err = c.caughtUp(ctx)
		}
		row := Row{Name: beside, Events: rate * seconds, Seconds: time.Since(began).Seconds()}
		stop()
		n := <-replayed
		if err = errors.Join(err, <-ended); err != nil {
			return nil, err
		}
		if row.CPU, err = used.used(); err != nil {
			return nil, err
		}
		all, err := latencies(ctx, c.js, builtAfter(before))
		if err != nil {
			return nil, err
		}
		row.Note = fmt.Sprintf("%s; replay %.0f events/s", percentiles(all), float64(n)/row.Seconds)
		rows = append(rows, row)
	}
	return rows, stopAll(c.processes())
}

// feedPaced publishes one event after the other, as a collector does, at a rate.
func feedPaced(ctx context.Context, js jetstream.JetStream, n, rate int, make func(i int) (*nats.Msg, error)) error {
	js, err := jetstream.New(js.Conn(), jetstream.WithPublishAsyncMaxPending(20_000))
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	began := time.Now()
	for i := range n {
		msg, err := make(i)
		if err != nil {
			return err
		}
		if _, err := js.PublishMsgAsync(msg); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		if i%25 == 0 {
			time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		}
	}
	select {
	case <-js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// nowhere is a sink.
type nowhere struct{ replay.Sink }

func (nowhere) Take(context.Context, replay.Entry) error             { return nil }
func (nowhere) Commit(context.Context, uint64, *replay.States) error { return nil }

// replayAgain replays what there was, again and again, until ctx ends, and counts
// events.
func replayAgain(ctx context.Context, h *history.History, how string) (events int, err error) {
	if how == "live alone" {
		return 0, nil
	}
	o := replay.Options{WarmUp: replay.WarmUpAuto, Params: leg.DefaultParams()}
	var pace replay.Pacer
	if strings.Contains(how, "auto") {
		auto, err := replay.NewAuto(ctx, h.JS, quiet())
		if err != nil {
			return 0, err
		}
		go auto.Run(ctx)
		pace = auto
	}
	for ctx.Err() == nil {
		r, err := replay.Plan(ctx, h, o)
		if err != nil {
			return events, ignoreEnd(ctx, err)
		}
		var progress replay.Progress
		err = replay.Run(ctx, h, r, nil, o, pace, nowhere{&replay.File{}}, &progress)
		events += int(progress.Events.Load())
		if err != nil {
			return events, ignoreEnd(ctx, err)
		}
	}
	return events, nil
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// builtAfter tells whether a message id is that of an event that was built after one.
func builtAfter(sequence uint64) func(id string) bool {
	return func(id string) bool {
		number, built := strings.CutPrefix(id, builtCore+":")
		n, err := strconv.ParseUint(number, 10, 64)
		return built && err == nil && n > sequence
	}
}

// replayMemory replays many short legs, a few of them alive at once, and compares the
// heap in the middle with that at the end.
func (b *bench) replayMemory(ctx context.Context) ([]Row, error) {
	const legs, alive = 200_000, 2000
	s, dir, err := b.fresh()
	if err != nil {
		return nil, err
	}
	js, done, err := connect(ctx, s, true)
	if err != nil {
		return nil, err
	}
	defer done()
	made := builder{now: time.Now().Add(-24 * time.Hour).Truncate(time.Second)}
	const each = 4 // answer, two reports, hangup
	err = feed(ctx, js, legs*each, 0, func(i int) (*nats.Msg, error) {
		// A leg's events lie alive legs apart; a day passes in all.
		made.now = made.now.Add(24*time.Hour/(legs*each) - 20*time.Microsecond)
		turn, step := i/(alive*each), i%(alive*each)
		number := turn*alive + step%alive
		switch step / alive {
		case 0:
			return made.answer(number)
		case 1, 2:
			return made.report(number, step/alive)
		}
		return made.hangup(number)
	})
	if err != nil {
		return nil, err
	}
	h, err := history.OpenOn(ctx, js, stream.Events, partitions, quiet())
	if err != nil {
		return nil, err
	}
	o := replay.Options{WarmUp: replay.WarmUpAuto, Params: leg.DefaultParams()}
	r, err := replay.Plan(ctx, h, o)
	if err != nil {
		return nil, err
	}
	f, err := replay.CreateFile(filepath.Join(dir, "memory.pb"), replay.Protobuf, "", r)
	if err != nil {
		return nil, err
	}
	watch := &heapWatch{Sink: f, at: []uint64{r.To / 10, r.To / 2, r.To - alive}, before: heapInUse()}
	var used cpu
	if err := used.start(s.Servers); err != nil {
		return nil, err
	}
	began := time.Now()
	err = replay.Run(ctx, h, r, nil, o, nil, watch, &replay.Progress{})
	if err := errors.Join(err, f.Close(err == nil)); err != nil {
		return nil, err
	}
	row := Row{Name: "replay of short legs", Events: legs * each, Seconds: time.Since(began).Seconds(),
		Note: fmt.Sprintf("%d legs, %d alive at once; heap after 10 %%, 50 %%, 100 %%: %s", legs, alive, strings.Join(watch.found, ", "))}
	if row.CPU, err = used.used(); err != nil {
		return nil, err
	}
	return []Row{row}, stopAll(s.Servers)
}

// archive measures what an event takes on disk in the events stream, and in an
// archive of it as in deploy/nats, which is compressed.
func (b *bench) archive(ctx context.Context) ([]Row, error) {
	s, dir, err := b.fresh()
	if err != nil {
		return nil, err
	}
	js, done, err := connect(ctx, s, true)
	if err != nil {
		return nil, err
	}
	defer done()
	const name = "FSAGENT_ARCHIVE"
	kept, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: name, Mirror: &jetstream.StreamSource{Name: stream.Events}, Compression: jetstream.S2Compression, MaxAge: 30 * 24 * time.Hour,
	})
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	began := time.Now()
	if err := b.publish(ctx, js); err != nil {
		return nil, err
	}
	if err := poll(ctx, "all events in the archive", func() (bool, error) {
		info, err := kept.Info(ctx)
		return err == nil && info.State.Msgs == uint64(len(b.input)), err
	}); err != nil {
		return nil, err
	}
	row := Row{Name: "archive", Events: len(b.input), Seconds: time.Since(began).Seconds(), CPU: map[string]float64{}}
	if err := stopAll(s.Servers); err != nil { // so that all of it is written
		return nil, err
	}
	for _, stored := range []string{stream.Events, name} {
		size := int64(0)
		root := filepath.Join(dir, "nats-server-1", "jetstream", "$G", "streams", stored, "msgs")
		blocks, err := os.ReadDir(root)
		if err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
		for _, block := range blocks {
			info, err := block.Info()
			if err != nil {
				return nil, fmt.Errorf("bench: %w", err)
			}
			size += info.Size()
		}
		row.Note += fmt.Sprintf("%s %.0f bytes of disk an event  ", stored, float64(size)/float64(len(b.input)))
	}
	return []Row{row}, nil
}

// heapWatch looks at the heap at some events.
type heapWatch struct {
	replay.Sink
	at     []uint64
	found  []string
	before float64 // what other measurements have left, bytes
}

func (w *heapWatch) Take(ctx context.Context, e replay.Entry) error {
	if len(w.at) > 0 && e.Sequence >= w.at[0] {
		w.at = w.at[1:]
		w.found = append(w.found, fmt.Sprintf("%.0f MB", (heapInUse()-w.before)/1e6))
	}
	return w.Sink.Take(ctx, e)
}

// heapInUse is what the garbage collector finds alive in this process, bytes.
func heapInUse() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
