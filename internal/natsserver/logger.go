package natsserver

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// logger hands the server's warnings and errors to slog; what it says about its
// own start and stop is of no interest to people who run fsagent.
type logger struct {
	log *slog.Logger
	mu  sync.Mutex
	err string
}

func (l *logger) say(level slog.Level, format string, v []any) {
	text := fmt.Sprintf(format, v...)
	if level >= slog.LevelError {
		l.mu.Lock()
		l.err = text
		l.mu.Unlock()
	}
	l.log.Log(context.Background(), level, "embedded NATS server", "text", text)
}

// last returns the latest error.
func (l *logger) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *logger) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l *logger) Warnf(format string, v ...any)   { l.say(slog.LevelWarn, format, v) }
func (l *logger) Errorf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l *logger) Fatalf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l *logger) Debugf(string, ...any)           {}
func (l *logger) Tracef(string, ...any)           {}
