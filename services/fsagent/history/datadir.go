package history

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/minio/highwayhash"
)

// streamsIn is where an embedded NATS server keeps its streams, under its data
// directory.
var streamsIn = filepath.Join("jetstream", "$G", "streams")

// ErrNoData is returned for a data directory without the stream.
var ErrNoData = errors.New("no such stream in the data directory (data_dir; nats.url names a server elsewhere)")

// Copy copies a stream of an embedded NATS server from one data directory to
// another. Two servers must not open one directory, and the one that writes it
// may be running; a copy of its files can lack the last events. The copy keeps
// what it has, however old it is.
func Copy(from, to, name string) error {
	root := filepath.Join(from, streamsIn, name)
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w %s: %s", ErrNoData, from, name)
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
	if err == nil {
		err = keepAll(filepath.Join(to, streamsIn, name), name)
	}
	if err != nil {
		return fmt.Errorf("copy stream %s of %s: %w", name, from, err)
	}
	return nil
}

// keepAll takes the age limit off a stream that no server has open: else a server
// that opens it begins by removing what is too old. The server wants the hash of
// its description beside it.
func keepAll(root, name string) error {
	path := filepath.Join(root, "meta.inf")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(text, &settings); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	settings["max_age"] = json.RawMessage("0")
	if text, err = json.Marshal(settings); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	key := sha256.Sum256([]byte(name))
	hash, err := highwayhash.New64(key[:])
	if err != nil {
		return err
	}
	hash.Write(text)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "meta.sum"), []byte(hex.EncodeToString(hash.Sum(nil))), 0o600)
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
