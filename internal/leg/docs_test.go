package leg_test

import (
	"os"
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
