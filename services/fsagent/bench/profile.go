package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsagent/fsagent/internal/freeport"
)

// profileTime is how long a profile is taken; it begins profileDelay after the
// calls.
const (
	profileTime  = 3 * time.Second
	profileDelay = time.Second
)

// page is where a process is to serve its profile: the port, 0 if none are taken.
func (b *bench) page(process string) (port int, err error) {
	if b.cfg.Profiles == "" {
		return 0, nil
	}
	if port, err = freeport.Find(); err == nil {
		b.pages[process] = fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/profile?seconds=%d", port, int(profileTime.Seconds()))
	}
	return port, err
}

// profile takes a profile of every process at once, and returns a function that
// waits for them.
func (b *bench) profile(ctx context.Context, name string) (wait func() error) {
	var wg sync.WaitGroup
	processes := slices.Sorted(maps.Keys(b.pages))
	errs := make([]error, len(processes))
	for i, process := range processes {
		file := filepath.Join(b.cfg.Profiles, strings.ReplaceAll(name, " ", "-")+"-"+process+".pprof")
		wg.Go(func() { errs[i] = save(ctx, b.pages[process], file) })
	}
	return func() error {
		wg.Wait()
		return errors.Join(errs...)
	}
}

func save(ctx context.Context, url, file string) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(profileDelay):
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer answer.Body.Close()
	out, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	_, err = io.Copy(out, answer.Body)
	if err = errors.Join(err, out.Close()); err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("profile: %s answers %s", url, answer.Status)
	}
	return err
}
