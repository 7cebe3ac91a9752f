package check

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/exporter"
	"github.com/fsagent/fsagent/services/fsagent"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// answerTimeout is how long NATS and the OTLP endpoint may take.
const answerTimeout = 5 * time.Second

// checkNATS looks at the server elsewhere, or at the room for the embedded one.
// It makes nothing there.
func checkNATS(ctx context.Context, cfg fsagent.Config, n *notes) {
	if cfg.NATS.URL == "" {
		checkDataDir(cfg.DataDir, n)
		return
	}
	nc, err := stream.Connect(cfg.NATS.Connection, "fsagent-check", slog.New(slog.DiscardHandler),
		nats.RetryOnFailedConnect(false), nats.MaxReconnects(0), nats.Timeout(answerTimeout))
	if err != nil {
		n.add("server", Failed, natsAdvice(err), "%v", err)
		return
	}
	defer nc.Close()
	n.add("server", OK, "", "version %s at %s takes messages of up to %d bytes", nc.ConnectedServerVersion(), nc.ConnectedUrlRedacted(), nc.MaxPayload())
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	js, err := jetstream.New(nc)
	if err == nil {
		_, err = js.AccountInfo(ctx)
	}
	if err != nil {
		n.add("JetStream", Failed, "switch JetStream on in the server, and for the account that fsagent uses", "%v", err)
		return
	}
	checkStreams(ctx, js, cfg.Storage, n)
}

func checkStreams(ctx context.Context, js jetstream.JetStream, s stream.Settings, n *notes) {
	missing, err := stream.Compare(ctx, js, s)
	var differ []stream.Limit
	if err == nil {
		differ, err = stream.Limits(ctx, js, s)
	}
	switch {
	case errors.Is(err, stream.ErrSettings):
		n.add("streams", Failed, "", "%v", err)
	case err != nil:
		n.add("streams", Failed, "see the permissions of fsagent's account", "%v", err)
	case missing > 0:
		n.add("streams", OK, "", "%d are not there yet; fsagent makes them when it starts", missing)
	default:
		n.add("streams", OK, "", "are there, with the settings that fsagent needs")
	}
	for _, l := range differ {
		n.add("limits", OK, "fsagent limits --apply makes it as configured", "%s", l)
	}
}

func natsAdvice(err error) string {
	switch {
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout):
		return "see that NATS runs and nats.url is right; without nats.url fsagent brings its own server"
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return "see the credentials under nats"
	}
	return ""
}

// checkDataDir sees whether the embedded server could write.
func checkDataDir(dir string, n *notes) {
	const subject = "embedded server"
	switch _, err := os.Stat(dir); {
	case errors.Is(err, os.ErrNotExist):
		n.add(subject, OK, "", "will keep its data in %s, which is made at the first start", dir)
		return
	case err != nil:
		n.add(subject, Failed, "see data_dir", "%v", err)
		return
	}
	f, err := os.CreateTemp(dir, ".check-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		n.add(subject, Failed, "make data_dir writable for fsagent", "%v", err)
		return
	}
	n.add(subject, OK, "", "can keep its data in %s", dir)
}

// checkOTLP sends an empty request as the exporter would.
func checkOTLP(ctx context.Context, cfg fsagent.Config, n *notes) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := exporter.Probe(ctx, cfg.OpenTelemetry); err != nil {
		n.add("endpoint", Failed, "see that an OpenTelemetry Collector listens there for OTLP over gRPC, and the keys insecure, certificate and headers under opentelemetry", "%v", err)
		return
	}
	n.add("endpoint", OK, "", "%s takes metrics", cfg.OpenTelemetry.Target())
}
