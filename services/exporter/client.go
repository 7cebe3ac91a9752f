package exporter

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	colmetricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/keepalive"
)

// scopeName is the instrumentation scope of all points. It has no version: in
// some backends each version would start every series anew.
const scopeName = "github.com/fsagent/fsagent/services/exporter"

const defaultEndpoint = "localhost:4317"

// takeTurns is gRPC's name for using all addresses of a name, and none that does
// not answer.
const takeTurns = `{"loadBalancingConfig":[{"round_robin":{}}]}`

// client sends requests over one connection, one at a time. The library gives it
// what the standard variables ask for: endpoint, TLS, headers, timeout,
// compression. The requests are ours.
type client struct {
	otlp *otlpmetricgrpc.Exporter
	// conn is the library's connection, once a request has gone through it.
	conn atomic.Pointer[grpc.ClientConn]
}

func newClient(cfg Config, more ...grpc.DialOption) (*client, error) {
	c := &client{}
	opts, err := options(cfg, append([]grpc.DialOption{grpc.WithChainUnaryInterceptor(c.intercept)}, more...)...)
	if err != nil {
		return nil, err
	}
	if c.otlp, err = otlpmetricgrpc.New(context.Background(), opts...); err != nil {
		return nil, fmt.Errorf("prepare OTLP client: %w", err)
	}
	return c, nil
}

// options of the library. Its retry is off, because it gives up where the
// stream can wait; its size check is off, because requests are cut here; gRPC's
// pause between connection attempts is cut from 120 s to 1 s.
func options(cfg Config, more ...grpc.DialOption) ([]otlpmetricgrpc.Option, error) {
	headers, err := cfg.Headers.withFile(cfg.HeadersFile)
	if err != nil {
		return nil, err
	}
	dial := append([]grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{
			MinConnectTimeout: 2 * time.Second,
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDefaultServiceConfig(takeTurns),
	}, more...)
	if cfg.Compression == "none" { // also against the standard variable
		dial = append(dial, grpc.WithDefaultCallOptions(grpc.UseCompressor(encoding.Identity)))
	}
	opts := []otlpmetricgrpc.Option{
		otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{Enabled: false}),
		otlpmetricgrpc.WithMaxRequestSize(-1),
		otlpmetricgrpc.WithDialOption(dial...),
	}
	endpoint, plain := cfg.Endpoint, cfg.Insecure
	if endpoint == "" && cfg.StandardEndpoint == "" && cfg.StandardMetricsEndpoint == "" {
		endpoint = defaultEndpoint
		if plain == nil && cfg.Certificate == "" && cfg.ClientCertificate == "" {
			yes := true
			plain = &yes
		}
	}
	if endpoint != "" {
		opts = append(opts, otlpmetricgrpc.WithEndpoint(endpoint))
	}
	creds, err := transport(cfg, plain)
	if err != nil {
		return nil, err
	}
	if creds != nil {
		opts = append(opts, otlpmetricgrpc.WithTLSCredentials(creds))
	}
	if len(headers) > 0 {
		opts = append(opts, otlpmetricgrpc.WithHeaders(headers))
	}
	if cfg.Timeout > 0 {
		opts = append(opts, otlpmetricgrpc.WithTimeout(cfg.Timeout))
	}
	if cfg.Compression == "gzip" {
		opts = append(opts, otlpmetricgrpc.WithCompressor("gzip"))
	}
	return opts, nil
}

// transport returns nil if the configuration does not say; the library decides
// then, by the standard variables.
func transport(cfg Config, plain *bool) (credentials.TransportCredentials, error) {
	if plain != nil && *plain {
		return insecure.NewCredentials(), nil
	}
	if plain == nil && cfg.Certificate == "" && cfg.ClientCertificate == "" {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.Certificate != "" {
		pem, err := os.ReadFile(cfg.Certificate)
		if err != nil {
			return nil, fmt.Errorf("opentelemetry.certificate: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("opentelemetry.certificate: no certificate in %s", cfg.Certificate)
		}
	}
	if cfg.ClientCertificate != "" {
		pair, err := tls.LoadX509KeyPair(cfg.ClientCertificate, cfg.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("opentelemetry.client_certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(conf), nil
}

// export sends an encoded ExportMetricsServiceRequest and says what to do next.
// data may be used again when it returns.
func (c *client) export(ctx context.Context, data []byte) verdict {
	call := call{data: data}
	err := c.otlp.Export(context.WithValue(ctx, callKey{}, &call), &metricdata.ResourceMetrics{Resource: resource.Empty()})
	return decide(err, call.outcome)
}

func (c *client) close(ctx context.Context) error { return c.otlp.Shutdown(ctx) }

// shortRest is as soon as rest ends for a connection that comes back: behind some
// proxies it comes back, and serves nobody, as often as it is asked for.
const shortRest = 200 * time.Millisecond

// rest for d. A connection that was down and is up again ends the rest: what
// waits for it need not wait any longer. It returns false if ctx ended first.
func (c *client) rest(ctx context.Context, d time.Duration) bool {
	conn := c.conn.Load()
	if conn == nil || conn.GetState() == connectivity.Ready {
		return sleep(ctx, d)
	}
	until, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if !sleep(until, shortRest) {
		return ctx.Err() == nil
	}
	for s := conn.GetState(); s != connectivity.Ready && conn.WaitForStateChange(until, s); {
		s = conn.GetState()
	}
	return ctx.Err() == nil
}

// call is one request on its way through the library.
type call struct {
	data    []byte
	outcome outcome
}

type callKey struct{}

// intercept puts our encoded request in the place of the library's empty one,
// and keeps what the answer said: the library's error for a partial success has
// a type that only the library can name. Bytes that are unknown to a message are
// written as they are, so the message stays empty and holds the whole request.
func (c *client) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	c.conn.Store(cc)
	call, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	encoded := &colmetricpb.ExportMetricsServiceRequest{}
	encoded.ProtoReflect().SetUnknown(call.data)
	if err := invoke(ctx, method, encoded, reply, cc, opts...); err != nil {
		return err
	}
	call.outcome.answered = true
	if r, ok := reply.(*colmetricpb.ExportMetricsServiceResponse); ok {
		call.outcome.rejected, call.outcome.message = r.GetPartialSuccess().GetRejectedDataPoints(), r.GetPartialSuccess().GetErrorMessage()
	}
	return nil
}
