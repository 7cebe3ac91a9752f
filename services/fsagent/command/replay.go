package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/calculator"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/fsagent/fsagent/services/fsagent"
	"github.com/fsagent/fsagent/services/fsagent/history"
	"github.com/fsagent/fsagent/services/fsagent/replay"
)

// replaying is what replay is told.
type replaying struct {
	config, from, to, warmUp string
	stream                   string
	file, format             string
	toStream, otlp           string
	name, rate               string
	compare, json            bool
	perSecond                float64
	changes                  changes
	changed                  calculator.Config
	options                  replay.Options
}

// errNoServer is returned for a stream that would go with the copy it is made in.
var errNoServer = errors.New("--to-stream needs a NATS server: set nats.url, or nats.listen while fsagent runs")

func runReplay(ctx context.Context, c call, args []string) error {
	var r replaying
	r.flags(c.flags)
	c.flags.Usage = func() {
		fmt.Fprint(c.stderr, "fsagent replay [flags]: compute the past again from the stored events\n\n"+
			"Reads the events stream on the NATS server of the settings (nats.url, nats.listen), else a copy of\n"+
			"the embedded one's (data_dir), and changes nothing there. Without --to-… it prints a line for each leg.\n"+
			"docs/replay.md has examples.\n\nFlags:\n")
		c.flags.PrintDefaults()
	}
	if err := c.parse(args); err != nil {
		return err
	}
	settings := reading{fsagent.DefaultConfig()}
	if err := config.Load(&settings, r.config, c.environ); err != nil {
		return err
	}
	if err := r.check(settings.Config); err != nil {
		return c.mistake("%v", err)
	}
	return r.run(ctx, c, settings.Config)
}

func (r *replaying) flags(f *flag.FlagSet) {
	f.StringVar(&r.config, "config", "", "YAML `file` with settings (default "+config.DefaultFile+", if it is there)")
	f.StringVar(&r.stream, "stream", stream.Events, "`name` of the stream to read: that of the services, or an archive of it")
	f.StringVar(&r.from, "from", "", "begin at this `time` (2026-11-02T15:04:05Z, or -2h30m before now; when events were stored) or sequence (default the oldest event)")
	f.StringVar(&r.to, "to", "", "end before this `time`, or with this sequence (default the newest event)")
	f.StringVar(&r.warmUp, "warm-up", replay.WarmUpAuto.String(), "how far to read before --from, so that legs are complete: auto (to the beginning of the oldest leg, a day at most), all, none, or a `duration`; legs whose beginning is not read are marked partial")
	f.StringVar(&r.options.Instance, "instance", "", "only this FreeSWITCH `server`")
	f.StringVar(&r.options.Channel, "channel", "", "only the leg with this `Unique-ID`")
	f.StringVar(&r.options.Call, "call", "", "only legs with this call_id or correlation_id (`ID`)")
	f.StringVar(&r.options.Domain, "domain", "", "only legs of this `domain`")
	f.StringVar(&r.file, "to-file", "", "write samples to a new `file`")
	f.StringVar(&r.format, "format", "", "of the file: ndjson or protobuf (default by its name: protobuf for .pb and .binpb)")
	f.StringVar(&r.toStream, "to-stream", "", "publish samples to a new NATS stream of this `name`, on the subject "+replay.SubjectPrefix+"<name>; run again with the same flags, it goes on where it was interrupted")
	f.StringVar(&r.otlp, "to-otlp", "", "send points to this OTLP/gRPC `endpoint` (host:port, http:// for no TLS; the other settings of opentelemetry hold), with the label replay=<name>")
	f.StringVar(&r.rate, "rate", "", "at most so many events a `second`; auto: what keeps the live services as quick as they are")
	f.BoolVar(&r.compare, "compare", false, "calculate with the live settings as well, and print what the changed ones change")
	f.BoolVar(&r.json, "json", false, "print the comparison as JSON")
	f.StringVar(&r.name, "name", "", "`name` of this replay: run again with the same flags, it goes on where it was interrupted")
	r.changes.flags(f)
}

// check reads the flags that are more than text.
func (r *replaying) check(cfg fsagent.Config) (err error) {
	if r.options.From, err = replay.ParseBound(r.from); err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	if r.options.To, err = replay.ParseBound(r.to); err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	if r.options.WarmUp, err = replay.ParseWarmUp(r.warmUp); err != nil {
		return fmt.Errorf("--warm-up: %w", err)
	}
	if r.format == "" {
		r.format = string(replay.NDJSON)
		if strings.HasSuffix(r.file, ".pb") || strings.HasSuffix(r.file, ".binpb") {
			r.format = string(replay.Protobuf)
		}
	}
	if r.format != string(replay.NDJSON) && r.format != string(replay.Protobuf) {
		return fmt.Errorf("--format: %q is not ndjson or protobuf", r.format)
	}
	if r.rate != "" && r.rate != "auto" {
		if r.perSecond, err = strconv.ParseFloat(r.rate, 64); err != nil || !(r.perSecond > 0) {
			return fmt.Errorf("--rate: %q is not a number over 0, nor auto", r.rate)
		}
	}
	if r.changed, err = r.changes.apply(cfg.Calculator); err != nil {
		return err
	}
	r.options.Params = r.changed.Params()
	return r.together(cfg)
}

// together finds flags that exclude each other.
func (r *replaying) together(cfg fsagent.Config) error {
	places := 0
	for _, to := range []string{r.file, r.toStream, r.otlp} {
		if to != "" {
			places++
		}
	}
	if places > 1 {
		return errors.New("only one of --to-file, --to-stream and --to-otlp")
	}
	if r.toStream != "" {
		if err := replay.CheckStreamName(r.toStream); err != nil {
			return fmt.Errorf("--to-stream: %w", err)
		}
	}
	if r.name != "" {
		if err := stream.CheckInstance(r.name); err != nil {
			return fmt.Errorf("--name: %q must be 1 to 64 letters, digits, '_' or '-'", r.name)
		}
	}
	switch {
	case r.json && !r.compare:
		return errors.New("--json belongs to --compare")
	case r.name != "" && places == 0:
		return errors.New("--name needs a --to-…: a table is not kept")
	case r.compare && r.name != "":
		return errors.New("--compare cannot be resumed: leave out --name")
	case r.compare && settingsText(cfg.Calculator) == settingsText(r.changed):
		return errors.New("--compare needs another setting, as --plc none or --set bad.mos=4")
	}
	if r.compare {
		before := cfg.Calculator.Params()
		r.options.Before = &before
	}
	if r.name != "" && r.toStream == "" {
		r.options.Keep = replay.DefaultKeep
	}
	return nil
}

// resumable tells whether the same command goes on where it was interrupted.
func (r *replaying) resumable() bool { return r.name != "" || r.toStream != "" }

// asked is what tells one replay from another that has the same name.
func (r *replaying) asked() string {
	if !r.resumable() {
		return ""
	}
	o := r.options
	return fmt.Sprintf("name %q, stream %s, from %q to %q, warm-up %s, instance %q, channel %q, call %q, domain %q, to %q%q%q, format %s, %s",
		r.name, r.stream, r.from, r.to, r.warmUp, o.Instance, o.Channel, o.Call, o.Domain, r.file, r.toStream, r.otlp, r.format, settingsText(r.changed))
}

func (r *replaying) run(ctx context.Context, c call, cfg fsagent.Config) error {
	log := slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	h, err := history.Open(ctx, cfg, r.stream, log)
	if err != nil {
		return err
	}
	defer h.Close()
	d, err := r.open(ctx, c, cfg, h, log)
	if err != nil {
		return err
	}
	sink := d.sink
	var comparison *replay.Comparison
	if r.compare {
		comparison = replay.NewComparison(d.sink, settingsText(cfg.Calculator), settingsText(r.changed))
		sink = comparison
	}
	err = r.work(ctx, c, h, d, sink, log)
	if d.close != nil {
		err = errors.Join(err, d.close(err == nil))
	}
	if comparison == nil || err != nil {
		return err
	}
	if r.json {
		return comparison.WriteJSON(c.stdout)
	}
	return comparison.Write(c.stdout)
}

// destination is where samples go, what is to be replayed, and what of it is there
// already.
type destination struct {
	sink   replay.Sink
	close  func(through bool) error
	plan   replay.Range
	states *replay.States
}

// open opens where the samples are to go.
func (r *replaying) open(ctx context.Context, c call, cfg fsagent.Config, h *history.History, log *slog.Logger) (d destination, err error) {
	plan := func() (replay.Range, error) { return replay.Plan(ctx, h, r.options) }
	switch {
	case r.file != "":
		var f *replay.File
		if f, d.plan, d.states, err = r.openFile(plan); err == nil {
			d.sink, d.close = f, f.Close
		}
	case r.toStream != "":
		if h.Copied {
			return d, errNoServer
		}
		if r.toStream == h.Stream {
			return d, fmt.Errorf("--to-stream %s is the stream that is read", r.toStream)
		}
		var s *replay.Stream
		s, d.plan, d.states, err = replay.OpenStream(ctx, h.JS, r.toStream, r.asked(), cfg.Storage.Storage, cfg.Storage.Replicas, log, plan)
		d.sink = s
	case r.otlp != "":
		sender, err := exporter.NewSender(r.endpoint(cfg.OpenTelemetry), log, exporter.Label{Key: "replay", Value: r.label()})
		if err != nil {
			return d, err
		}
		path := ""
		if r.name != "" {
			path = r.name + ".replay"
		}
		var o *replay.OTLP
		if o, d.plan, d.states, err = replay.OpenOTLP(sender, path, r.asked(), plan); err != nil {
			return d, errors.Join(err, sender.Close())
		}
		d.sink = o
		d.close = func(through bool) error {
			s := sender.Stats()
			fmt.Fprintf(c.stderr, "replay: %d points accepted, %d rejected, %d samples left out, %d retries\n", s.PointsAccepted, s.PointsRejected, s.Parked, s.Retries)
			return o.Close(through)
		}
	default:
		if d.plan, err = plan(); err == nil && !r.compare {
			t := replay.NewTable(c.stdout)
			d.sink, d.close = t, func(bool) error { return t.Close() }
		}
	}
	return d, err
}

// openFile opens the file of an earlier run under the same name, or a new one.
func (r *replaying) openFile(plan func() (replay.Range, error)) (*replay.File, replay.Range, *replay.States, error) {
	if r.name != "" {
		f, from, states, err := replay.ResumeFile(r.file, replay.Format(r.format), r.asked())
		if f != nil || err != nil {
			return f, from, states, err
		}
	}
	from, err := plan()
	if err != nil {
		return nil, from, nil, err
	}
	f, err := replay.CreateFile(r.file, replay.Format(r.format), r.asked(), from)
	return f, from, nil, err
}

// endpoint is the settings of the exporter for another endpoint.
func (r *replaying) endpoint(cfg exporter.Config) exporter.Config {
	cfg.Endpoint = r.otlp
	for scheme, plain := range map[string]bool{"http://": true, "https://": false} {
		if rest, ok := strings.CutPrefix(r.otlp, scheme); ok {
			cfg.Endpoint, cfg.Insecure = strings.TrimSuffix(rest, "/"), &plain
		}
	}
	return cfg
}

// label of the points at an OTLP endpoint.
func (r *replaying) label() string {
	if r.name == "" {
		return "replay"
	}
	return r.name
}

// work replays and shows how it goes.
func (r *replaying) work(ctx context.Context, c call, h *history.History, d destination, sink replay.Sink, log *slog.Logger) error {
	watched, stop := context.WithCancel(ctx)
	defer stop()
	var pace replay.Pacer
	switch {
	case r.rate == "auto" && !h.Copied: // else there is nothing to be kept out of the way of
		auto, err := replay.NewAuto(ctx, h.JS, log)
		if err != nil {
			return fmt.Errorf("--rate auto: %w", err)
		}
		go auto.Run(watched)
		pace = auto
	case r.perSecond > 0:
		pace = replay.NewRate(r.perSecond)
	}
	if d.states != nil {
		fmt.Fprintf(c.stderr, "replay: going on after event %d, of %d to %d\n", d.states.Through, d.plan.From, d.plan.To)
	}
	var progress replay.Progress
	began := time.Now()
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		progress.Show(watched, c.stderr)
	}()
	err := replay.Run(ctx, h, d.plan, d.states, r.options, pace, sink, &progress)
	stop()
	<-shown
	fmt.Fprintln(c.stderr, progress.Summary(time.Since(began)))
	if r.resumable() && errors.Is(err, replay.ErrInterrupted) {
		return fmt.Errorf("%w; the same command goes on from there", err)
	}
	return err
}

// settingsText is what of the settings changes numbers and labels.
func settingsText(c calculator.Config) string {
	concealed := func(codecs []string) string { return orNone(strings.Join(codecs, ",")) }
	model := "verified"
	if c.MOS.Provisional {
		model = "provisional"
	}
	return fmt.Sprintf("constants %s, concealed inbound %s, outbound %s, jitter buffer %v, correlation %s, bad over %g loss, %v jitter, under MOS %g",
		model, concealed(c.MOS.ConcealedInbound), concealed(c.MOS.ConcealedOutbound), c.MOS.JitterBuffer, c.Correlation, c.Bad.FractionLost, c.Bad.Jitter, c.Bad.MOS)
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
