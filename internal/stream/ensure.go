package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
)

// ErrSettings is returned when a stream or the bucket exists with settings that
// cannot live with the configured ones. Waiting does not help.
var ErrSettings = errors.New("existing streams do not fit the configuration")

// errNoServer is said while there is no connection.
var errNoServer = errors.New("no NATS server answers; see nats.url")

// Ensure creates what is missing of streams and bucket and checks what exists.
// It returns an error wrapping ErrSettings, which names the setting, if what
// exists does not fit; any other error is the server's, and worth a retry.
func Ensure(ctx context.Context, js jetstream.JetStream, s Settings) error {
	for _, want := range s.streams() {
		have, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			have, err = js.CreateStream(ctx, want)
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another was first
				have, err = js.Stream(ctx, want.Name)
			}
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", want.Name, err)
		}
		if err := compare(want, have.CachedInfo().Config); err != nil {
			return err
		}
	}
	return ensureMeta(ctx, js, s)
}

// Compare is Ensure without making anything: it returns how many of the streams
// are not there.
func Compare(ctx context.Context, js jetstream.JetStream, s Settings) (missing int, err error) {
	for _, want := range s.streams() {
		have, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			missing++
			continue
		}
		if err != nil {
			return missing, fmt.Errorf("stream %s: %w", want.Name, err)
		}
		if err := compare(want, have.CachedInfo().Config); err != nil {
			return missing, err
		}
	}
	return missing, nil
}

// EnsureRetry calls Ensure until it succeeds, ctx ends, or waiting does not
// help. It says once what it is waiting for.
func EnsureRetry(ctx context.Context, js jetstream.JetStream, s Settings, log *slog.Logger) error {
	said := ""
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := Ensure(try, js, s)
		cancel()
		if err == nil || errors.Is(err, ErrSettings) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if nc := js.Conn(); !nc.IsConnected() {
			// What failed on the way says less.
			err = errors.Join(errNoServer, nc.LastError())
		}
		if err.Error() != said {
			said = err.Error()
			log.Warn("waiting for JetStream", "err", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// Keep makes the streams again whenever the connection comes back, until ctx
// ends: a server with memory storage has lost them.
func Keep(ctx context.Context, js jetstream.JetStream, s Settings, log *slog.Logger) error {
	back := js.Conn().StatusChanged(nats.CONNECTED)
	defer js.Conn().RemoveStatusListener(back)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-back:
		}
		if err := EnsureRetry(ctx, js, s, log); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// compare reports the settings that must be as wanted. Limits may differ: an
// operator may have changed them on the server.
func compare(want, have jetstream.StreamConfig) error {
	var errs []error
	differ := func(setting string, w, h any) {
		errs = append(errs, fmt.Errorf("%w: stream %s has %s %v, want %v; change the configuration, or remove the stream to start anew",
			ErrSettings, want.Name, setting, h, w))
	}
	if !slices.Equal(want.Subjects, have.Subjects) {
		differ("subjects", want.Subjects, have.Subjects)
	}
	if want.Storage != have.Storage {
		differ("storage", want.Storage, have.Storage)
	}
	if want.Retention != have.Retention {
		differ("retention", want.Retention, have.Retention)
	}
	if want.Replicas > have.Replicas {
		differ("replicas", want.Replicas, have.Replicas)
	}
	if want.AllowMsgTTL && !have.AllowMsgTTL {
		differ("allow_msg_ttl", true, false)
	}
	if want.MaxMsgsPerSubject > 0 && want.MaxMsgsPerSubject != have.MaxMsgsPerSubject {
		differ("max_msgs_per_subject", want.MaxMsgsPerSubject, have.MaxMsgsPerSubject)
	}
	return errors.Join(errs...)
}

func ensureMeta(ctx context.Context, js jetstream.JetStream, s Settings) error {
	kv, err := js.KeyValue(ctx, State)
	if err != nil {
		return fmt.Errorf("bucket %s: %w", State, err)
	}
	var meta fsagentv1.Meta
	entry, err := kv.Get(ctx, MetaKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		meta.SetPartitions(uint32(s.Partitions))
		meta.SetFormat(FormatVersion)
		value, err := proto.Marshal(&meta)
		if err != nil {
			return fmt.Errorf("bucket %s, key %s: %w", State, MetaKey, err)
		}
		if _, err := kv.Create(ctx, MetaKey, value); err == nil {
			return nil
		} else if !errors.Is(err, jetstream.ErrKeyExists) {
			return fmt.Errorf("bucket %s, key %s: %w", State, MetaKey, err)
		}
		entry, err = kv.Get(ctx, MetaKey)
		if err != nil {
			return fmt.Errorf("bucket %s, key %s: %w", State, MetaKey, err)
		}
	} else if err != nil {
		return fmt.Errorf("bucket %s, key %s: %w", State, MetaKey, err)
	}
	if err := proto.Unmarshal(entry.Value(), &meta); err != nil {
		return fmt.Errorf("%w: bucket %s, key %s: %w", ErrSettings, State, MetaKey, err)
	}
	if meta.GetFormat() > FormatVersion {
		return fmt.Errorf("%w: format %d was written by a newer fsagent, this one knows %d; upgrade it", ErrSettings, meta.GetFormat(), FormatVersion)
	}
	if int(meta.GetPartitions()) != s.Partitions {
		return fmt.Errorf("%w: made with %d partitions, configured %d; set FSAGENT_PARTITIONS=%d, or to change it: stop all collectors, let calculators and exporters finish, remove the streams and the bucket, start again",
			ErrSettings, meta.GetPartitions(), s.Partitions, meta.GetPartitions())
	}
	return nil
}
