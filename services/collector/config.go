package collector

import (
	"errors"
	"fmt"
	"time"

	"github.com/fsagent/fsagent/services/collector/esl"
)

// Config of a collector.
type Config struct {
	// Instances are the FreeSWITCH servers; in the environment a JSON list of
	// the same objects.
	Instances Instances       `yaml:"freeswitch_instances" env:"FSAGENT_FREESWITCH_INSTANCES"`
	Events    EventsConfig    `yaml:"events"`
	ESL       ESLConfig       `yaml:"esl"`
	Publish   PublisherConfig `yaml:"publish"`
}

// EventsConfig says what is asked for, what is published and how much may wait.
type EventsConfig struct {
	// RTCP subscribes to RECV_RTCP_MESSAGE and SEND_RTCP_MESSAGE.
	RTCP bool `yaml:"rtcp" env:"FSAGENT_EVENTS_RTCP"`
	// QoS publishes FreeSWITCH's own statistics at the end of a leg
	// (rtp_audio_*). Ends of legs are published in any case.
	QoS bool `yaml:"qos" env:"FSAGENT_EVENTS_QOS"`
	// Variables are channel variables to publish besides those that the
	// calculator reads, separated by commas; "*" is all but secrets.
	Variables string `yaml:"variables" env:"FSAGENT_EVENTS_VARIABLES"`
	// BufferBytes is how much of one FreeSWITCH's events may wait for NATS.
	BufferBytes int64 `yaml:"buffer_bytes" env:"FSAGENT_EVENTS_BUFFER_BYTES"`
}

// ESLConfig is how to deal with the event socket of every FreeSWITCH.
type ESLConfig struct {
	// DialTimeout is how long a connection to the event socket may take to come up.
	DialTimeout time.Duration `yaml:"dial_timeout" env:"FSAGENT_ESL_DIAL_TIMEOUT"`
	// ReplyTimeout is how long FreeSWITCH may take to answer a command, and to go on in
	// the middle of a long answer.
	ReplyTimeout time.Duration `yaml:"reply_timeout" env:"FSAGENT_ESL_REPLY_TIMEOUT"`
	// IdleTimeout is after how long without a byte the server is asked whether
	// it lives; HEARTBEAT comes every 20 s.
	IdleTimeout time.Duration `yaml:"idle_timeout" env:"FSAGENT_ESL_IDLE_TIMEOUT"`
	// ProbeTimeout is how long it may take to answer that.
	ProbeTimeout time.Duration `yaml:"probe_timeout" env:"FSAGENT_ESL_PROBE_TIMEOUT"`
	// RetryMin is the wait before the second attempt to connect; it doubles from
	// attempt to attempt.
	RetryMin time.Duration `yaml:"retry_min" env:"FSAGENT_ESL_RETRY_MIN"`
	// RetryMax is the longest wait between two attempts to connect.
	RetryMax time.Duration `yaml:"retry_max" env:"FSAGENT_ESL_RETRY_MAX"`
	// MaxBodyBytes is the largest event that is read.
	MaxBodyBytes int `yaml:"max_body_bytes" env:"FSAGENT_ESL_MAX_BODY_BYTES"`
	// SnapshotDelay is how long after a connect the list of channels is asked
	// for. FreeSWITCH writes it behind the events; the calculator allows for 5 s
	// of that, so with less a leg that ended unseen may stay open.
	SnapshotDelay time.Duration `yaml:"snapshot_delay" env:"FSAGENT_ESL_SNAPSHOT_DELAY"`
	// SnapshotRate is how many channels a second FreeSWITCH is asked for whose
	// beginning was not seen.
	SnapshotRate int `yaml:"snapshot_rate" env:"FSAGENT_ESL_SNAPSHOT_RATE"`
}

// PublisherConfig is how events go to the stream.
type PublisherConfig struct {
	// Window is how many events of one FreeSWITCH may be without the stream's
	// acknowledgement.
	Window int `yaml:"window" env:"FSAGENT_PUBLISH_WINDOW"`
	// WindowBytes is how many bytes of events of one FreeSWITCH may be without the
	// stream's acknowledgement.
	WindowBytes int `yaml:"window_bytes" env:"FSAGENT_PUBLISH_WINDOW_BYTES"`
	// AckTimeout is when what was not acknowledged is published again.
	AckTimeout time.Duration `yaml:"ack_timeout" env:"FSAGENT_PUBLISH_ACK_TIMEOUT"`
	// JoinDelay is how long events are kept back after a connect to their FreeSWITCH,
	// so that another collector of the same server can first publish those before
	// them.
	JoinDelay time.Duration `yaml:"join_delay" env:"FSAGENT_PUBLISH_JOIN_DELAY"`
	// StopTimeout is how long the last events may take when the collector stops.
	StopTimeout time.Duration `yaml:"stop_timeout" env:"FSAGENT_PUBLISH_STOP_TIMEOUT"`
}

// DefaultConfig has everything but the servers.
func DefaultConfig() Config {
	return Config{
		Events: EventsConfig{RTCP: true, QoS: true, BufferBytes: 64 << 20},
		ESL: ESLConfig{
			DialTimeout:  5 * time.Second,
			ReplyTimeout: 5 * time.Second,
			IdleTimeout:  30 * time.Second,
			ProbeTimeout: 5 * time.Second,
			RetryMin:     time.Second,
			RetryMax:     time.Minute,
			MaxBodyBytes: esl.DefaultMaxBody,

			SnapshotDelay: 5 * time.Second,
			SnapshotRate:  50,
		},
		Publish: PublisherConfig{
			Window:      1024,
			WindowBytes: 4 << 20,
			AckTimeout:  5 * time.Second,
			JoinDelay:   time.Second,
			StopTimeout: 10 * time.Second,
		},
	}
}

// Validate names every mistake with its key.
func (c Config) Validate() error {
	errs := []error{c.Instances.validate()}
	if _, err := esl.NewFilter(c.filter()); err != nil {
		errs = append(errs, fmt.Errorf("events.variables: %w", err))
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"esl.dial_timeout", c.ESL.DialTimeout},
		{"esl.reply_timeout", c.ESL.ReplyTimeout},
		{"esl.idle_timeout", c.ESL.IdleTimeout},
		{"esl.probe_timeout", c.ESL.ProbeTimeout},
		{"esl.retry_min", c.ESL.RetryMin},
		{"esl.retry_max", c.ESL.RetryMax},
		{"esl.snapshot_delay", c.ESL.SnapshotDelay},
		{"publish.ack_timeout", c.Publish.AckTimeout},
		{"publish.stop_timeout", c.Publish.StopTimeout},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s: %v is not more than 0", d.key, d.value))
		}
	}
	if c.Publish.JoinDelay < 0 || c.Publish.JoinDelay > time.Minute {
		errs = append(errs, fmt.Errorf("publish.join_delay: %v is not between 0 and 1m", c.Publish.JoinDelay))
	}
	if c.ESL.RetryMax < c.ESL.RetryMin {
		errs = append(errs, fmt.Errorf("esl.retry_max: %v is less than esl.retry_min, %v", c.ESL.RetryMax, c.ESL.RetryMin))
	}
	for _, n := range []struct {
		key         string
		value       int64
		least, most int64
	}{
		{"events.buffer_bytes", c.Events.BufferBytes, 64 << 10, 64 << 30},
		{"esl.max_body_bytes", int64(c.ESL.MaxBodyBytes), 64 << 10, 1 << 30},
		{"esl.snapshot_rate", int64(c.ESL.SnapshotRate), 1, 10_000},
		{"publish.window", int64(c.Publish.Window), 1, 64 << 10},
		{"publish.window_bytes", int64(c.Publish.WindowBytes), 16 << 10, 1 << 30},
	} {
		if n.value < n.least || n.value > n.most {
			errs = append(errs, fmt.Errorf("%s: %d is not between %d and %d", n.key, n.value, n.least, n.most))
		}
	}
	return errors.Join(errs...)
}

// MemoryLimit is a soft limit for the Go runtime of a process that does nothing
// else, in bytes: what the buffers may hold and a sixteenth, and what it takes to
// run. Without it the garbage of one full buffer may grow as large as the buffer.
func (c Config) MemoryLimit() int64 {
	n := int64(len(c.Instances))
	return n*(c.Events.BufferBytes+c.Events.BufferBytes/16+int64(c.Publish.WindowBytes)/4+512<<10) + 8<<20
}

func (c Config) filter() esl.FilterConfig {
	return esl.FilterConfig{Variables: c.Events.Variables, WithoutStatistics: !c.Events.QoS}
}
