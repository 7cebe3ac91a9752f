package command

import (
	"context"
	"errors"
	"time"

	"github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/services/fsagent"
	"github.com/fsagent/fsagent/services/fsagent/check"
)

// errCheck is returned when something failed or is missing.
var errCheck = errors.New("something is missing")

func runCheck(ctx context.Context, c call, args []string) error {
	path := c.flags.String("config", "", "YAML `file` with settings (default "+config.DefaultFile+", if it is there)")
	wait := c.flags.Duration("wait", 10*time.Second, "how long to wait for events of each FreeSWITCH")
	asJSON := c.flags.Bool("json", false, "print JSON")
	if err := c.parse(args); err != nil {
		return err
	}
	if *wait < 0 {
		return c.mistake("--wait is not negative")
	}
	cfg := fsagent.DefaultConfig()
	if err := config.Load(&cfg, *path, c.environ); err != nil {
		return err
	}
	r := check.Run(ctx, cfg, check.Options{Wait: *wait})
	print := r.Write
	if *asJSON {
		print = r.WriteJSON
	}
	if err := print(c.stdout); err != nil {
		return err
	}
	if !r.OK {
		return errCheck
	}
	return nil
}
