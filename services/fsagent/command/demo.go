package command

import (
	"context"

	"github.com/fsagent/fsagent/services/fsagent/demo"
)

// defaultSpeed shows two minutes of calls in half a minute.
const defaultSpeed = 4

func runDemo(ctx context.Context, c call, args []string) error {
	var o demo.Options
	c.flags.BoolVar(&o.Once, "once", false, "end when the recordings are through, and print every leg")
	c.flags.Float64Var(&o.Speed, "speed", defaultSpeed, "play the recordings `n` times as fast as they were recorded, until their times have caught up with the clock")
	if err := c.parse(args); err != nil {
		return err
	}
	if o.Speed <= 0 {
		return c.mistake("--speed %v is not over 0", o.Speed)
	}
	return demo.Run(ctx, o, c.environ, c.stdout, c.stderr)
}
