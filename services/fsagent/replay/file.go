package replay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/fsagent/fsagent/internal/sample"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// Format of a file.
type Format string

const (
	// NDJSON is one JSON object a line.
	NDJSON Format = "ndjson"
	// Protobuf is one encoded fsagent.v1.SampleBatch; its samples can be read one by
	// one: each is a tag (0x0a), a length and a Sample.
	Protobuf Format = "protobuf"
)

// ErrExists is returned for a file that is there already.
var ErrExists = errors.New("is there already; remove it, or choose another")

// ErrOther is returned for what an earlier, different replay has left under the
// same name.
var ErrOther = errors.New("was begun by a replay with other bounds, filters or settings")

// File is a sink.
type File struct {
	format   Format
	f        *os.File
	out      *bufio.Writer
	size     int64
	progress *bookmark // nil if it cannot be resumed
}

// progressSuffix is that of the small file beside the file, while the replay is not
// through.
const progressSuffix = ".replay"

// CreateFile makes a new file. asked, unless it is empty, tells one replay from
// another: then what is needed to go on is kept in a file beside it.
func CreateFile(path string, format Format, asked string, plan Range) (*File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s %w", path, ErrExists)
	} else if err != nil {
		return nil, err
	}
	w := &File{format: format, f: f, out: bufio.NewWriterSize(f, 1<<20)}
	if asked == "" {
		return w, nil
	}
	w.progress = &bookmark{path: path + progressSuffix, saved: saved{Asked: asked, Range: plan}}
	return w, w.progress.save()
}

// ResumeFile opens the file of an earlier replay that was not through. It returns
// nil without an error if there is none.
func ResumeFile(path string, format Format, asked string) (*File, Range, *States, error) {
	progress, err := openBookmark(path+progressSuffix, asked)
	if progress == nil || err != nil {
		return nil, Range{}, nil, err
	}
	size := progress.saved.Size
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, Range{}, nil, fmt.Errorf("%w; remove %s to begin anew", err, progress.path)
	}
	if info, err := f.Stat(); err != nil || info.Size() < size {
		return nil, Range{}, nil, errors.Join(fmt.Errorf("%s is shorter than the %d bytes that were written; remove it and %s to begin anew", path, size, progress.path), err, f.Close())
	}
	if err := f.Truncate(size); err != nil {
		return nil, Range{}, nil, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(size, io.SeekStart); err != nil {
		return nil, Range{}, nil, errors.Join(err, f.Close())
	}
	w := &File{format: format, f: f, out: bufio.NewWriterSize(f, 1<<20), size: size, progress: progress}
	return w, progress.saved.Range, progress.saved.States, nil
}

// Encode makes a line of JSON or an element of a batch.
func (w *File) Encode(b []byte, s *fsagentv1.Sample) ([]byte, error) {
	if w.format == NDJSON {
		return appendJSON(b, s), nil
	}
	return sample.Append(b, s)
}

// Take writes a sample.
func (w *File) Take(_ context.Context, e Entry) error {
	n, err := w.out.Write(e.Data)
	w.size += int64(n)
	return err
}

// Commit writes what is buffered, and then how far that is.
func (w *File) Commit(_ context.Context, through uint64, states *States) error {
	if err := w.out.Flush(); err != nil {
		return err
	}
	if w.progress == nil || !w.progress.due() {
		return nil
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	return w.progress.put(through, w.size, states)
}

// Close ends the file. If the replay is through, nothing is left to go on from.
func (w *File) Close(through bool) error {
	err := errors.Join(w.out.Flush(), w.f.Close())
	if through && err == nil {
		err = w.progress.remove()
	}
	return err
}
