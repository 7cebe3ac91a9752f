package sample_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/sample"
)

// measured returns the samples of a recorded call.
func measured(t testing.TB, name string) (samples []*fsagentv1.Sample) {
	t.Helper()
	r, err := recording.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	table := leg.NewTable(leg.DefaultParams())
	for i, raw := range r.Events() {
		table.Apply(uint64(i+1), "pbx", raw, func(s *fsagentv1.Sample) { samples = append(samples, s) })
	}
	return samples
}

func TestBatch(t *testing.T) {
	t.Parallel()
	samples := measured(t, "06a-hold")
	batch, err := sample.Encode(samples)
	if err != nil {
		t.Fatal(err)
	}
	got, err := sample.Decode(batch)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(got, samples, func(a, b *fsagentv1.Sample) bool { return proto.Equal(a, b) }) {
		t.Error("samples changed on the way")
	}
	again, err := sample.Encode(got)
	if err != nil || !bytes.Equal(again, batch) {
		t.Errorf("encoding what was decoded gives other bytes (%v)", err)
	}
	whole, err := proto.Marshal(fsagentv1.SampleBatch_builder{Samples: samples}.Build())
	if err != nil || !bytes.Equal(whole, batch) {
		t.Errorf("Append gives other bytes than protobuf for the whole batch (%v)", err)
	}
}

func TestBatchErrors(t *testing.T) {
	t.Parallel()
	if _, err := sample.Decode([]byte("no batch")); !errors.Is(err, sample.ErrBatch) {
		t.Errorf("got %v, want ErrBatch", err)
	}
	if got, err := sample.Decode(nil); err != nil || len(got) != 0 {
		t.Errorf("empty batch: got %d samples, %v", len(got), err)
	}
	before := []byte("before")
	bad := fsagentv1.Sample_builder{ChannelId: "\xff"}.Build()
	if got, err := sample.Append(before, bad); err == nil || !bytes.Equal(got, before) {
		t.Errorf("got %q, %v, want the batch as it was and an error", got, err)
	}
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	for _, name := range recording.Names() {
		seen := map[sample.Identity]bool{}
		for _, s := range measured(t, name) {
			id := sample.IdentityOf(s)
			if seen[id] || id.EventID == "" || id.Kind == 0 {
				t.Errorf("%s: identity %s comes twice or is not whole", name, id)
			}
			seen[id] = true
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	var got []string
	for _, s := range measured(t, "01-single-pcmu") {
		if sample.KindOf(s) != sample.LegEnd {
			continue
		}
		for v := range sample.Values(s) {
			got = append(got, v.Metric)
		}
		for range sample.Values(s) {
			break // stops when told
		}
	}
	want := []string{
		sample.QOSMOS, sample.QOSJitterAvg, sample.QOSJitterMin, sample.QOSJitterMax, sample.QOSTotalPackets, sample.QOSPacketLoss,
		sample.QOSTotalBytes,
		sample.LegMOS, sample.LegMOSConversational, sample.LegJitter, sample.LegJitterMax, sample.LegPackets, sample.LegPacketsLost,
		sample.LegBytes, sample.LegCoverage,
		sample.LegMOS, sample.LegMOSConversational, sample.LegJitter, sample.LegJitterMax, sample.LegPackets, sample.LegPacketsLost,
		sample.LegPacketsUnreported, sample.LegBytes, sample.LegRTT, sample.LegCoverage,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for v := range sample.Values(&fsagentv1.Sample{}) {
		t.Errorf("a sample without body has %s", v.Metric)
	}
}

// TestMetricsAreInOrder: Metrics has every value that a sample gives, in the
// order in which it gives them, each name once, with a unit and a description.
func TestMetricsAreInOrder(t *testing.T) {
	t.Parallel()
	place := map[string]int{}
	for i, m := range sample.Metrics() {
		if _, twice := place[m.Name]; twice || m.Unit == "" || m.Description == "" {
			t.Errorf("metric %+v", m)
		}
		place[m.Name] = i
	}
	for _, name := range recording.Names() {
		for _, s := range measured(t, name) {
			last, direction := -1, s.GetDirection()
			for v := range sample.Values(s) {
				i, ok := place[v.Metric]
				if !ok || v.Direction == direction && i <= last || v.Whole != sample.Metrics()[i].Whole {
					t.Fatalf("%s: %s of %s is not in the list, or not in its place", name, v.Metric, sample.IdentityOf(s))
				}
				last, direction = i, v.Direction
			}
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	report := &fsagentv1.Report{}
	report.SetJitterMs(20.875)
	report.SetPacketsLost(0)
	report.SetMosReason(fsagentv1.Reason_REASON_UNKNOWN_CODEC)
	report.SetArtefacts([]fsagentv1.Artefact{fsagentv1.Artefact_ARTEFACT_AFTER_NO_MEDIA})
	s := &fsagentv1.Sample{}
	s.SetEventId("c:7")
	s.SetTimeUs(1795429776519832)
	s.SetDirection(fsagentv1.Direction_DIRECTION_INBOUND)
	s.SetChannelId("a b\n")
	s.SetReport(report)
	got := string(sample.AppendText(nil, s))
	want := strings.Join([]string{
		"2026-11-23T10:29:36.519832Z c:7 REPORT inbound",
		`  channel_id="a b\n"`,
		"    freeswitch.rtcp.jitter = 20.875",
		"    freeswitch.rtcp.packets_lost = 0",
		"    mos_reason: unknown_codec",
		"    artefact: after_no_media",
		"",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		sample.MOSSourceName(fsagentv1.MosSource_MOS_SOURCE_G107):        "g107",
		sample.MOSSourceName(fsagentv1.MosSource_MOS_SOURCE_G107_1):      "g107.1",
		sample.MOSSourceName(fsagentv1.MosSource_MOS_SOURCE_FREESWITCH):  "freeswitch",
		sample.MOSSourceName(fsagentv1.MosSource_MOS_SOURCE_UNSPECIFIED): "",
		sample.ReasonName(fsagentv1.Reason_REASON_NO_SEND_EVENTS):        "no_send_events",
		sample.ArtefactName(fsagentv1.Artefact_ARTEFACT_PHANTOM_LOSS):    "phantom_loss",
		sample.Identity{EventID: "c:7", Kind: sample.LegEnd}.String():    "c:7 LEG_END",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
