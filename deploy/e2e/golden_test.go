package e2e

import (
	"bufio"
	"compress/gzip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sample of a series at one time.
type sample struct {
	series string // name and labels, sorted
	ms     int64  // since 1970
	value  float64
}

var (
	goldenLine  = regexp.MustCompile(`^(\S+) (\S+) (\S+) \[.*?\] (\{.*\}) (\{.*\})$`)
	goldenLabel = regexp.MustCompile(`([\w.]+)="((?:[^"\\]|\\.)*)"`)
)

// golden returns what Prometheus must have of a recording: the points that the
// product's own tests hold it to, under the names of the documentation.
func golden(t *testing.T, recording string) []sample {
	t.Helper()
	f, err := os.Open(filepath.Join(root, "services/fsagent/testdata", recording+".txt.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []sample
	for lines := bufio.NewScanner(z); lines.Scan(); {
		m := goldenLine.FindStringSubmatch(lines.Text())
		if m == nil {
			t.Fatalf("%s: cannot read %q", recording, lines.Text())
		}
		at, err := time.Parse(time.RFC3339Nano, m[1])
		if err != nil {
			t.Fatal(err)
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		labels := map[string]string{"job": "freeswitch", "instance": instance}
		for _, l := range goldenLabel.FindAllStringSubmatch(m[4], -1) {
			text, err := strconv.Unquote(`"` + l[2] + `"`)
			if err != nil {
				t.Fatal(err)
			}
			labels[l[1]] = text
		}
		out = append(out, sample{series(strings.ReplaceAll(m[2], ".", "_"), labels), at.UnixMilli(), value})
	}
	return out
}

// series is a name with sorted labels.
func series(name string, labels map[string]string) string {
	var all []string
	for key, value := range labels {
		if key != "__name__" {
			all = append(all, key+"="+strconv.Quote(value))
		}
	}
	slices.Sort(all)
	return name + "{" + strings.Join(all, ",") + "}"
}

// compare what Prometheus has with what it must have. The calls were moved by
// whole seconds, so times are compared after moving them back.
func compare(t *testing.T, got, want []sample) {
	t.Helper()
	if len(got) == 0 || len(want) == 0 {
		t.Fatalf("got %d samples, want %d", len(got), len(want))
	}
	earliest := func(all []sample) int64 {
		return slices.MinFunc(all, func(a, b sample) int { return int(a.ms - b.ms) }).ms
	}
	moved := earliest(got) - earliest(want)
	if moved%1000 != 0 {
		t.Errorf("the first sample is %d ms off", moved%1000)
	}
	type point struct {
		series string
		ms     int64
	}
	have := map[point]float64{}
	for _, s := range got {
		have[point{s.series, s.ms - moved}] = s.value
	}
	if len(have) != len(got) {
		t.Errorf("%d samples, but only %d different times in their series", len(got), len(have))
	}
	wrong := 0
	for _, s := range want {
		value, ok := have[point{s.series, s.ms}]
		if !ok || value != s.value {
			if wrong++; wrong <= 3 {
				t.Errorf("%s at %d: got %v (there %v), want %v", s.series, s.ms, value, ok, s.value)
			}
		}
	}
	if wrong > 0 || len(got) != len(want) {
		t.Errorf("%d samples, want %d; %d missing or wrong", len(got), len(want), wrong)
	}
}
