package replay

import (
	"context"
	"errors"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/exporter"
)

// OTLP is a sink: the endpoint that a Sender sends to. What is sent twice, because
// a replay was interrupted, is the same points.
type OTLP struct {
	sender   *exporter.Sender
	progress *bookmark // nil if it cannot be resumed
}

// OpenOTLP sends by sender. If path is not empty, what is needed to go on is kept
// there; an earlier replay that was asked for the same goes on. plan is called only
// if there was none.
func OpenOTLP(sender *exporter.Sender, path, asked string, plan func() (Range, error)) (*OTLP, Range, *States, error) {
	w := &OTLP{sender: sender}
	if path != "" {
		var err error
		if w.progress, err = openBookmark(path, asked); err != nil {
			return nil, Range{}, nil, err
		}
		if w.progress != nil {
			return w, w.progress.saved.Range, w.progress.saved.States, nil
		}
	}
	r, err := plan()
	if err != nil || path == "" {
		return w, r, nil, err
	}
	w.progress = &bookmark{path: path, saved: saved{Asked: asked, Range: r}}
	return w, r, nil, w.progress.save()
}

// Encode makes nothing.
func (w *OTLP) Encode([]byte, *fsagentv1.Sample) ([]byte, error) { return nil, nil }

// Take sends a sample, with others.
func (w *OTLP) Take(ctx context.Context, e Entry) error { return w.sender.Send(ctx, e.Sample) }

// Commit sends what waits, and then notes how far that is.
func (w *OTLP) Commit(ctx context.Context, through uint64, states *States) error {
	if err := w.sender.Flush(ctx); err != nil {
		return err
	}
	if w.progress == nil || !w.progress.due() {
		return nil
	}
	return w.progress.put(through, 0, states)
}

// Close ends the connection. If the replay is through, nothing is left to go on
// from.
func (w *OTLP) Close(through bool) error {
	err := w.sender.Close()
	if through {
		err = errors.Join(err, w.progress.remove())
	}
	return err
}
