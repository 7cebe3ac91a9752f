package collector

import (
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/fsagent/fsagent/services/collector/esl"
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	b := backoff{least: time.Second, most: time.Minute}
	for i := range 100 {
		most := min(time.Second<<min(i, 10), time.Minute)
		if got := b.next(io.EOF); got < most/2 || got > most {
			t.Fatalf("wait %d: got %v, want %v to %v", i, got, most/2, most)
		}
	}
	b.reset()
	if got := b.next(io.EOF); got > time.Second {
		t.Errorf("after reset: got %v", got)
	}
	for _, err := range []error{esl.ErrAuth, esl.ErrRejected, esl.ErrPermission, errPasswordFile} {
		b.reset()
		if got := b.next(fmt.Errorf("wrapped: %w", err)); got < 30*time.Second || got > time.Minute {
			t.Errorf("%v: got %v, want about a minute", err, got)
		}
	}
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		want string
	}{
		{esl.ErrAuth, "auth"},
		{esl.ErrRejected, "acl"},
		{esl.ErrPermission, "permission"},
		{esl.ErrNotESL, "not_esl"},
		{esl.ErrTruncated, "truncated"},
		{esl.ErrTimeout, "timeout"},
		{esl.ErrIdle, "dead"},
		{esl.ErrDisconnected, "disconnected"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "refused"},
		{&net.DNSError{Err: "no such host"}, "unknown_host"},
		{io.EOF, "lost"},
		{syscall.ECONNRESET, "lost"},
	} {
		got := diagnose(fmt.Errorf("wrapped: %w", tc.err))
		if got.cause != tc.want || got.advice == "" {
			t.Errorf("%v: got %+v, want %s", tc.err, got, tc.want)
		}
	}
}
