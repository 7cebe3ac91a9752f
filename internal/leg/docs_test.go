package leg_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/rtcp"
	"github.com/fsagent/fsagent/internal/sample"
)

// TestDocumented: docs/metrics.md has a line for every artefact, reason and
// rejection.
func TestDocumented(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for n := range fsagentv1.Artefact_name {
		if n == 0 {
			continue
		}
		name := sample.ArtefactName(fsagentv1.Artefact(n))
		if got := rtcp.Artefacts(1 << n).String(); got != name {
			t.Errorf("artefact %d is %q in rtcp and %q in the contract", n, got, name)
		}
		names = append(names, name)
	}
	for n := range fsagentv1.Reason_name {
		if n != 0 {
			names = append(names, sample.ReasonName(fsagentv1.Reason(n)))
		}
	}
	for _, o := range []leg.Outcome{leg.Malformed, leg.MalformedReport, leg.NoUniqueID, leg.UnknownEvent, leg.Duplicate, leg.Late, leg.AfterEnd} {
		names = append(names, string(o))
	}
	for _, name := range names {
		if !strings.Contains(string(b), "`"+name+"`") {
			t.Errorf("docs/metrics.md does not mention `%s`", name)
		}
	}
}

// TestMetricsPage: docs/metrics.md has a row for every metric, with its unit,
// and the number of its example is that of the recording.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(freeswitch\\.[a-z_.]+)` \\| ([^|]+) \\| (.*) \\| ([^|]+) \\|$").FindAllStringSubmatch(string(b), -1) {
		rows[m[1]] = m[2:]
	}
	for _, m := range sample.Metrics() {
		row, ok := rows[m.Name]
		if !ok || row[0] != m.Unit {
			t.Errorf("docs/metrics.md has no row of `%s` in %s: %q", m.Name, m.Unit, row)
			continue
		}
		if row[2] == "–" {
			continue
		}
		shown := strings.TrimSuffix(row[2], "…")
		value, found := example(t, m.Name, row[1])
		if !found || !strings.HasPrefix(value, shown) || shown == row[2] && value != shown {
			t.Errorf("docs/metrics.md shows %s for `%s`, the recording has %q", row[2], m.Name, value)
		}
	}
	if len(rows) != len(sample.Metrics()) {
		t.Errorf("docs/metrics.md has rows of %d metrics, there are %d", len(rows), len(sample.Metrics()))
	}
}

// example finds the value of a metric in the sample that the page takes: event
// 426 or 427 of recording 03a, the inbound account of 03a, or, where the row
// names one, of another recording.
func example(t *testing.T, metric, formula string) (string, bool) {
	name := "03a-loss5-jitter30-pcmu"
	for mark, other := range map[string]string{"(03d": "03d-blackout", "(06a": "06a-hold"} {
		if strings.Contains(formula, mark) {
			name = other
		}
	}
	for _, s := range first(run(t, events(t, name))) {
		id := s.GetEventId()
		event := strings.HasSuffix(id, ":426") || strings.HasSuffix(id, ":427") && metric == sample.RTCPRoundTripTime
		if s.HasReport() && !event || s.HasLegEnd() && name == "06a-hold" && s.GetLegEnd().GetHeldUs() == 0 {
			continue
		}
		for v := range sample.Values(s) {
			if v.Metric == metric {
				return strconv.FormatFloat(v.Float, 'f', -1, 64), true
			}
		}
	}
	return "", false
}
