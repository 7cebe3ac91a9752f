package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/fsagent"
)

// errEmbedded is returned where there is nothing to be done by hand.
var errEmbedded = errors.New("without nats.url the streams are those of the embedded server, which takes the limits of the settings when fsagent run starts")

// limitsTimeout bounds what is asked of NATS.
const limitsTimeout = 10 * time.Second

// runLimits compares what the streams keep with the settings, or makes it so.
func runLimits(ctx context.Context, c call, args []string) error {
	path := c.flags.String("config", "", "YAML `file` with settings (default "+config.DefaultFile+", if it is there)")
	apply := c.flags.Bool("apply", false, "give the streams the limits of the settings; what is over a smaller one is deleted")
	if err := c.parse(args); err != nil {
		return err
	}
	cfg := reading{fsagent.DefaultConfig()}
	if err := config.Load(&cfg, *path, c.environ); err != nil {
		return err
	}
	if cfg.NATS.URL == "" {
		return errEmbedded
	}
	js, err := dial(cfg.Config, "fsagent-check", c)
	if err != nil {
		return err
	}
	defer js.Conn().Close()
	ctx, cancel := context.WithTimeout(ctx, limitsTimeout)
	defer cancel()
	differ, err := stream.Limits(ctx, js, cfg.Storage)
	if err != nil {
		return err
	}
	if len(differ) == 0 {
		fmt.Fprintln(c.stdout, "all limits are as configured")
		return nil
	}
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STREAM\tLIMIT\tIS\tCONFIGURED")
	for _, l := range differ {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", l.Stream, l.Setting, l.Have, l.Want)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if !*apply {
		fmt.Fprintln(c.stdout, "fsagent limits --apply makes them as configured; what is over a smaller limit is deleted")
		return nil
	}
	if err := stream.ApplyLimits(ctx, js, cfg.Storage, slog.New(slog.DiscardHandler)); err != nil {
		return errors.Join(err, js.Conn().LastError()) // a refusal shows as a time-out
	}
	fmt.Fprintln(c.stdout, "all limits are as configured now")
	return nil
}
