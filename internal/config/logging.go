package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Logging is how a service speaks: to stderr, one line a message.
type Logging struct {
	// Level is from which on messages are written: debug, info, warn or error.
	Level string `yaml:"level" env:"FSAGENT_LOG_LEVEL"`
	// Format is that of the lines: json for machines, text for people.
	Format string `yaml:"format" env:"FSAGENT_LOG_FORMAT"`
}

// DefaultLogging is JSON from info on.
func DefaultLogging() Logging { return Logging{Level: "info", Format: "json"} }

// Validate names every setting that cannot be.
func (l Logging) Validate() error {
	var errs []error
	if err := new(slog.Level).UnmarshalText([]byte(l.Level)); err != nil {
		errs = append(errs, fmt.Errorf("logging.level: %q is not debug, info, warn or error", l.Level))
	}
	if l.Format != "json" && l.Format != "text" {
		errs = append(errs, fmt.Errorf("logging.format: %q is not json or text", l.Format))
	}
	return errors.Join(errs...)
}

// Logger writes to w. Durations are text in both formats.
func (l Logging) Logger(w io.Writer) *slog.Logger {
	var level slog.Level // info, if Validate was not asked
	_ = level.UnmarshalText([]byte(l.Level))
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().Round(time.Microsecond).String())
		}
		return a
	}}
	if l.Format == "text" {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}
