// Package keyring makes the keys with which the services show the NATS server who
// they are (nkeys). Each service has a seed of its own that only it can read; the
// server knows the public keys and has no secret.
package keyring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nkeys"
)

// Names in a directory of keys.
const (
	// SeedFile is in a directory of each user: DIR/<user>/nats.nk.
	SeedFile = "nats.nk"
	// PublicFile is what the server's configuration includes: DIR/nats/public.conf,
	// a line "<user>_key: …" for each.
	PublicFile = "nats/public.conf"
)

// Users of the configuration in deploy/nats.
func Users() []string { return []string{"collector", "calculator", "exporter", "operator"} }

// ErrSeed is returned for a seed file that holds no key of a user.
var ErrSeed = errors.New("is not the seed of a user; remove it, or make all keys anew with --renew")

// Make makes the keys that are not in dir yet, or all of them anew, and writes the
// public ones. It returns the users that got a new key.
func Make(dir string, renew bool) (made []string, err error) {
	var public strings.Builder
	public.WriteString("# Public keys of fsagent's services; written by fsagent keys.\n")
	for _, user := range Users() {
		path := filepath.Join(dir, user, SeedFile)
		key, err := load(path)
		if renew || errors.Is(err, fs.ErrNotExist) {
			key, err = write(path)
			made = append(made, user)
		}
		if err != nil {
			return made, fmt.Errorf("key of %s: %w", user, err)
		}
		fmt.Fprintf(&public, "%s_key: %q\n", user, key)
	}
	if err := replace(filepath.Join(dir, PublicFile), []byte(public.String()), 0o444); err != nil {
		return made, fmt.Errorf("public keys: %w", err)
	}
	return made, nil
}

// load returns the public key of a seed file.
func load(path string) (string, error) {
	seed, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	pair, err := nkeys.ParseDecoratedUserNKey(seed)
	if err != nil {
		return "", fmt.Errorf("%s %w", path, ErrSeed)
	}
	return pair.PublicKey()
}

func write(path string) (string, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", err
	}
	seed, err := pair.Seed()
	if err != nil {
		return "", err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return "", err
	}
	return public, replace(path, append(seed, '\n'), 0o400)
}

// replace writes a file as a whole or not at all.
func replace(path string, text []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error says more
	}
	return err
}
