package explain

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fsagent/fsagent/internal/stream"
)

// eventsIn is where an embedded NATS server keeps the events stream, under its
// data directory.
var eventsIn = filepath.Join("jetstream", "$G", "streams", stream.Events)

// ErrNoData is returned by CopyEvents for a directory without an events stream.
var ErrNoData = errors.New("no events stream in the data directory")

// CopyEvents copies the events stream of an embedded NATS server from one data
// directory to another. Two servers must not open one directory, and the one
// that writes it may be running; a copy of its files can lack the last events.
func CopyEvents(from, to string) error {
	root := filepath.Join(from, eventsIn)
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w %s", ErrNoData, from)
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // the server removed it meanwhile
		case err != nil:
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case d.IsDir() && d.Name() == "obs": // consumers
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		}
		return copyFile(path, target)
	})
	if err != nil {
		return fmt.Errorf("copy events of %s: %w", from, err)
	}
	return nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
