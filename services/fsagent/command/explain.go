package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/fsagent"
	"github.com/fsagent/fsagent/services/fsagent/explain"
	"github.com/fsagent/fsagent/services/fsagent/history"
)

// reading is the settings as of fsagent run, for a command that reads only: it
// needs no FreeSWITCH and no OTLP endpoint.
type reading struct {
	fsagent.Config `yaml:",inline"`
}

// Validate names the settings that cannot be, of those that are used.
func (r reading) Validate() error {
	return errors.Join(r.Calculator.Validate(), r.Storage.Validate(), r.NATS.Validate())
}

// runExplain tells the story of legs: of a recording, of a captured file, or of
// one leg in the events stream.
func runExplain(ctx context.Context, c call, args []string) error {
	path := c.flags.String("config", "", "YAML `file` with settings (default "+config.DefaultFile+", if it is there)")
	only := c.flags.String("leg", "", "only the leg with this `Unique-ID` of a recording or file")
	c.flags.Usage = func() {
		fmt.Fprintf(c.stderr, "fsagent explain [flags] <recording|Unique-ID|file.esl>: say how the numbers of a leg were made\n\n"+
			"A Unique-ID is looked up in the events stream: on the NATS server of the settings (nats.url, nats.listen),\n"+
			"else in a copy of the embedded one's (data_dir), which may be running.\n\nRecordings: %v\n\nFlags:\n", recording.Names())
		c.flags.PrintDefaults()
	}
	what, err := c.parseOne(args, "a recording, a Unique-ID or a file")
	if err != nil {
		return err
	}
	settings := reading{fsagent.DefaultConfig()}
	if err := config.Load(&settings, *path, c.environ); err != nil {
		return err
	}
	cfg := settings.Config
	if slices.Contains(recording.Names(), what) {
		r, err := recording.Load(what)
		if err != nil {
			return err
		}
		x := explain.New(cfg.Calculator.Params(), *only)
		x.Events("pbx", r.Events())
		return x.Write(c.stdout)
	}
	f, err := os.Open(what)
	if errors.Is(err, fs.ErrNotExist) {
		return explainLeg(ctx, c, cfg, what)
	} else if err != nil {
		return err
	}
	defer f.Close()
	x := explain.New(cfg.Calculator.Params(), *only)
	if err := x.Capture(f); err != nil {
		return err
	}
	return x.Write(c.stdout)
}

// explainLeg reads one leg from the events stream.
func explainLeg(ctx context.Context, c call, cfg fsagent.Config, uniqueID string) error {
	log := slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	h, err := history.Open(ctx, cfg, stream.Events, log)
	if err != nil {
		return err
	}
	defer h.Close()
	x := explain.New(cfg.Calculator.Params(), uniqueID)
	if err := x.Stream(ctx, h, uniqueID); err != nil {
		return err
	}
	return x.Write(c.stdout)
}

// parseOne reads flags and exactly one argument, in any order.
func (c call) parseOne(args []string, what string) (string, error) {
	var found []string
	for {
		switch err := c.flags.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			return "", err
		case err != nil:
			return "", errUsage
		}
		if c.flags.NArg() == 0 {
			break
		}
		found, args = append(found, c.flags.Arg(0)), c.flags.Args()[1:]
	}
	if len(found) != 1 {
		return "", c.mistake("wants %s, got %d arguments", what, len(found))
	}
	return found[0], nil
}
