package esl_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/percipia/eslgo"
)

// TestOrder is why eslgo's connection is not used for events: in a burst its
// listeners, a goroutine each, run in another order. How often is logged; that
// ours never does is the test. (The recording steps back now and then by itself.)
func TestOrder(t *testing.T) {
	t.Parallel()
	rec := load(t, "05-load-80-calls")
	var want []uint64
	for _, raw := range rec.Events() {
		id, err := event.Scan(raw)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, id.Sequence)
	}
	burst := esltest.Playback{Recordings: []*recording.Recording{rec}, Clients: 1}

	srv := start(t, esltest.Config{})
	cfg := dialConfig(srv.Addr().String())
	cfg.Events = []string{"ALL"}
	conn, err := esl.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go srv.Play(t.Context(), burst)
	for i, n := range want {
		f, err := conn.Next()
		if err != nil {
			t.Fatal(err)
		}
		if id, err := event.Scan(f.Body); err != nil || id.Sequence != n {
			t.Fatalf("event %d: got number %d, %v, want %d", i, id.Sequence, err, n)
		}
	}
	t.Logf("steps back: recorded %d, eslgo %d of %d", stepsBack(want), stepsBack(throughEslgo(t, burst, len(want))), len(want))
}

func throughEslgo(t *testing.T, burst esltest.Playback, want int) []uint64 {
	t.Helper()
	srv := start(t, esltest.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	opts := eslgo.DefaultInboundOptions
	opts.Logger = nil
	opts.Context = ctx
	conn, err := opts.Dial(srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []uint64
	all := make(chan struct{})
	conn.RegisterEventListener(eslgo.EventListenAll, func(e *eslgo.Event) {
		n, err := strconv.ParseUint(e.GetHeader("Event-Sequence"), 10, 64)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Errorf("eslgo: %v", err)
		}
		if got = append(got, n); len(got) == want {
			close(all)
		}
	})
	if err := conn.EnableEvents(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Play(ctx, burst); err != nil {
		t.Fatal(err)
	}
	select {
	case <-all:
	case <-ctx.Done():
		t.Fatal("eslgo did not get all events")
	}
	mu.Lock()
	defer mu.Unlock()
	return got
}

func stepsBack(numbers []uint64) (n int) {
	for i := 1; i < len(numbers); i++ {
		if numbers[i] < numbers[i-1] {
			n++
		}
	}
	return n
}
