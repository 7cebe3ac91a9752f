// Package otlptest is an OTLP/gRPC metrics receiver in the process: a real gRPC
// server that keeps every number point it takes and misbehaves as it is told.
// Tests compare its points with what they expect, the demo shows them live, and
// chaos runs break it on purpose.
package otlptest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsagent/fsagent/internal/freeport"
	colmetricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // takes compressed requests
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Receiver takes metrics until it is closed. Its methods may be called at any
// time, from any goroutine.
type Receiver struct {
	colmetricpb.UnimplementedMetricsServiceServer
	listener net.Listener
	server   *grpc.Server
	served   chan struct{}
	closing  chan struct{}
	once     sync.Once

	mu       sync.Mutex
	points   []Point
	changed  chan struct{}
	interned map[string]Attributes
	faults   []Fault
	standing *Fault
	onPoint  func(Point)
	requests []Request
	discard  bool
}

// Request is the account of one request.
type Request struct {
	// Code of the answer.
	Code codes.Code
	// Points in the request and those that were kept of it.
	Points, Kept int
	// Oldest and Newest time of its points.
	Oldest, Newest time.Time
	// Headers of the request.
	Headers map[string][]string
}

// Start receives on a TCP address. With port 0 it finds one at which another can be
// started when this one has been closed.
func Start(addr string, opts ...grpc.ServerOption) (*Receiver, error) {
	l, err := listen(addr)
	if err != nil {
		return nil, fmt.Errorf("listen for OTLP: %w", err)
	}
	r := &Receiver{
		listener: l,
		server:   grpc.NewServer(opts...),
		served:   make(chan struct{}),
		closing:  make(chan struct{}),
		changed:  make(chan struct{}),
		interned: map[string]Attributes{},
	}
	colmetricpb.RegisterMetricsServiceServer(r.server, r)
	go func() {
		defer close(r.served)
		_ = r.server.Serve(l) // ends with Close
	}()
	return r, nil
}

func listen(addr string) (net.Listener, error) {
	host, isAny := strings.CutSuffix(addr, ":0")
	if !isAny {
		return net.Listen("tcp", addr)
	}
	for try := 1; ; try++ { // another may be quicker
		port, err := freeport.Find()
		if err != nil {
			return nil, err
		}
		l, err := net.Listen("tcp", host+":"+strconv.Itoa(port))
		if err == nil || try == 10 {
			return l, err
		}
	}
}

// Addr is the host:port that it listens on.
func (r *Receiver) Addr() string { return r.listener.Addr().String() }

// Close ends the server and all its connections at once. The points stay.
func (r *Receiver) Close() {
	r.once.Do(func() { close(r.closing) })
	r.server.Stop()
	<-r.served
}

// Export is called by the server for each request.
func (r *Receiver) Export(ctx context.Context, req *colmetricpb.ExportMetricsServiceRequest) (*colmetricpb.ExportMetricsServiceResponse, error) {
	r.mu.Lock()
	points := r.flatten(req)
	f := r.nextFault(points)
	keep := points
	if f != nil {
		keep = f.kept(points)
	}
	r.keep(keep)
	headers, _ := metadata.FromIncomingContext(ctx)
	i := len(r.requests)
	account := Request{Points: len(points), Kept: len(keep), Headers: headers}
	for n, p := range points {
		if n == 0 || p.Time.Before(account.Oldest) {
			account.Oldest = p.Time
		}
		if p.Time.After(account.Newest) {
			account.Newest = p.Time
		}
	}
	r.requests = append(r.requests, account)
	r.mu.Unlock()

	resp, err := f.answer(ctx, r.closing)
	r.mu.Lock()
	r.requests[i].Code = status.Code(err)
	r.mu.Unlock()
	return resp, err
}

// keep points and tell those who wait. The caller holds mu.
func (r *Receiver) keep(points []Point) {
	if r.onPoint != nil {
		for _, p := range points {
			r.onPoint(p)
		}
	}
	if !r.discard {
		r.points = append(r.points, points...)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// OnPoint calls f for every point that is kept, one after the other. f must not
// call the Receiver.
func (r *Receiver) OnPoint(f func(Point)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onPoint = f
}

// Discard stops keeping points: OnPoint sees them, Points does not. For runs
// without end.
func (r *Receiver) Discard() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.discard = true
}

// Points returns what was kept, in the order of arrival.
func (r *Receiver) Points() []Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Point(nil), r.points...)
}

// Requests returns the account of every request, in the order of arrival.
func (r *Receiver) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Request(nil), r.requests...)
}

// Wait returns when n points or more are kept, or the error of ctx.
func (r *Receiver) Wait(ctx context.Context, n int) error {
	return r.until(ctx, func() bool { return len(r.points) >= n })
}

// WaitUnique returns when n different points or more are kept; see Unique.
func (r *Receiver) WaitUnique(ctx context.Context, n int) error {
	return r.until(ctx, func() bool { return len(r.points) >= n && len(Unique(r.points)) >= n })
}

func (r *Receiver) until(ctx context.Context, done func() bool) error {
	for {
		r.mu.Lock()
		ok, changed, have := done(), r.changed, len(r.points)
		r.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("with %d points received: %w", have, context.Cause(ctx))
		case <-changed:
		}
	}
}
