package collector_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/prometheus/client_golang/prometheus"
)

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A server that refuses us for long is one line, which says what to do and tells
// no password; its answering is another.
func TestOneLineForEachChange(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{Password: "right-password"})
	fs.SetMode(esltest.RefusingAuth)
	in := instance("fs1", fs)
	in.Password = "right-password"
	var out lockedBuffer
	c, err := collector.New(config(in), r.srv.Connect(), partitions, slog.New(slog.NewTextHandler(&out, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	eventually(t, "five attempts", func() bool { return fs.Stats().Accepted >= 5 })
	fs.SetMode(esltest.Normal)
	eventually(t, "connected", func() bool { return health(t, c).Status == "ok" })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	log := out.String()
	for line, n := range map[string]int{"no connection to FreeSWITCH": 1, "connected to FreeSWITCH": 1, "advice=\"set password": 1, "level=ERROR": 1, "cause=auth": 1} {
		if got := strings.Count(log, line); got != n {
			t.Errorf("%q: got %d times, want %d, in\n%s", line, got, n, log)
		}
	}
	if strings.Contains(log, "right-password") {
		t.Errorf("the password is in the log:\n%s", log)
	}
}
