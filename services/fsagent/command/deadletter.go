package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/fsagent"
	"github.com/fsagent/fsagent/services/fsagent/deadletter"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errNoPort is returned when the server of the settings cannot be reached.
var errNoPort = errors.New("the embedded NATS server has no port; set nats.listen, or nats.url to the server that is used")

// letters is what deadletter is told.
type letters struct {
	verb, reason string
	all          bool
	sequences    []uint64
}

func runDeadLetter(ctx context.Context, c call, args []string) error {
	var l letters
	path := c.flags.String("config", "", "YAML `file` with settings (default "+config.DefaultFile+", if it is there)")
	c.flags.StringVar(&l.reason, "reason", "", "only the letters with this `reason`: refused, time, value, kind, too_large, undecodable")
	c.flags.BoolVar(&l.all, "all", false, "retry all letters, or all with --reason")
	c.flags.Usage = func() {
		fmt.Fprint(c.stderr, "fsagent deadletter list|show|retry [flags] [number ...]: what no OTLP endpoint took\n\n"+
			"list prints a line for each letter, show all of one, retry hands letters back to the exporters.\n\nFlags:\n")
		c.flags.PrintDefaults()
	}
	if err := l.parse(c, args); err != nil {
		return err
	}
	settings := reading{fsagent.DefaultConfig()}
	if err := config.Load(&settings, *path, c.environ); err != nil {
		return err
	}
	js, err := dial(settings.Config, "fsagent-deadletter", c)
	if err != nil {
		return err
	}
	defer js.Conn().Close()
	box, err := deadletter.Open(ctx, js)
	if err != nil {
		return err
	}
	return l.run(ctx, c, box)
}

func (l *letters) parse(c call, args []string) error {
	if len(args) == 0 || isHelp(args[0]) {
		c.flags.Usage()
		if len(args) == 0 {
			return errUsage
		}
		return flag.ErrHelp
	}
	l.verb, args = args[0], args[1:]
	if err := c.flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return errUsage
	}
	for _, arg := range c.flags.Args() {
		n, err := strconv.ParseUint(arg, 10, 64)
		if err != nil {
			return c.mistake("%q is not the number of a letter", arg)
		}
		l.sequences = append(l.sequences, n)
	}
	switch {
	case l.verb != "list" && l.verb != "show" && l.verb != "retry":
		return c.mistake("%q is not list, show or retry", l.verb)
	case l.verb == "list" && len(l.sequences) > 0:
		return c.mistake("list takes no numbers")
	case l.verb == "show" && len(l.sequences) == 0:
		return c.mistake("show takes the numbers of letters")
	case l.verb == "retry" && (len(l.sequences) == 0) == (!l.all && l.reason == ""):
		return c.mistake("retry takes the numbers of letters, or --all, or --reason")
	}
	return nil
}

func (l *letters) run(ctx context.Context, c call, box *deadletter.Box) error {
	if len(l.sequences) == 0 {
		return l.runAll(ctx, c, box)
	}
	for _, n := range l.sequences {
		x, err := box.Get(ctx, n)
		if err != nil {
			return err
		}
		if l.verb == "show" {
			err = x.Write(c.stdout)
		} else if err = box.Retry(ctx, x); err == nil {
			_, err = fmt.Fprintf(c.stdout, "%d handed back\n", n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *letters) runAll(ctx context.Context, c call, box *deadletter.Box) error {
	count := 0
	for x, err := range box.All(ctx) {
		if err != nil {
			return err
		}
		if l.reason != "" && x.Reason != l.reason {
			continue
		}
		count++
		if l.verb == "retry" {
			err = box.Retry(ctx, x)
		} else {
			err = x.WriteLine(c.stdout)
		}
		if err != nil {
			return err
		}
	}
	what := "letters"
	if l.verb == "retry" {
		what = "handed back"
	}
	_, err := fmt.Fprintf(c.stdout, "%d %s\n", count, what)
	return err
}

// dial the server that the services use, and fail if it is not there now. name is the
// one of a client that the permissions of NATS know. The connection is to be closed.
func dial(cfg fsagent.Config, name string, c call) (jetstream.JetStream, error) {
	how := cfg.NATS.Connection
	if how.URL == "" {
		if cfg.NATS.Listen == "" {
			return nil, errNoPort
		}
		how.URL = "nats://" + cfg.NATS.Listen
	}
	log := slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	nc, err := stream.Connect(how, name, log, nats.RetryOnFailedConnect(false), nats.Timeout(5*time.Second))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("JetStream: %w", err)
	}
	return js, nil
}
