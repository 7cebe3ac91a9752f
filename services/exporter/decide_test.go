package exporter

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	wrapped := func(code codes.Code, message string) error {
		return fmt.Errorf("failed to upload metrics: %w", errors.Join(nil, status.Error(code, message)))
	}
	told := func(code codes.Code, message string, d time.Duration) error {
		s, err := status.New(code, message).WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Errorf("failed to upload metrics: %w", s.Err())
	}
	partial := errors.New("OTLP partial success: bad (2 metric data points rejected)")
	for _, tt := range []struct {
		name     string
		err      error
		out      outcome
		action   action
		code     codes.Code
		after    time.Duration
		rejected int64
	}{
		{name: "OK", out: outcome{answered: true}},
		{name: "partial success", err: partial, out: outcome{answered: true, rejected: 2, message: "bad"}, rejected: 2},
		{name: "partial success, nothing rejected", err: partial, out: outcome{answered: true, message: "slow down"}},
		{name: "partial success, less than nothing", err: partial, out: outcome{answered: true, rejected: -1}},
		{name: "unavailable", err: wrapped(codes.Unavailable, "connection refused"), action: again, code: codes.Unavailable},
		{name: "deadline", err: wrapped(codes.DeadlineExceeded, ""), action: again, code: codes.DeadlineExceeded},
		{name: "aborted", err: wrapped(codes.Aborted, ""), action: again, code: codes.Aborted},
		{name: "out of range", err: wrapped(codes.OutOfRange, ""), action: again, code: codes.OutOfRange},
		{name: "canceled", err: wrapped(codes.Canceled, ""), action: again, code: codes.Canceled},
		{name: "data loss", err: wrapped(codes.DataLoss, ""), action: again, code: codes.DataLoss},
		{name: "unavailable for a while", err: told(codes.Unavailable, "", 3*time.Second), action: again, code: codes.Unavailable, after: 3 * time.Second},
		{name: "exhausted for a while", err: told(codes.ResourceExhausted, "quota", time.Second), action: again, code: codes.ResourceExhausted, after: time.Second},
		{name: "exhausted for a year", err: told(codes.ResourceExhausted, "quota", 365*24*time.Hour), action: again, code: codes.ResourceExhausted, after: maxRetryInfo},
		{name: "exhausted", err: wrapped(codes.ResourceExhausted, "quota"), action: again, code: codes.ResourceExhausted},
		{name: "too large", err: wrapped(codes.ResourceExhausted, "grpc: received message larger than max (4940391 vs. 4194304)"), action: halve, code: codes.ResourceExhausted},
		{name: "unauthenticated", err: wrapped(codes.Unauthenticated, ""), action: alarm, code: codes.Unauthenticated},
		{name: "permission denied", err: wrapped(codes.PermissionDenied, ""), action: alarm, code: codes.PermissionDenied},
		{name: "unimplemented", err: wrapped(codes.Unimplemented, ""), action: alarm, code: codes.Unimplemented},
		{name: "invalid argument", err: wrapped(codes.InvalidArgument, ""), action: bisect, code: codes.InvalidArgument},
		{name: "internal", err: wrapped(codes.Internal, "error while marshaling: string field contains invalid UTF-8"), action: bisect, code: codes.Internal},
		{name: "unknown", err: wrapped(codes.Unknown, ""), action: bisect, code: codes.Unknown},
		{name: "failed precondition", err: wrapped(codes.FailedPrecondition, ""), action: bisect, code: codes.FailedPrecondition},
		{name: "a code of the future", err: wrapped(codes.Code(99), ""), action: bisect, code: codes.Code(99)},
		{name: "no request made of it", err: errors.New("gRPC exporter is shutdown"), action: bisect, code: codes.Unknown},
		{name: "a part not made into a request", err: errors.New("unknown temporality"), out: outcome{answered: true}, action: bisect, code: codes.Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := decide(tt.err, tt.out)
			if got.action != tt.action || got.code != tt.code || got.after != tt.after || got.rejected != tt.rejected {
				t.Errorf("got %v, code %v, after %v, rejected %d; want %v, %v, %v, %d",
					got.action, got.code, got.after, got.rejected, tt.action, tt.code, tt.after, tt.rejected)
			}
		})
	}
}

// A status code that gRPC does not know is counted as Unknown, not under the name of
// another.
func TestForeignCode(t *testing.T) {
	t.Parallel()
	none := func() int { return 0 }
	m, err := newInstruments(nil, func() time.Duration { return 0 }, none)
	if err != nil {
		t.Fatal(err)
	}
	m.request(decide(status.Error(42, "what?"), outcome{}), 1)
	e := &Exporter{metrics: m}
	if got, as := answered(t, e, codes.Unknown), answered(t, e, codes.Unauthenticated); got != 1 || as != 0 {
		t.Errorf("got %v Unknown and %v Unauthenticated, want 1 and 0", got, as)
	}
}
