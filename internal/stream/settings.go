package stream

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// FormatVersion of subjects, keys and messages. A service refuses a bucket of
// another format. In format 1, of no release, every leg had a key.
const FormatVersion = 2

// DefaultPartitions leaves room for 16 calculators; fewer partitions are faster
// on one machine, 64 cost half of the speed.
const DefaultPartitions = 16

// Settings of the streams and the bucket. Whoever comes first creates them;
// everybody checks them.
type Settings struct {
	// Partitions is how many ways the work is split, 1 to 1024. It is fixed when
	// the streams are made.
	Partitions int `yaml:"partitions" env:"FSAGENT_PARTITIONS"`
	// Storage is where the server keeps streams and bucket: "file" or "memory".
	Storage Storage `yaml:"type" env:"FSAGENT_STORAGE_TYPE"`
	// Replicas is how many servers of a NATS cluster keep each stream: 1, 3 or 5.
	Replicas int `yaml:"replicas" env:"FSAGENT_NATS_REPLICAS"`
	// EventsMaxAge is how long raw events are kept. Streams that exist keep this and
	// the other limits as they are, until "fsagent limits --apply"; those of the
	// embedded server follow at its next start.
	EventsMaxAge time.Duration `yaml:"events_max_age" env:"FSAGENT_EVENTS_MAX_AGE"`
	// EventsMaxBytes is how much room raw events may take; the oldest go first. 0 is
	// no limit.
	EventsMaxBytes int64 `yaml:"events_max_bytes" env:"FSAGENT_EVENTS_MAX_BYTES"`
	// SamplesMaxAge is how long samples wait for an exporter.
	SamplesMaxAge time.Duration `yaml:"samples_max_age" env:"FSAGENT_SAMPLES_MAX_AGE"`
	// DuplicateWindow is how long the server recognises a repeated event by its id.
	// It costs about 215 bytes of server memory an id.
	DuplicateWindow time.Duration `yaml:"duplicate_window" env:"FSAGENT_DUPLICATE_WINDOW"`
}

// DefaultSettings for one server with a disk.
func DefaultSettings() Settings {
	return Settings{
		Partitions:      DefaultPartitions,
		Storage:         File,
		Replicas:        1,
		EventsMaxAge:    24 * time.Hour,
		SamplesMaxAge:   6 * time.Hour,
		DuplicateWindow: 30 * time.Second,
	}
}

// Validate names every setting that cannot be.
func (s Settings) Validate() error {
	var errs []error
	if s.Storage != File && s.Storage != Memory && s.Storage != Redis {
		errs = append(errs, fmt.Errorf("storage.type: %q is not file or memory", s.Storage))
	}
	if s.Partitions < 1 || s.Partitions > 1024 {
		errs = append(errs, fmt.Errorf("storage.partitions: %d is not between 1 and 1024", s.Partitions))
	}
	if s.Replicas != 1 && s.Replicas != 3 && s.Replicas != 5 {
		errs = append(errs, fmt.Errorf("storage.replicas: %d is not 1, 3 or 5", s.Replicas))
	}
	for _, d := range []struct {
		key   string
		value time.Duration
		least time.Duration
	}{
		{"storage.events_max_age", s.EventsMaxAge, time.Minute},
		{"storage.samples_max_age", s.SamplesMaxAge, time.Minute},
		{"storage.duplicate_window", s.DuplicateWindow, time.Second},
	} {
		if d.value < d.least {
			errs = append(errs, fmt.Errorf("%s: %v is less than %v", d.key, d.value, d.least))
		}
	}
	if s.EventsMaxBytes < 0 {
		errs = append(errs, fmt.Errorf("storage.events_max_bytes: %d is negative", s.EventsMaxBytes))
	}
	return errors.Join(errs...)
}

// Storage is where the NATS server keeps streams and bucket.
type Storage string

// File survives a restart of the server; Memory is faster and does not. Redis is
// accepted for configurations of the product this replaces: it stood for state
// that survives a restart, and means File.
const (
	File   Storage = "file"
	Memory Storage = "memory"
	Redis  Storage = "redis"
)

func (s Storage) jetstream() jetstream.StorageType {
	if s == Memory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// markerTTL is how long the marker of a deleted key stays: long enough for
// every watcher to see it, short enough that the bucket does not grow.
const markerTTL = time.Minute

// deadLetterMaxAge is how long parked samples wait for a person.
const deadLetterMaxAge = 7 * 24 * time.Hour

func (s Settings) streams() []jetstream.StreamConfig {
	base := jetstream.StreamConfig{
		Storage:     s.Storage.jetstream(),
		Replicas:    s.Replicas,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxMsgs:     -1,
		MaxBytes:    -1,
		MaxMsgSize:  -1,
		AllowDirect: true,
	}
	events := base
	events.Name = Events
	events.Description = "raw FreeSWITCH events, by partition"
	events.Subjects = []string{eventsPrefix + ">"}
	events.MaxAge = s.EventsMaxAge
	events.Duplicates = min(s.DuplicateWindow, s.EventsMaxAge)
	if s.EventsMaxBytes > 0 {
		events.MaxBytes = s.EventsMaxBytes
	}

	samples := base
	samples.Name = Samples
	samples.Description = "derived samples, by partition"
	samples.Subjects = []string{SampleFilter}
	samples.MaxAge = s.SamplesMaxAge
	samples.Duplicates = time.Second // no ids: the chain of expected sequences does it

	dead := base
	dead.Name = DeadLetter
	dead.Description = "samples that no endpoint took"
	dead.Subjects = []string{DeadLetterSubject}
	dead.MaxAge = deadLetterMaxAge
	dead.Duplicates = 2 * time.Minute

	// A KV bucket is a stream with these settings (NATS ADR-8).
	state := base
	state.Name = StateStream
	state.Description = "state of the calculators"
	state.Subjects = []string{"$KV." + State + ".>"}
	state.MaxMsgsPerSubject = 1
	state.Discard = jetstream.DiscardNew
	state.AllowRollup = true
	state.DenyDelete = true
	state.AllowMsgTTL = true
	state.SubjectDeleteMarkerTTL = markerTTL
	state.AllowAtomicPublish = true
	state.Duplicates = time.Second
	return []jetstream.StreamConfig{events, samples, dead, state}
}
