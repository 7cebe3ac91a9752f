package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
)

// ErrSettings is returned when the server, a stream or the bucket has settings that
// cannot live with the configured ones. Waiting does not help.
var ErrSettings = errors.New("what is in NATS does not fit the configuration")

// minPayload is how large a message the server must take, in bytes: NATS's default.
// Samples and states are packed to half of it.
const minPayload = 1 << 20

// checkPayload returns an error wrapping ErrSettings if messages would be too large.
func checkPayload(nc *nats.Conn) error {
	if most := nc.MaxPayload(); most > 0 && most < minPayload { // 0: never connected
		return fmt.Errorf("%w: the server takes messages of up to %d bytes; set its max_payload to %d or more", ErrSettings, most, minPayload)
	}
	return nil
}

// errForbidden is said where something is missing that this user may not make.
var errForbidden = errors.New("it is not there, and this user may not make it; a calculator does")

// errNoServer is said while there is no connection.
var errNoServer = errors.New("no NATS server answers; see nats.url")

// Ensure creates what is missing of streams and bucket and checks what exists.
// Who may not create (deploy/nats: all but the calculators) gets an error until
// another has.
// It returns an error wrapping ErrSettings, which names the setting, if what
// exists does not fit; any other error is the server's, and worth a retry.
func Ensure(ctx context.Context, js jetstream.JetStream, s Settings) error {
	for _, want := range s.streams() {
		have, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			have, err = create(ctx, js, want)
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

func create(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (made jetstream.Stream, err error) {
	err = permitted(ctx, js.Conn(), "$JS.API.STREAM.CREATE."+want.Name, func(ctx context.Context) error {
		made, err = js.CreateStream(ctx, want)
		return err
	})
	return made, err
}

// permitted calls ask, which makes a request by publishing to subject, and
// returns its error; or errForbidden as soon as the server has refused this
// connection to publish there. A refusal has no answer: without this, each
// attempt would wait for one.
func permitted(ctx context.Context, nc *nats.Conn, subject string, ask func(context.Context) error) error {
	refused := func() bool {
		err := nc.LastError()
		return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(strings.ToLower(err.Error()), strings.ToLower(`"`+subject+`"`))
	}
	if refused() {
		return errForbidden
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := make(chan error, 1)
	go func() { asked <- ask(ctx) }()
	for {
		select {
		case err := <-asked:
			return err
		case <-time.After(20 * time.Millisecond):
			if refused() {
				cancel()
				<-asked
				return errForbidden
			}
		}
	}
}

// Compare is Ensure without making anything: it returns how many of the streams
// are not there.
func Compare(ctx context.Context, js jetstream.JetStream, s Settings) (missing int, err error) {
	if err := checkPayload(js.Conn()); err != nil {
		return 0, err
	}
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
// help. It says once what it is waiting for. A server that takes only small messages
// is refused.
func EnsureRetry(ctx context.Context, js jetstream.JetStream, s Settings, log *slog.Logger) error {
	return ensureRetry(ctx, js, log, func(ctx context.Context) error {
		if err := checkPayload(js.Conn()); err != nil {
			return err
		}
		return Ensure(ctx, js, s)
	})
}

func ensureRetry(ctx context.Context, js jetstream.JetStream, log *slog.Logger, ensure func(context.Context) error) error {
	said := ""
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := ensure(try)
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
		} else if last := nc.LastError(); errors.Is(last, nats.ErrPermissionViolation) && !errors.Is(err, errForbidden) {
			err = errors.Join(err, last) // it shows as a time-out, and only this has the reason
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

// keepInterval is how often Keep looks whether the streams are there.
const keepInterval = 5 * time.Second

// Keep makes the streams again until ctx ends, when the connection comes back (a
// server with memory storage has lost them) and when somebody has removed them.
func Keep(ctx context.Context, js jetstream.JetStream, s Settings, log *slog.Logger) error {
	back := js.Conn().StatusChanged(nats.CONNECTED)
	defer js.Conn().RemoveStatusListener(back)
	tick := time.NewTicker(keepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-back:
		case <-tick.C:
			look, cancel := context.WithTimeout(ctx, keepInterval)
			missing, err := Compare(look, js, s)
			cancel()
			if err != nil || missing == 0 {
				continue // who cannot work without, says so
			}
			log.Warn("streams or bucket were removed, making them again", "count", missing)
		}
		// Whatever max_payload the server has by now, most messages are small.
		err := ensureRetry(ctx, js, log, func(ctx context.Context) error { return Ensure(ctx, js, s) })
		if err != nil && ctx.Err() == nil {
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
		err = permitted(ctx, js.Conn(), StateSubject(MetaKey), func(ctx context.Context) error {
			_, err := kv.Create(ctx, MetaKey, value)
			return err
		})
		if err == nil {
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
	if meta.GetFormat() < FormatVersion {
		return fmt.Errorf("%w: format %d was written by an earlier fsagent, this one needs %d; stop all services and remove the bucket %s: the state is computed again from the events stream",
			ErrSettings, meta.GetFormat(), FormatVersion, State)
	}
	if int(meta.GetPartitions()) != s.Partitions {
		return fmt.Errorf("%w: made with %d partitions, configured %d; set FSAGENT_PARTITIONS=%d, or to change it: stop all collectors, let calculators and exporters finish, remove the streams and the bucket, start again",
			ErrSettings, meta.GetPartitions(), s.Partitions, meta.GetPartitions())
	}
	return nil
}
