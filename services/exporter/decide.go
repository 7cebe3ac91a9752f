package exporter

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// action is what to do with the samples of a request.
type action int

const (
	// accept: the endpoint has answered for them; settle, never send again.
	accept action = iota
	// again: not taken, and not their fault; keep and send again later.
	again
	// halve: the request is too large; send it in two.
	halve
	// bisect: something in the request may be bad; find it.
	bisect
	// alarm: the endpoint refuses us, whatever we send; keep everything and
	// tell a person.
	alarm
)

// outcome is what the endpoint's answer said beside its status.
type outcome struct {
	// answered is true if there was an answer with status OK.
	answered bool
	// rejected points and message of a partial success (OTLP specification,
	// "Partial Success").
	rejected int64
	message  string
}

// verdict on one request.
type verdict struct {
	action action
	code   codes.Code
	// after is how long the endpoint asked us to wait; 0 if it did not say.
	after time.Duration
	// rejected points, of those accepted, and what the endpoint said about it.
	rejected int64
	message  string
	err      error
}

// maxRetryInfo bounds what an endpoint may ask: it may be restarted meanwhile.
const maxRetryInfo = 5 * time.Minute

// decide what the answer to an export means. Which codes may be sent again is
// in the OTLP specification, "Failures" of OTLP/gRPC; that a collector answers
// Unknown or Internal also when what is behind it fails is measured.
func decide(err error, out outcome) verdict {
	if out.answered && (err == nil || out.rejected != 0 || out.message != "") {
		// A partial success must not be sent again; the library reports it as
		// an error although the rest was taken.
		return verdict{action: accept, rejected: max(out.rejected, 0), message: out.message}
	}
	if err == nil {
		return verdict{action: accept}
	}
	v := verdict{err: err, code: codes.Unknown}
	s, ok := status.FromError(err)
	if !ok {
		v.action = bisect // the library could not make a request of it
		return v
	}
	wait, told := retryInfo(s)
	v.code, v.after = s.Code(), wait
	switch s.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Canceled, codes.DataLoss:
		v.action = again
	case codes.ResourceExhausted:
		v.action = again
		if !told && strings.Contains(s.Message(), "larger than max") {
			v.action = halve
		}
	case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		v.action = alarm
	default:
		v.action = bisect
	}
	return v
}

func retryInfo(s *status.Status) (wait time.Duration, told bool) {
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return min(max(info.GetRetryDelay().AsDuration(), 0), maxRetryInfo), true
		}
	}
	return 0, false
}

func (a action) String() string {
	names := [...]string{"accept", "again", "halve", "bisect", "alarm"}
	if a < 0 || int(a) >= len(names) {
		return fmt.Sprintf("action(%d)", int(a))
	}
	return names[a]
}
