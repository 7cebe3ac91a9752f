package esltest

import (
	"context"
	"time"
)

// pace waits for the time of an event.
type pace struct {
	speed    float64
	began    time.Time
	earliest time.Time // of offset 0, by the clock; zero if that does not matter
}

func newPace(speed float64) *pace { return &pace{speed: speed, began: time.Now()} }

// wait returns when offset is due; what was played before it is on its way then.
func (p *pace) wait(ctx context.Context, s *Server, offset time.Duration) error {
	var due <-chan time.Time = elapsed
	var left time.Duration
	if p.speed > 0 {
		left = time.Until(p.began.Add(time.Duration(float64(offset) / p.speed)))
	}
	if !p.earliest.IsZero() {
		left = max(left, time.Until(p.earliest.Add(offset)))
	}
	if left > 0 {
		s.flush()
		due = time.After(left)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.end:
		return ErrClosed
	case <-due:
		return nil
	}
}

// elapsed is always due.
var elapsed = func() chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()
