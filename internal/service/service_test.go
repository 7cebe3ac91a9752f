package service_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fsagent/fsagent/internal/freeport"
	"github.com/fsagent/fsagent/internal/service"
)

// A program asks itself how it is; nothing is started.
func TestAsk(t *testing.T) {
	t.Parallel()
	port, err := freeport.Find() // nobody answers there
	if err != nil {
		t.Fatal(err)
	}
	s := service.DefaultSettings()
	s.HTTP.Host, s.HTTP.Port = "127.0.0.1", port
	p := service.Program{Name: "collector", Load: func(string, []string) error { return nil }, Settings: func() service.Settings { return s }}
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"ready"}, service.ExitError, "collector ready: nobody answers"},
		{[]string{"health"}, service.ExitError, "collector health: nobody answers"},
		{[]string{"healthy"}, service.ExitConfig, `unexpected argument "healthy"`},
		{[]string{"ready", "now"}, service.ExitConfig, `unexpected argument "now"`},
	} {
		var stdout, stderr bytes.Buffer
		if code := p.Run(t.Context(), tc.args, nil, &stdout, &stderr); code != tc.code || !strings.Contains(stderr.String(), tc.says) {
			t.Errorf("%v: status %d, %s; want %d with %q", tc.args, code, &stderr, tc.code, tc.says)
		}
	}
}
