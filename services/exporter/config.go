package exporter

import "time"

// PacketsLost says how freeswitch.rtcp.packets_lost is sent.
type PacketsLost string

const (
	// LostGauge sends the packets lost in each interval.
	LostGauge PacketsLost = "gauge"
	// LostCumulative sends a monotonic cumulative sum per leg and direction.
	// Its start time is left unknown: a sample does not carry the time of the
	// leg's first report, and any other start would be invented.
	LostCumulative PacketsLost = "cumulative"
)

// Config of an exporter: the section opentelemetry of the configuration file.
// What is unset here is left to the standard variables OTEL_EXPORTER_OTLP_*,
// which the OTLP library reads from the environment of the process.
type Config struct {
	// Endpoint takes OTLP over gRPC, host:port. A name that has several addresses is
	// several endpoints, which take turns. If neither this nor a standard
	// variable is set, it is localhost:4317 without TLS.
	Endpoint string `yaml:"endpoint" env:"FSAGENT_OTEL_ENDPOINT"`
	// Insecure is true for a connection without TLS. Unset, with an endpoint, it is
	// with TLS unless OTEL_EXPORTER_OTLP_INSECURE says otherwise.
	Insecure *bool `yaml:"insecure" env:"FSAGENT_OTEL_INSECURE"`
	// Headers are sent with every request; in the environment as key=value,key=value.
	Headers Headers `yaml:"headers" env:"FSAGENT_OTEL_HEADERS"`
	// HeadersFile holds further headers, name=value each, one a line or separated
	// by commas; it is read at start.
	HeadersFile string `yaml:"headers_file" env:"FSAGENT_OTEL_HEADERS_FILE"`
	// Certificate is a PEM file with that of the authority that signed the
	// endpoint's; unset means the system's.
	Certificate string `yaml:"certificate" env:"FSAGENT_OTEL_CERTIFICATE"`
	// ClientCertificate is a PEM file for mutual TLS; it needs a client_key.
	ClientCertificate string `yaml:"client_certificate" env:"FSAGENT_OTEL_CLIENT_CERTIFICATE"`
	// ClientKey is a PEM file with the key of the client_certificate.
	ClientKey string `yaml:"client_key" env:"FSAGENT_OTEL_CLIENT_KEY"`
	// Timeout is how long one request may take; 0 means the standard variable, else 10 s.
	Timeout time.Duration `yaml:"timeout" env:"FSAGENT_OTEL_TIMEOUT"`
	// Compression is "gzip", "none" or unset.
	Compression string `yaml:"compression" env:"FSAGENT_OTEL_COMPRESSION"`

	// SkipZeroValues true leaves out every gauge point whose value is 0, as the
	// product this replaces did. Cumulative sums are never left out: their zero
	// is where counting starts.
	SkipZeroValues bool `yaml:"skip_zero_values" env:"FSAGENT_OTEL_SKIP_ZERO_VALUES"`
	// PacketsLost "gauge" sends what each interval lost, "cumulative" a sum.
	PacketsLost PacketsLost `yaml:"packets_lost" env:"FSAGENT_OTEL_PACKETS_LOST"`
	// Legs "full" sends every sample of a leg, "bad-legs" those from the first
	// report on that is over a threshold (calculator.bad), "off" none.
	Legs Legs `yaml:"legs" env:"FSAGENT_OTEL_LEGS"`
	// EndOfLegMarkers true ends the series of a leg's reports one millisecond after
	// the leg, by points without a value.
	EndOfLegMarkers bool `yaml:"end_of_leg_markers" env:"FSAGENT_OTEL_END_OF_LEG_MARKERS"`
	// Units "ucum" sends the unit of each metric, "none" does not: for a backend
	// that makes the unit a part of the name and cannot be told otherwise.
	Units Units `yaml:"units" env:"FSAGENT_OTEL_UNITS"`
	// ServiceNamespace is the resource attribute service.namespace; unset means none.
	ServiceNamespace string `yaml:"service_namespace" env:"FSAGENT_OTEL_SERVICE_NAMESPACE"`

	// MaxPoints is how many points one request has at most.
	MaxPoints int `yaml:"max_points" env:"FSAGENT_OTEL_MAX_POINTS"`
	// MaxBytes is how large one request is at most, before compression. A default
	// OpenTelemetry Collector refuses requests over 4 MiB.
	MaxBytes int `yaml:"max_bytes" env:"FSAGENT_OTEL_MAX_BYTES"`
	// MaxSpan is how far the oldest and the newest point of one request are apart at
	// most, in event time.
	MaxSpan time.Duration `yaml:"max_span" env:"FSAGENT_OTEL_MAX_SPAN"`
	// BatchDelay is how long a sample waits for others to share its request.
	BatchDelay time.Duration `yaml:"batch_delay" env:"FSAGENT_OTEL_BATCH_DELAY"`
	// Lanes are how many connections there are, each with one request in flight.
	Lanes int `yaml:"lanes" env:"FSAGENT_OTEL_LANES"`
	// BufferBytes is how much of the samples stream is in memory at most. Its decoded
	// form takes more.
	BufferBytes int `yaml:"buffer_bytes" env:"FSAGENT_OTEL_BUFFER_BYTES"`
	// MaxAckPending is how many messages all replicas together may hold.
	MaxAckPending int `yaml:"max_ack_pending" env:"FSAGENT_OTEL_MAX_ACK_PENDING"`
	// AckWait is how long after the last sign of life of a replica its messages go to
	// another.
	AckWait time.Duration `yaml:"ack_wait" env:"FSAGENT_OTEL_ACK_WAIT"`
	// LiveAfter is from which delay on, as after an outage, new samples no longer wait
	// behind old ones but go out beside them; 0 means never.
	LiveAfter time.Duration `yaml:"live_after" env:"FSAGENT_OTEL_LIVE_AFTER"`
	// MaxFuture is how far the time of a sample may be ahead of our clock.
	MaxFuture time.Duration `yaml:"max_future" env:"FSAGENT_OTEL_MAX_FUTURE"`
	// ParkAfter is after how long a single sample is parked that is refused by an
	// endpoint which takes nothing else either.
	ParkAfter time.Duration `yaml:"park_after" env:"FSAGENT_OTEL_PARK_AFTER"`
	// StopTimeout is how long it may take to finish what is in memory when asked to
	// stop.
	StopTimeout time.Duration `yaml:"stop_timeout" env:"FSAGENT_OTEL_STOP_TIMEOUT"`

	// StandardEndpoint is used by the OTLP library if endpoint is unset.
	StandardEndpoint string `yaml:"-" env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	// StandardMetricsEndpoint is used by the OTLP library before
	// OTEL_EXPORTER_OTLP_ENDPOINT.
	StandardMetricsEndpoint string `yaml:"-" env:"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"`
}

// DefaultConfig sends to a collector on this machine.
func DefaultConfig() Config {
	return Config{
		PacketsLost:   LostGauge,
		Legs:          LegsFull,
		Units:         UnitsUCUM,
		MaxPoints:     3000,
		MaxBytes:      1 << 20,
		MaxSpan:       5 * time.Minute,
		BatchDelay:    200 * time.Millisecond,
		Lanes:         2,
		BufferBytes:   16 << 20,
		MaxAckPending: 2000,
		AckWait:       10 * time.Second,
		LiveAfter:     time.Minute,
		MaxFuture:     10 * time.Minute,
		ParkAfter:     time.Minute,
		StopTimeout:   5 * time.Second,
	}
}
