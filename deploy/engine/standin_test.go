package engine

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// image is one that stands in for an official one.
type image struct {
	files   map[string]string // place in the image: file or directory here
	dirs    map[string]int    // empty directory: its owner
	links   map[string]string
	changes []string // of the configuration, as docker import has them
}

// Where what an image needs is found on a Debian machine, and in most others.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

var busyboxes = []string{"/bin/busybox", "/usr/bin/busybox"}

// standIns makes the images that compose.yaml and the Dockerfile name. Versions must
// be those of the programs: of two that differ, one was not tested.
func standIns(dir string) error {
	busybox, err := findBusybox(dir)
	if err != nil {
		return err
	}
	goroot, proxy, cache, err := goFiles(dir)
	if err != nil {
		return err
	}
	shell := map[string]string{"/bin/busybox": busybox}
	with := func(more map[string]string) map[string]string {
		out := map[string]string{}
		for _, m := range []map[string]string{shell, more} {
			maps.Copy(out, m)
		}
		return out
	}
	applets := map[string]string{"/bin/sh": "busybox", "/bin/mkdir": "busybox", "/bin/wget": "busybox", "/bin/tar": "busybox", "/bin/gzip": "busybox"}
	for name, img := range map[string]image{
		"golang": {
			files: with(map[string]string{
				"/usr/local/go/bin": goroot + "/bin", "/usr/local/go/pkg": goroot + "/pkg", "/usr/local/go/src": goroot + "/src", "/usr/local/go/lib": goroot + "/lib",
				"/usr/local/go/VERSION": goroot + "/VERSION", "/usr/local/go/go.env": goroot + "/go.env",
				"/go/proxy": proxy, "/go/cache": cache, certificates: certificates,
			}),
			dirs: map[string]int{"/tmp": 0, "/root": 0}, links: applets,
			// The official image asks the module proxy and compiles everything.
			changes: []string{"ENV PATH=/usr/local/go/bin:/bin GOPATH=/go GOPROXY=file:///go/proxy GOSUMDB=off GOCACHE=/go/cache"},
		},
		"nats": {
			files: with(map[string]string{"/usr/local/bin/nats-server": built.bin + "/nats-server"}), links: applets, dirs: map[string]int{"/tmp": 0},
			changes: []string{`ENTRYPOINT ["/usr/local/bin/nats-server"]`, `ENV PATH=/usr/local/bin:/bin`},
		},
		"otel/opentelemetry-collector-contrib": {
			files: map[string]string{"/otelcol-contrib": built.bin + "/otelcol"}, dirs: map[string]int{"/tmp": 0},
			changes: []string{`ENTRYPOINT ["/otelcol-contrib"]`, `USER 10001`},
		},
		"prom/prometheus": {
			files: with(map[string]string{"/bin/prometheus": built.bin + "/prometheus"}), links: applets, dirs: map[string]int{"/tmp": 0, "/prometheus": 65534},
			changes: []string{`ENTRYPOINT ["/bin/prometheus"]`, `USER 65534`, `WORKDIR /prometheus`, `ENV PATH=/bin`},
		},
	} {
		tag, err := named(name)
		if err != nil {
			return err
		}
		if out, err := exec.Command("docker", "image", "inspect", "--format", "{{index .Config.Labels \"stand-in\"}}", tag).Output(); err == nil && strings.TrimSpace(string(out)) == "" {
			continue // the engine has the official one
		}
		if err := img.load(tag); err != nil {
			return fmt.Errorf("stand-in for %s: %w", tag, err)
		}
	}
	return nil
}

// named returns the image of that name, with its tag, that compose.yaml or the
// Dockerfile uses. It is an error if its version is not that of the program here.
func named(name string) (string, error) {
	for _, file := range []string{"compose.yaml", "deploy/Dockerfile"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return "", err
		}
		m := regexp.MustCompile(`(?m)(?:image: |FROM \S+ )(` + regexp.QuoteMeta(name) + `:(\S+))`).FindStringSubmatch(string(text))
		if m == nil {
			continue
		}
		return m[1], sameVersion(name, m[2])
	}
	return "", fmt.Errorf("neither compose.yaml nor deploy/Dockerfile uses an image %s", name)
}

func sameVersion(name, tag string) error {
	version, _, _ := strings.Cut(strings.TrimPrefix(tag, "v"), "-")
	var have string
	switch name {
	case "golang":
		have = strings.Join(strings.Split(strings.TrimPrefix(runtime.Version(), "go"), ".")[:2], ".")
	case "nats":
		have = required("../e2e/go.mod", "github.com/nats-io/nats-server/v2 v")
	case "prom/prometheus": // module v0.316.0 is Prometheus 3.16.0
		parts := strings.Split(required("../e2e/prometheus/go.mod", "github.com/prometheus/prometheus v"), ".")
		have = parts[1][:1] + "." + strings.TrimLeft(parts[1][1:], "0") + "." + parts[2]
	default:
		have = required("../e2e/otelcol/go.mod", "go.opentelemetry.io/collector/otelcol v")
	}
	if version != have {
		return fmt.Errorf("image %s:%s, but what is tested here is version %s", name, tag, have)
	}
	return nil
}

func required(file, prefix string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	_, rest, _ := strings.Cut(string(text), prefix)
	version, _, _ := strings.Cut(rest, "\n")
	version, _, _ = strings.Cut(version, " ")
	return version
}

// findBusybox returns a static one: of this machine, or of Debian's package.
func findBusybox(dir string) (string, error) {
	for _, p := range busyboxes {
		if out, err := exec.Command("file", "-L", p).Output(); err == nil && strings.Contains(string(out), "statically linked") {
			return p, nil
		}
	}
	kept := filepath.Join(built.cache, "busybox")
	if _, err := os.Stat(kept); err == nil {
		return kept, nil
	}
	there := filepath.Join(dir, "busybox")
	if err := os.MkdirAll(there, 0o755); err != nil {
		return "", err
	}
	if err := run(there, nil, "sh", "-c", "(apt-get download -q busybox-static || (apt-get update -q && apt-get download -q busybox-static)) && dpkg-deb -x busybox-static_*.deb ."); err != nil {
		return "", fmt.Errorf("a static busybox is needed for the shell of an image; install busybox-static: %w", err)
	}
	for _, p := range busyboxes {
		text, err := os.ReadFile(there + p)
		if err != nil {
			continue
		}
		return kept, errors.Join(os.MkdirAll(built.cache, 0o755), os.WriteFile(kept, text, 0o755))
	}
	return "", errors.New("no busybox in Debian's package busybox-static")
}

// goFiles returns this machine's Go, a module proxy of files that has the modules
// of the product and no others, and a build cache of the product and nothing else,
// filled by building it here as the Dockerfile does.
func goFiles(dir string) (goroot, proxy, cache string, err error) {
	out, err := exec.Command("go", "env", "GOROOT", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		return "", "", "", err
	}
	env := strings.Split(strings.TrimSpace(string(out)), "\n")
	modules := filepath.Join(built.cache, "modules")
	proxy, cache = filepath.Join(modules, "cache", "download"), filepath.Join(built.cache, "build")
	environ := []string{
		"GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=-modcacherw -trimpath -buildvcs=false", "GOMODCACHE=" + modules, "GOCACHE=" + cache,
		"GOPROXY=file://" + env[1] + "/cache/download," + env[2],
	}
	for _, target := range []struct {
		service string
		archs   []string
	}{{"collector", []string{runtime.GOARCH, otherArch()}}, {"calculator", []string{runtime.GOARCH}}, {"exporter", []string{runtime.GOARCH}}, {"fsagent", []string{runtime.GOARCH}}} {
		for _, arch := range target.archs {
			err := run(filepath.Join(root, "services", target.service), append(slices.Clone(environ), "GOARCH="+arch),
				"go", "build", "-ldflags="+ldflags, "-o", filepath.Join(dir, "discarded"), "./cmd/"+target.service)
			if err != nil {
				return "", "", "", err
			}
		}
	}
	return env[0], proxy, cache, nil
}

// ldflags of the Dockerfile with its default version.
const ldflags = "-s -w -buildid= -X github.com/fsagent/fsagent/internal/service.version=dev"

func otherArch() string {
	if runtime.GOARCH == "amd64" {
		return "arm64"
	}
	return "amd64"
}

// load gives the engine the image under a name.
func (img image) load(tag string) error {
	args := []string{"import", "--change", "LABEL stand-in=yes"}
	for _, c := range img.changes {
		args = append(args, "--change", c)
	}
	cmd := exec.Command("docker", append(args, "-", tag)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return err
	}
	err = errors.Join(img.write(stdin), stdin.Close())
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("docker import: %w\n%s", err, said.String())
	}
	return nil
}

func (img image) write(w io.Writer) error {
	t := tar.NewWriter(w)
	for dir, owner := range img.dirs {
		mode := int64(0o755)
		if dir == "/tmp" {
			mode = 0o1777
		}
		if err := t.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: mode, Uid: owner, Gid: owner}); err != nil {
			return err
		}
	}
	for name, target := range img.links {
		if err := t.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}); err != nil {
			return err
		}
	}
	for place, from := range img.files {
		from, err := filepath.EvalSymlinks(from)
		if err != nil {
			return err
		}
		err = filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			rel, err := filepath.Rel(from, p)
			if err != nil {
				return err
			}
			return copyFile(t, path.Join(place, filepath.ToSlash(rel)), p)
		})
		if err != nil {
			return err
		}
	}
	return t.Close()
}

func copyFile(t *tar.Writer, name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	mode := int64(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	if err := t.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
