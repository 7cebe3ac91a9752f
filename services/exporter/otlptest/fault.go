package otlptest

import (
	"context"
	"slices"
	"time"

	colmetricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Fault is an answer other than "taken". The zero value answers OK.
type Fault struct {
	// Code and Message of the answer; OK takes the points.
	Code    codes.Code
	Message string
	// RetryInfo, if not nil, is in the details of the answer.
	RetryInfo *time.Duration
	// Rejected points of a partial success; the first ones are not kept. It
	// needs Code OK; Message goes with it.
	Rejected int64
	// Store keeps the points although the answer is an error.
	Store bool
	// Hang gives no answer until the client gives up.
	Hang bool
	// Delay of the answer.
	Delay time.Duration
	// Match, if not nil, limits the fault to requests for which it is true.
	Match func([]Point) bool
}

// Refuse answers code and keeps nothing.
func Refuse(code codes.Code, message string) Fault { return Fault{Code: code, Message: message} }

// RefuseFor answers code and asks to try again after d.
func RefuseFor(code codes.Code, d time.Duration) Fault {
	return Fault{Code: code, Message: "come back later", RetryInfo: &d}
}

// Partial rejects n points of a request, with a message, and keeps the rest.
func Partial(n int64, message string) Fault { return Fault{Rejected: n, Message: message} }

// StoreThenFail keeps the points and answers an error: the client cannot know.
func StoreThenFail(code codes.Code) Fault {
	return Fault{Code: code, Message: "lost the answer", Store: true}
}

// Hang keeps nothing and never answers.
func Hang() Fault { return Fault{Hang: true} }

// Slow takes the points, and answers after d.
func Slow(d time.Duration) Fault { return Fault{Delay: d} }

// TooLarge refuses requests of more than n points as a gRPC server does that
// has a limit on bytes.
func TooLarge(n int) Fault {
	return Fault{
		Code:    codes.ResourceExhausted,
		Message: "grpc: received message larger than max",
		Match:   func(points []Point) bool { return len(points) > n },
	}
}

// Poison refuses requests that hold a point for which bad is true.
func Poison(code codes.Code, bad func(Point) bool) Fault {
	return Fault{Code: code, Message: "bad point", Match: func(points []Point) bool {
		return slices.ContainsFunc(points, bad)
	}}
}

// Script sets the answers to the next requests, one each; a fault that does not
// match waits for the request that it does match.
func (r *Receiver) Script(faults ...Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, faults...)
}

// Always sets the answer to every request that the script has none for, until
// Heal.
func (r *Receiver) Always(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.standing = &f
}

// Heal takes back Script and Always.
func (r *Receiver) Heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults, r.standing = nil, nil
}

func (r *Receiver) nextFault(points []Point) *Fault {
	for i, f := range r.faults {
		if f.Match == nil || f.Match(points) {
			r.faults = append(r.faults[:i:i], r.faults[i+1:]...)
			return &f
		}
	}
	if f := r.standing; f != nil && (f.Match == nil || f.Match(points)) {
		return f
	}
	return nil
}

func (f *Fault) kept(points []Point) []Point {
	switch {
	case f.Store:
		return points
	case f.Hang || f.Code != codes.OK:
		return nil
	}
	return points[min(int(f.Rejected), len(points)):]
}

func (f *Fault) answer(ctx context.Context, closing <-chan struct{}) (*colmetricpb.ExportMetricsServiceResponse, error) {
	if f == nil {
		return &colmetricpb.ExportMetricsServiceResponse{}, nil
	}
	if f.Delay > 0 {
		if err := wait(ctx, closing, time.After(f.Delay)); err != nil {
			return nil, err
		}
	}
	switch {
	case f.Hang:
		return nil, wait(ctx, closing, nil)
	case f.Code == codes.OK:
		return &colmetricpb.ExportMetricsServiceResponse{PartialSuccess: &colmetricpb.ExportMetricsPartialSuccess{
			RejectedDataPoints: f.Rejected, ErrorMessage: f.Message,
		}}, nil
	}
	s := status.New(f.Code, f.Message)
	if f.RetryInfo != nil {
		if detailed, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(*f.RetryInfo)}); err == nil {
			s = detailed
		}
	}
	return nil, s.Err()
}

// wait for over. The error is what the client must get if it ends before: the
// server's clock may reach the client's deadline first, and an answer of another
// code would then overtake the client's own DeadlineExceeded.
func wait(ctx context.Context, closing <-chan struct{}, over <-chan time.Time) error {
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-closing:
		return status.Error(codes.Unavailable, "closed")
	}
}
