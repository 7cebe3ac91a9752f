package leg_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/sample"
)

var update = flag.Bool("update", false, "write the golden files anew")

// events of a recording.
func events(t testing.TB, name string) [][]byte {
	t.Helper()
	r, err := recording.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return r.Events()
}

// run steps events through a new table.
func run(t testing.TB, events [][]byte) (samples []*fsagentv1.Sample, outcomes map[leg.Outcome]int) {
	t.Helper()
	table := leg.NewTable(leg.DefaultParams())
	outcomes = map[leg.Outcome]int{}
	for i, raw := range events {
		outcomes[table.Apply(uint64(i+1), "pbx", raw, func(s *fsagentv1.Sample) { samples = append(samples, s) })]++
	}
	return samples, outcomes
}

func text(samples []*fsagentv1.Sample) []byte {
	var b []byte
	for _, s := range samples {
		b = sample.AppendText(b, s)
	}
	return b
}

// TestRecordings compares the samples of every recording with the ones that were
// checked by eye against the relay and the README of the recordings.
func TestRecordings(t *testing.T) {
	t.Parallel()
	for _, name := range recording.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			samples, outcomes := run(t, events(t, name))
			file := filepath.Join("testdata", name+".txtar")
			got := golden(name, samples, outcomes)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("samples of %s differ from %s (go test ./internal/leg -update writes it anew)\n%s", name, file, difference(got, want))
			}
		})
	}
}

// golden is the txtar archive of a recording. The 80 calls of 05 are 3,400
// samples: the accounts of the legs are spelt out and the rest is a checksum.
func golden(name string, samples []*fsagentv1.Sample, outcomes map[leg.Outcome]int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Samples of the recording %s. Written by go test ./internal/leg -update.\n", name)
	fmt.Fprintf(&b, "-- outcomes --\n")
	for _, o := range slices.Sorted(maps.Keys(outcomes)) {
		fmt.Fprintf(&b, "%s %d\n", o, outcomes[o])
	}
	if len(samples) > 1000 {
		fmt.Fprintf(&b, "-- sha256 of all samples --\n%x\n", sha256.Sum256(text(samples)))
		samples = slices.DeleteFunc(slices.Clone(samples), func(s *fsagentv1.Sample) bool { return sample.KindOf(s) != sample.LegEnd })
	}
	b.WriteString("-- samples --\n")
	b.Write(text(samples))
	return b.Bytes()
}

// difference shows the first line that differs.
func difference(got, want []byte) string {
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(g), len(w)) {
		if !bytes.Equal(g[i], w[i]) {
			return fmt.Sprintf("line %d:\ngot  %s\nwant %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}

// ends returns the accounts of the legs, by channel.
func ends(samples []*fsagentv1.Sample) map[string]*fsagentv1.LegEnd {
	out := map[string]*fsagentv1.LegEnd{}
	for _, s := range samples {
		if sample.KindOf(s) == sample.LegEnd {
			out[s.GetChannelId()] = s.GetLegEnd()
		}
	}
	return out
}

// TestCleanCallsLoseNothing: FreeSWITCH's phantom 1 is in most of these streams.
func TestCleanCallsLoseNothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"01-single-pcmu", "02-bridged-pcmu", "09b-rtcp-mux"} {
		samples, _ := run(t, events(t, name))
		for channel, m := range ends(samples) {
			if !m.HasPacketLoss() || m.GetPacketLoss() != 0 {
				t.Errorf("%s %s: got packet loss %d (present: %t), want 0", name, channel, m.GetPacketLoss(), m.HasPacketLoss())
			}
			if m.GetMos() != 4.409406 {
				t.Errorf("%s %s: got MOS %v, want 4.409406 (G.107, no loss)", name, channel, m.GetMos())
			}
		}
		for _, s := range samples {
			if s.GetReport().GetPacketsLost() != 0 {
				t.Errorf("%s: %s lost %d packets", name, sample.IdentityOf(s), s.GetReport().GetPacketsLost())
			}
		}
	}
}

// TestDeterministic: the same events give the same bytes, with everything else
// in between and every event twice.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	for _, name := range recording.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := events(t, name)
			want := encode(t, first(run(t, all)))
			if got := encode(t, first(run(t, all))); !bytes.Equal(got, want) {
				t.Error("a second run gives other bytes")
			}
			var twice [][]byte
			for i, raw := range all {
				twice = append(twice, raw, raw, all[i/2], all[0])
			}
			if got := encode(t, first(run(t, twice))); !bytes.Equal(got, want) {
				t.Error("repeated events change the samples")
			}
			if got := encode(t, first(run(t, append(slices.Clone(all), all...)))); !bytes.Equal(got, want) {
				t.Error("the whole recording a second time changes the samples")
			}
		})
	}
}

func first[A, B any](a A, _ B) A { return a }

func encode(t testing.TB, samples []*fsagentv1.Sample) []byte {
	t.Helper()
	b, err := sample.Encode(samples)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestInterleaving: the samples of a leg do not depend on the legs around it.
func TestInterleaving(t *testing.T) {
	t.Parallel()
	byCore := map[string][][]byte{}
	names := []string{"01-single-pcmu", "03a-loss5-jitter30-pcmu", "06a-hold", "06b-refer-transfer", "08a-before-kill"}
	var mixed [][]byte
	for _, name := range names {
		byCore[name] = events(t, name)
	}
	for i := 0; ; i++ {
		n := len(mixed)
		for _, name := range names {
			if i < len(byCore[name]) {
				mixed = append(mixed, byCore[name][i])
			}
		}
		if len(mixed) == n {
			break
		}
	}
	together := map[string][]byte{}
	for _, s := range first(run(t, mixed)) {
		together[s.GetChannelId()] = sample.AppendText(together[s.GetChannelId()], s)
	}
	for _, name := range names {
		alone := map[string][]byte{}
		for _, s := range first(run(t, byCore[name])) {
			alone[s.GetChannelId()] = sample.AppendText(alone[s.GetChannelId()], s)
		}
		for channel, want := range alone {
			if !bytes.Equal(together[channel], want) {
				t.Errorf("%s %s: other samples among other legs\n%s", name, channel, difference(together[channel], want))
			}
		}
	}
}

// TestSaveAndLoad: wherever the state is saved and loaded, the samples that
// follow are the same. The loaded table reads some events again, as after a
// crash, and must be silent about them.
func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"01-single-pcmu", "03d-blackout", "06a-hold", "06b-refer-transfer", "07-failed", "08a-before-kill", "10a-shutdown"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := known(t, name)
			want := text(first(run(t, all)))
			for cut := range all {
				if got := cutRun(t, all, cut, cut/2); !bytes.Equal(got, want) {
					t.Fatalf("saved after %d events: %s", cut, difference(got, want))
				}
			}
		})
	}
}

// known are the events of a recording that mean something to the step.
func known(t testing.TB, name string) (out [][]byte) {
	table := leg.NewTable(leg.DefaultParams())
	for i, raw := range events(t, name) {
		if table.Apply(uint64(i+1), "pbx", raw, func(*fsagentv1.Sample) {}) != leg.UnknownEvent {
			out = append(out, raw)
		}
	}
	return out
}

// cutRun applies the first events, saves, loads, and goes on from the event
// after cursor; the cores are as they were at the cursor.
func cutRun(t testing.TB, all [][]byte, cut, cursor int) []byte {
	t.Helper()
	var out []byte
	emit := func(s *fsagentv1.Sample) { out = sample.AppendText(out, s) }
	before := leg.NewTable(leg.DefaultParams())
	bucket := map[leg.Key][]byte{}
	var cores []*fsagentv1.Core
	for i := range cut {
		if i == cursor {
			cores = before.Cores()
		}
		before.Apply(uint64(i+1), "pbx", all[i], emit)
		if i%7 == 0 || i == cut-1 {
			store(bucket, before.Changes())
		}
	}
	after := leg.NewTable(leg.DefaultParams())
	after.LoadCores(cores)
	for _, state := range bucket {
		if _, err := after.LoadLeg(state); err != nil {
			t.Fatal(err)
		}
	}
	for i := cursor; i < len(all); i++ {
		seq := uint64(i + 1)
		if i < cut {
			after.Apply(seq, "pbx", all[i], func(s *fsagentv1.Sample) {
				t.Errorf("%s came again after loading", sample.IdentityOf(s))
			})
			continue
		}
		after.Apply(seq, "pbx", all[i], emit)
	}
	return out
}

func store(bucket map[leg.Key][]byte, changes []leg.Change) {
	for _, c := range changes {
		if c.State == nil {
			delete(bucket, c.Key)
		} else {
			bucket[c.Key] = c.State
		}
	}
}

// TestStateIsCanonical: a state that is loaded and saved again is the same.
func TestStateIsCanonical(t *testing.T) {
	t.Parallel()
	for _, name := range recording.Names() {
		table := leg.NewTable(leg.DefaultParams())
		for i, raw := range events(t, name) {
			table.Apply(uint64(i+1), "pbx", raw, func(*fsagentv1.Sample) {})
			if i%50 != 0 {
				continue
			}
			for _, c := range table.Changes() {
				if len(c.State) > 600 {
					t.Errorf("%s: state of %d bytes, want at most 600", name, len(c.State))
				}
				m := &fsagentv1.LegState{}
				if err := proto.Unmarshal(c.State, m); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
