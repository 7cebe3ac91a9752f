package exporter

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// level is how well a neighbour serves us.
type level int

const (
	up level = iota
	// waiting: it will pass by itself, or when the neighbour is back.
	waiting
	// refused: a person has to change a configuration.
	refused
)

func (l level) String() string { return [...]string{"up", "waiting", "refused"}[l] }

// condition of a neighbour. It logs when its level changes, not with every
// failure.
type condition struct {
	log  *slog.Logger
	name string

	mu     sync.Mutex
	level  level
	err    error
	since  time.Time
	lastUp time.Time
}

func newCondition(log *slog.Logger, name string) *condition {
	return &condition{log: log, name: name, since: time.Now()}
}

// set the level, with the error that is the reason of any but up.
func (c *condition) set(l level, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if l == up {
		c.lastUp, err = now, nil
	}
	changed := l != c.level
	c.level, c.err = l, err
	if !changed {
		return
	}
	away := now.Sub(c.since)
	c.since = now
	switch {
	case err == errNotStarted || err == errStopped: // Run says so
	case l == up:
		c.log.Info(c.name+" is up", "duration", away.Round(time.Millisecond).String())
	case l == waiting:
		c.log.Warn("waiting for "+c.name, "err", err)
	default:
		c.log.Error(c.name+" refuses this exporter, samples are kept; check its address and credentials", "err", err)
	}
}

// ready returns nil if the neighbour is up, else why not.
func (c *condition) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.level == up {
		return nil
	}
	return fmt.Errorf("%s: %s since %s: %w", c.name, c.level, c.since.UTC().Format(time.RFC3339), c.err)
}

// upSince returns true if the neighbour served somebody after t.
func (c *condition) upSince(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastUp.After(t)
}

// health is how a condition reads in /health.
type health struct {
	State  string     `json:"state"`
	Since  time.Time  `json:"since"`
	LastUp *time.Time `json:"last_up,omitempty"`
	Error  string     `json:"error,omitempty"`
}

func (c *condition) health() health {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := health{State: c.level.String(), Since: c.since}
	if !c.lastUp.IsZero() {
		t := c.lastUp
		h.LastUp = &t
	}
	if c.err != nil {
		h.Error = c.err.Error()
	}
	return h
}
