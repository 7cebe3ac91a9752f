package exporter

import (
	"context"
	"math/rand/v2"
	"time"
)

// pause is a wait that doubles from least to most, each a fifth longer or
// shorter by chance so that replicas do not march in step.
type pause struct {
	least, most, next time.Duration
}

func newPause(least, most time.Duration) *pause {
	return &pause{least: least, most: most, next: least}
}

func (p *pause) reset() { p.next = p.least }

// step returns the wait that is due, and doubles the next one.
func (p *pause) step() time.Duration {
	d := time.Duration(float64(p.next) * (0.8 + 0.4*rand.Float64()))
	p.next = min(2*p.next, max(p.most, p.least))
	return d
}

// wait returns false if ctx ended first.
func (p *pause) wait(ctx context.Context) bool { return sleep(ctx, p.step()) }

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
