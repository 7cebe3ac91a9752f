package keyring_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fsagent/fsagent/services/fsagent/keyring"
	"github.com/nats-io/nkeys"
)

func TestMake(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made, err := keyring.Make(dir, false)
	if err != nil || !slices.Equal(made, keyring.Users()) {
		t.Fatalf("made %v, %v", made, err)
	}
	first := public(t, dir)
	for _, user := range keyring.Users() {
		path := filepath.Join(dir, user, keyring.SeedFile)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o400 {
			t.Errorf("%s: %v; want readable for its owner only", path, info.Mode())
		}
		seed, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := nkeys.ParseDecoratedUserNKey(seed)
		if err != nil {
			t.Fatal(err)
		}
		if key, err := pair.PublicKey(); err != nil || !strings.Contains(first, user+`_key: "`+key+`"`) {
			t.Errorf("the public key of %s is not in %s, %v", user, first, err)
		}
		if strings.Contains(first, strings.TrimSpace(string(seed))) {
			t.Errorf("the seed of %s is among the public keys", user)
		}
	}
	if made, err := keyring.Make(dir, false); err != nil || len(made) != 0 || public(t, dir) != first {
		t.Errorf("a second time: made %v, %v", made, err)
	}
	if err := os.Remove(filepath.Join(dir, "exporter", keyring.SeedFile)); err != nil {
		t.Fatal(err)
	}
	if made, err := keyring.Make(dir, false); err != nil || !slices.Equal(made, []string{"exporter"}) {
		t.Errorf("with one missing: made %v, %v", made, err)
	}
	if made, err := keyring.Make(dir, true); err != nil || len(made) != len(keyring.Users()) || public(t, dir) == first {
		t.Errorf("renew: made %v, %v", made, err)
	}
}

func TestMakeRefusesWhatIsNoSeed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "collector", keyring.SeedFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.Make(dir, false); !errors.Is(err, keyring.ErrSeed) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want ErrSeed with the path", err)
	}
}

func public(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, keyring.PublicFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
