package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Limit of a stream that is there, and is not the configured one.
type Limit struct {
	Stream, Setting string
	Have, Want      string
}

// String says both.
func (l Limit) String() string {
	return fmt.Sprintf("%s of stream %s is %s, configured is %s", l.Setting, l.Stream, l.Have, l.Want)
}

// Limits returns those that differ. A stream that is not there has none.
func Limits(ctx context.Context, js jetstream.JetStream, s Settings) (differ []Limit, err error) {
	for _, want := range s.streams() {
		have, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("stream %s: %w", want.Name, err)
		}
		differ = append(differ, limits(want, have.CachedInfo().Config)...)
	}
	return differ, nil
}

func limits(want, have jetstream.StreamConfig) (differ []Limit) {
	add := func(setting string, same bool, h, w any) {
		if !same {
			differ = append(differ, Limit{want.Name, setting, fmt.Sprint(h), fmt.Sprint(w)})
		}
	}
	add("max_age", have.MaxAge == want.MaxAge, have.MaxAge, want.MaxAge)
	add("max_bytes", have.MaxBytes == want.MaxBytes, room(have.MaxBytes), room(want.MaxBytes))
	// The server keeps the window of some streams at or below their age.
	add("duplicate_window", have.Duplicates == min(want.Duplicates, have.MaxAge) || have.Duplicates == want.Duplicates, have.Duplicates, want.Duplicates)
	return differ
}

func room(bytes int64) any {
	if bytes <= 0 {
		return "none"
	}
	return bytes
}

// TellLimits logs the limits that differ: they stay as they are, because those of a
// server may have been changed by its operator, and because what is over a smaller
// limit is deleted.
func TellLimits(ctx context.Context, js jetstream.JetStream, s Settings, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	differ, err := Limits(ctx, js, s)
	if err != nil {
		log.Debug("limits of the streams", "err", err)
	}
	for _, l := range differ {
		log.Warn("a stream keeps the limit it has, not the configured one; \"fsagent limits --apply\" changes it", "stream", l.Stream, "limit", l.Setting, "have", l.Have, "configured", l.Want)
	}
}

// ApplyLimits gives the streams the configured limits. What is over a smaller one is
// deleted.
func ApplyLimits(ctx context.Context, js jetstream.JetStream, s Settings, log *slog.Logger) error {
	for _, want := range s.streams() {
		have, err := js.Stream(ctx, want.Name)
		if err != nil {
			return fmt.Errorf("stream %s: %w", want.Name, err)
		}
		cfg := have.CachedInfo().Config
		differ := limits(want, cfg)
		if len(differ) == 0 {
			continue
		}
		cfg.MaxAge, cfg.MaxBytes, cfg.Duplicates = want.MaxAge, want.MaxBytes, want.Duplicates
		if _, err := js.UpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("set the limits of stream %s: %w", want.Name, err)
		}
		for _, l := range differ {
			log.Info("limit of a stream is changed, as configured", "stream", l.Stream, "limit", l.Setting, "from", l.Have, "to", l.Want)
		}
	}
	return nil
}
