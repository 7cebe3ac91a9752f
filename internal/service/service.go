// Package service is what the three services have in common as processes: from
// the command line to settings, from settings to NATS and the HTTP endpoints,
// from a signal to an orderly end.
package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/health"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Exit codes of every program.
const (
	ExitOK     = 0
	ExitError  = 1
	ExitConfig = 2 // bad command line or configuration: nothing was started
)

// Settings that every service has.
type Settings struct {
	NATS    stream.Connection `yaml:"nats"`
	Storage stream.Settings   `yaml:"storage"`
	HTTP    health.Config     `yaml:"http"`
	Logging config.Logging    `yaml:"logging"`
}

// DefaultSettings of every service.
func DefaultSettings() Settings {
	return Settings{stream.DefaultConnection(), stream.DefaultSettings(), health.DefaultConfig(), config.DefaultLogging()}
}

// Validate names every setting that cannot be.
func (s Settings) Validate() error {
	return errors.Join(s.NATS.Validate(), s.Storage.Validate(), s.HTTP.Validate(), s.Logging.Validate())
}

// Runner is a service. Run blocks; nil means stopped as asked.
type Runner interface {
	health.Service
	Run(ctx context.Context) error
}

// Process is what a service gets to work with.
type Process struct {
	NATS    *nats.Conn
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Program is one command.
type Program struct {
	Name    string
	Purpose string // one line for --help
	// GCPercent is how much the heap may grow, in per cent, before it is
	// collected; 0 is Go's own. GOGC in the environment wins.
	GCPercent int
	// Load reads the configuration; it is given the path of --config.
	Load func(path string, environ []string) error
	// Settings are asked after Load.
	Settings func() Settings
	// New makes the service once NATS and the streams are there.
	New func(Process) (Runner, error)
}

// Main runs a program until SIGINT or SIGTERM and returns its exit code.
func (p Program) Main(args, environ []string, stdout, stderr io.Writer) int {
	if p.GCPercent > 0 && !slices.ContainsFunc(environ, func(v string) bool { return strings.HasPrefix(v, "GOGC=") }) {
		debug.SetGCPercent(p.GCPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return p.Run(ctx, args, environ, stdout, stderr)
}

// Run is Main with the context of the caller.
func (p Program) Run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", "", "YAML `file` with settings (default "+config.DefaultFile+", if it is there)")
	version := flags.Bool("version", false, "print the version and exit")
	flags.Usage = func() {
		fmt.Fprintf(stderr, "%s: %s\n\nUsage: %s [--config file] [health|ready]\n\n", p.Name, p.Purpose, p.Name)
		fmt.Fprintf(stderr, "health and ready ask the %s that runs here how it is; exit status 1 if it is not well.\n\n", p.Name)
		flags.PrintDefaults()
		fmt.Fprintln(stderr, "\nSettings come from the file and, over it, from the environment (FSAGENT_…): docs/configuration.md.")
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return ExitOK
	case err != nil:
		return ExitConfig
	case flags.NArg() > 1, flags.NArg() == 1 && !Asks(flags.Arg(0)):
		fmt.Fprintf(stderr, "%s: unexpected argument %q; see %s --help\n", p.Name, flags.Arg(flags.NArg()-1), p.Name)
		return ExitConfig
	case *version:
		fmt.Fprintln(stdout, p.Name, Version())
		return ExitOK
	}
	if err := p.Load(*path, environ); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return ExitConfig
	}
	if flags.NArg() == 1 {
		return Ask(ctx, p.Settings().HTTP, p.Name, flags.Arg(0), stdout, stderr)
	}
	log := p.Settings().Logging.Logger(stderr).With("service", p.Name)
	if err := p.serve(ctx, log); err != nil {
		log.Error("stopped", "err", err)
		if errors.Is(err, config.ErrInvalid) || errors.Is(err, stream.ErrSettings) {
			return ExitConfig
		}
		return ExitError
	}
	log.Info("stopped", "cause", context.Cause(ctx))
	return ExitOK
}

// Asks tells whether an argument asks the running process how it is.
func Asks(arg string) bool { return arg == "health" || arg == "ready" }

// Ask prints what the process that runs with cfg on this machine says to "health"
// or "ready", and returns ExitOK, or ExitError if it is not well or not there.
func Ask(ctx context.Context, cfg health.Config, name, what string, stdout, stderr io.Writer) int {
	said, err := health.Ask(ctx, cfg, what)
	_, _ = stdout.Write(said)
	if err != nil {
		fmt.Fprintf(stderr, "%s %s: %v\n", name, what, err)
		return ExitError
	}
	return ExitOK
}

func (p Program) serve(ctx context.Context, log *slog.Logger) error {
	s := p.Settings()
	log.Info("starting", "version", Version())
	nc, err := stream.Connect(s.NATS, "fsagent-"+p.Name, log)
	if err != nil {
		return err
	}
	defer nc.Close()
	metrics := NewRegistry()
	waiting := &waiting{}
	web, err := health.Listen(s.HTTP, waiting, metrics, log)
	if err != nil {
		return err
	}
	work := func(ctx context.Context) error {
		js, err := jetstream.New(nc)
		if err != nil {
			return fmt.Errorf("JetStream: %w", err)
		}
		if err := stream.EnsureRetry(ctx, js, s.Storage, log); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		stream.TellLimits(ctx, js, s.Storage, log)
		runner, err := p.New(Process{NATS: nc, Log: log, Metrics: metrics})
		if err != nil {
			return err
		}
		waiting.set(runner)
		return Together(ctx, runner.Run, func(ctx context.Context) error { return stream.Keep(ctx, js, s.Storage, log) })
	}
	if web == nil {
		return work(ctx)
	}
	return Together(ctx, work, web.Run)
}

// Together runs functions side by side: the first to return stops the others,
// and all are waited for. It returns their errors joined.
func Together(ctx context.Context, run ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(run))
	var wg sync.WaitGroup
	for i, f := range run {
		wg.Go(func() {
			defer cancel()
			errs[i] = f(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// NewRegistry has the metrics of the Go runtime and the process.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	// What the garbage collector found alive tells a leak from garbage.
	live := collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/live:bytes$`)}
	reg.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(live)), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// version is set when a release is built: -ldflags "-X …/internal/service.version=1.2.3".
var version string

// Version is the one that the program was built as, or that of its module.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// waiting stands in for a service until NATS and the streams are there.
type waiting struct {
	mu      sync.Mutex
	service health.Service
}

func (w *waiting) set(s health.Service) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.service = s
}

func (w *waiting) get() health.Service {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.service
}

func (w *waiting) Ready() error {
	if s := w.get(); s != nil {
		return s.Ready()
	}
	return errors.New("waiting for NATS and JetStream")
}

func (w *waiting) Health() any {
	if s := w.get(); s != nil {
		return s.Health()
	}
	return map[string]string{"status": "starting", "reason": "waiting for NATS and JetStream"}
}
