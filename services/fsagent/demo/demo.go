// Package demo shows the whole pipeline on recorded calls: simulated FreeSWITCH
// servers, the three services over an embedded NATS server, an OTLP receiver,
// and a live picture of every leg. In the end it accounts for every event.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/service"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/fsagent/fsagent/services/exporter/otlptest"
	"github.com/fsagent/fsagent/services/fsagent"
	"github.com/nats-io/nats.go"
)

// Options of a demo.
type Options struct {
	// Once ends when the recordings are through; else they are played again and
	// again, each time as new calls.
	Once bool
	// Speed is the factor to the pace of the recordings, over 0.
	Speed float64
}

// ErrAccount is returned when an event or a sample is not accounted for.
var ErrAccount = errors.New("not every event is accounted for")

// Act is what one simulated FreeSWITCH plays.
type Act struct{ Instance, Recording string }

// Stage is all that is shown: one FreeSWITCH each.
func Stage() []Act {
	return []Act{
		{"bridged", "02-bridged-pcmu"},
		{"lossy", "03a-loss5-jitter30-pcmu"},
		{"blackout", "03d-blackout"},
		{"load", "05-load-80-calls"},
	}
}

// settleTimeout bounds the wait for the last samples to be exported.
const settleTimeout = 30 * time.Second

// Run shows the demo until the recordings are through or ctx ends. It returns an
// error wrapping ErrAccount if something is missing.
func Run(ctx context.Context, o Options, environ []string, stdout, stderr io.Writer) (err error) {
	log := config.Logging{Level: "warn", Format: "text"}.Logger(stderr)
	dir, err := os.MkdirTemp("", "fsagent-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	cfg, receiver, err := settings(dir, environ)
	if err != nil {
		return err
	}
	if receiver != nil {
		defer receiver.Close()
	}
	servers, plays, err := raise(&cfg, o)
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Close())
		}
	}()
	if err != nil {
		return err
	}
	d := &demo{options: o, board: newBoard(), servers: servers, receiver: receiver, endpoint: cfg.OpenTelemetry.Endpoint}
	return d.run(ctx, cfg, plays, stdout, log)
}

// settings are those of the pipeline; of the environment only the OTLP endpoint
// is used, and without one a receiver takes its place.
func settings(dir string, environ []string) (fsagent.Config, *otlptest.Receiver, error) {
	cfg := fsagent.DefaultConfig()
	if err := config.Environment(&cfg.OpenTelemetry, environ); err != nil {
		return cfg, nil, err
	}
	cfg.DataDir = filepath.Join(dir, "nats")
	cfg.HTTP.Port = 0
	if cfg.OpenTelemetry.Endpoint != "" {
		return cfg, nil, nil
	}
	receiver, err := otlptest.Start("127.0.0.1:0")
	if err != nil {
		return cfg, nil, fmt.Errorf("demo: %w", err)
	}
	receiver.Discard()
	cfg.OpenTelemetry.Endpoint = receiver.Addr()
	cfg.OpenTelemetry.Insecure = new(true)
	return cfg, receiver, nil
}

// play runs one server's playback.
type play func(context.Context) error

// raise starts the simulated servers and names them in the configuration.
func raise(cfg *fsagent.Config, o Options) (servers []*esltest.Server, plays []play, err error) {
	for i, act := range Stage() {
		r, err := recording.Load(act.Recording)
		if err != nil {
			return servers, nil, err
		}
		s, err := esltest.Start(esltest.Config{CoreUUID: fmt.Sprintf("f5a9e570-0000-4000-8000-%012d", i+1)})
		if err != nil {
			return servers, nil, err
		}
		servers = append(servers, s)
		cfg.Collector.Instances = append(cfg.Collector.Instances, collector.Instance{
			Name: act.Instance, Host: "127.0.0.1", Port: s.Addr().Port, Password: esltest.DefaultPassword,
		})
		length := r.Frames[len(r.Frames)-1].At.Sub(r.Frames[0].At)
		p := esltest.Playback{
			Recordings: []*recording.Recording{r}, Speed: o.Speed, Clients: 1,
			// Now, but never ahead of the clock however fast it is played: Prometheus
			// takes no samples of the future, nor do we.
			Start: time.Now().Add(-length), NotAhead: true,
		}
		if !o.Once {
			p.Rounds = -1
		}
		plays = append(plays, func(ctx context.Context) error {
			_, err := s.Play(ctx, p)
			if ctx.Err() != nil {
				return nil
			}
			return err
		})
	}
	return servers, plays, nil
}

type demo struct {
	options  Options
	board    *board
	servers  []*esltest.Server
	receiver *otlptest.Receiver // nil if an endpoint is configured
	endpoint string
	pipeline *fsagent.Pipeline
	started  time.Time
}

func (d *demo) run(ctx context.Context, cfg fsagent.Config, plays []play, stdout io.Writer, log *slog.Logger) error {
	p, err := fsagent.Open(ctx, cfg, log, service.NewRegistry())
	if err != nil {
		return err
	}
	defer p.Close()
	d.pipeline, d.started = p, time.Now()
	// A copy of what goes into the samples stream, for the picture only.
	if _, err := p.NATS.Subscribe(stream.SampleFilter, func(msg *nats.Msg) {
		if err := d.board.message(msg.Data); err != nil {
			log.Warn("picture", "err", err)
		}
	}); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- p.Run(running) }()

	drawing, stopDrawing := context.WithCancel(ctx)
	var drawer sync.WaitGroup
	drawer.Go(func() { d.show(drawing, stdout) })
	err = d.perform(ctx, plays)
	stopDrawing()
	drawer.Wait()
	stop()
	err = errors.Join(err, <-ended)
	if err != nil {
		return err
	}
	return d.conclude(stdout)
}

// perform plays everything and waits until it has gone through the pipeline.
func (d *demo) perform(ctx context.Context, plays []play) error {
	errs := make([]error, len(plays))
	var wg sync.WaitGroup
	for i, p := range plays {
		wg.Go(func() { errs[i] = p(ctx) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(settleTimeout); time.Now().Before(end); <-tick.C {
		if d.account().settled() {
			return nil
		}
	}
	return nil // what is missing shows in the account
}

// conclude prints the legs and the account.
func (d *demo) conclude(w io.Writer) error {
	paint := style(colourful(w))
	p := d.board.picture(false)
	a := d.account()
	fmt.Fprintf(w, "\n%s\n%d legs, %d ended; %d of %d directions with a MOS are below %.1f\n\n%s", paint.table(p), p.live+p.ended, p.ended, p.bad, p.withMOS, fair, a)
	if missing := a.missing(); len(missing) > 0 {
		return fmt.Errorf("%w: %s", ErrAccount, strings.Join(missing, "; "))
	}
	fmt.Fprintf(w, "Every event is accounted for. (%.1f s)\n", time.Since(d.started).Seconds())
	return nil
}
