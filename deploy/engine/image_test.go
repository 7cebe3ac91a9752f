package engine

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// largest sizes of images, in bytes; that of fsagent has a NATS server and the
// recordings in it.
var largest = map[string]int64{"collector": 30_000_000, "calculator": 30_000_000, "exporter": 30_000_000, "fsagent": 40_000_000}

// The images are small, static, for nobody, labelled, and have nothing else in them:
// no shell, no secret. Built anew they have the same programs, byte for byte, and
// they can be built for another architecture.
func TestImages(t *testing.T) {
	// What must not get into a layer: it lies where the build looks for sources.
	const secret = "not-for-any-layer-3f1b"
	leak := filepath.Join(root, "services", ".env")
	if err := os.WriteFile(leak, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(leak) })
	s := newStack(t, "VERSION=1.2.3-test", "REVISION=abcdef")
	for _, name := range []string{"collector", "calculator", "exporter", "fsagent"} {
		s.compose("--profile", "people", "build", name)
		tag := "fsagent/" + name + ":1.2.3-test"
		first := look(t, tag, name)
		if first.size >= largest[name] {
			t.Errorf("%s has %d bytes, want under %d", tag, first.size, largest[name])
		}
		t.Logf("%s: %.1f MB", tag, float64(first.size)/1e6)
		if first.User != "65532:65532" {
			t.Errorf("%s runs as %q", tag, first.User)
		}
		for label, want := range map[string]string{"version": "1.2.3-test", "revision": "abcdef", "licenses": "MIT", "title": "", "description": "", "source": ""} {
			if got := first.Labels["org.opencontainers.image."+label]; got == "" || (want != "" && got != want) {
				t.Errorf("%s: label %s is %q", tag, label, got)
			}
		}
		if bytes.Contains(first.all, []byte(secret)) {
			t.Errorf("%s has what was beside its sources", tag)
		}
		if len(first.Env) > 2 {
			t.Errorf("%s has the environment %q", tag, first.Env)
		}
		for _, f := range first.files {
			if !strings.HasSuffix(f, "/") && f != name && f != "etc/ssl/certs/ca-certificates.crt" && !strings.HasPrefix(f, "dev/") && !strings.HasPrefix(f, "etc/") && f != ".dockerenv" {
				t.Errorf("%s has a file %s", tag, f)
			}
		}
		if !static(t, first.program) {
			t.Errorf("the program of %s is linked to libraries", tag)
		}
		if said := docker(t, "run", "--rm", tag, versionFlag(name)); !strings.Contains(said, "1.2.3-test") {
			t.Errorf("%s says its version is %q", tag, said)
		}
		if name == "collector" {
			s.compose("build", "--no-cache", name)
			if again := look(t, tag, name); sha256.Sum256(again.program) != sha256.Sum256(first.program) {
				t.Errorf("%s is another program when it is built again", tag)
			}
		}
	}

	s.environ = append(s.environ, "DOCKER_DEFAULT_PLATFORM=linux/"+otherArch())
	s.compose("build", "collector")
	other := look(t, "fsagent/collector:1.2.3-test", "collector")
	f, err := elf.NewFile(bytes.NewReader(other.program))
	if err != nil {
		t.Fatal(err)
	}
	machines := map[string]elf.Machine{"arm64": elf.EM_AARCH64, "amd64": elf.EM_X86_64}
	if other.Architecture != otherArch() || f.Machine != machines[otherArch()] || !static(t, other.program) {
		t.Errorf("built on %s for %s, the image is for %s and the program for %v", runtime.GOARCH, otherArch(), other.Architecture, f.Machine)
	}
	t.Logf("for linux/%s: program for %v", other.Architecture, f.Machine)
}

func versionFlag(program string) string {
	if program == "fsagent" {
		return "version"
	}
	return "--version"
}

// contents of an image.
type contents struct {
	User         string
	Labels       map[string]string
	Env          []string
	Architecture string
	size         int64
	files        []string
	program      []byte
	all          []byte
}

func look(t *testing.T, tag, program string) contents {
	t.Helper()
	var inspected []struct {
		Architecture string
		Size         int64
		Config       contents
	}
	if err := json.Unmarshal([]byte(docker(t, "image", "inspect", tag)), &inspected); err != nil {
		t.Fatal(err)
	}
	c := inspected[0].Config
	c.size, c.Architecture = inspected[0].Size, inspected[0].Architecture
	id := docker(t, "create", "--platform", "linux/"+c.Architecture, tag)
	defer docker(t, "rm", id)
	all, err := exec.Command("docker", "export", id).Output()
	if err != nil {
		t.Fatal(err)
	}
	c.all = all
	for r := tar.NewReader(bytes.NewReader(all)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		c.files = append(c.files, h.Name)
		if h.Name == program {
			if c.program, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

func static(t *testing.T, program []byte) bool {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := f.ImportedLibraries()
	return err == nil && len(libraries) == 0 && f.Section(".interp") == nil
}
