package replay

import (
	"context"
	"sync"
	"time"
)

// Rate is a Pacer: so many events a second, over all partitions.
type Rate struct {
	mu     sync.Mutex
	events float64 // a second
	next   time.Time
}

// NewRate holds a replay to so many events a second.
func NewRate(events float64) *Rate { return &Rate{events: events} }

// Wait waits for the turn of so many events.
func (r *Rate) Wait(ctx context.Context, events int) error {
	r.mu.Lock()
	now := time.Now()
	if r.next.Before(now) {
		r.next = now
	}
	r.next = r.next.Add(time.Duration(float64(events) / r.events * float64(time.Second)))
	wait := r.next.Sub(now)
	r.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// set another rate.
func (r *Rate) set(events float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = events
}
