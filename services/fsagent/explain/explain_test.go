package explain

import (
	"bytes"
	"compress/gzip"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/natsserver"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
	"github.com/fsagent/fsagent/services/fsagent/history"
)

func load(t *testing.T, name string) *recording.Recording {
	t.Helper()
	r, err := recording.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func written(t *testing.T, x *Explainer) string {
	t.Helper()
	var b bytes.Buffer
	if err := x.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestStory: the story of the outage of 03d has its raw values, what was
// concluded, the artefacts, the terms of the E-model, and why a MOS is missing.
func TestStory(t *testing.T) {
	t.Parallel()
	x := New(leg.DefaultParams(), "")
	x.Events("pbx", load(t, "03d-blackout").Events())
	story := written(t, x)
	for _, want := range []string{
		"Leg 3e4c3610-7cf4-4d5b-a37d-8dd2fda8a6c2\n",
		"   +22.200 s SEND_RTCP_MESSAGE #742\n",
		"raw          SSRC 030796e3, highest 29171, lost 502, fraction 255/256, jitter 10,",
		"artefact     phantom_loss: FreeSWITCH counts 1 lost",
		"artefact     partial_media: ",
		"MOS          none: partial_media: the few packets",
		"no media     3.940 s of the 4.020 s since the report before\n",
		"interval     10.060 s\n",
		"expected     29171 - 28669 = 502 packets\n",
		"lost         502 - 1 = 501 packets\n",
		"E-model      ITU-T G.107 (06/2015), PCMU: Ie 0, Bpl 25.1, Ppl 99.8008 %, BurstR 1\n",
		"R            Ro 94.769 - Is 1.414 - Idte 0.000 - Idle 0.149 - Idd 0.000 - Ie,eff 75.909 + A 0 = 17.297\n",
		"MOS-CQ       none: no_round_trip: ",
		"freeswitch.leg.no_media{inbound}               10040\n",
		"burst ratio  none: runs_unknown: ",
		"cause        NORMAL_CLEARING\n",
	} {
		if !strings.Contains(story, want) {
			t.Errorf("the story lacks %q", want)
		}
	}
	if strings.Contains(story, "\x1b") || strings.Contains(story, "%!") {
		t.Error("the story has control codes or a broken format")
	}
}

// TestEveryRecording has a story, and one of each leg.
func TestEveryRecording(t *testing.T) {
	t.Parallel()
	for _, name := range recording.Names() {
		x := New(leg.DefaultParams(), "")
		x.Events("pbx", load(t, name).Events())
		if story := written(t, x); strings.Contains(story, "%!") || strings.Count(story, "\nserver ") != strings.Count("\n"+story, "\nLeg ") {
			t.Errorf("%s: broken story", name)
		}
	}
}

func TestOneLeg(t *testing.T) {
	t.Parallel()
	const b = "be97"
	var id string
	for _, raw := range load(t, "06a-hold").Events() {
		if e, err := event.Parse(raw); err == nil && strings.HasPrefix(string(e.ID().UniqueID), b) {
			id = string(e.ID().UniqueID)
		}
	}
	x := New(leg.DefaultParams(), id)
	x.Events("pbx", load(t, "06a-hold").Events())
	if story := written(t, x); strings.Count(story, "Leg ") != 1 || !strings.HasPrefix(story, "Leg "+id) {
		t.Error("not the one leg that was asked for")
	}
	x = New(leg.DefaultParams(), "nobody")
	x.Events("pbx", load(t, "06a-hold").Events())
	if err := x.Write(&bytes.Buffer{}); !errors.Is(err, ErrNoLeg) {
		t.Errorf("got %v, want ErrNoLeg", err)
	}
}

// TestCapture: a captured file gives what the recording gives, packed or not,
// and cut off in the middle as far as it goes.
func TestCapture(t *testing.T) {
	t.Parallel()
	r := load(t, "01-single-pcmu")
	var plain, packed bytes.Buffer
	for _, f := range r.Frames {
		plain.Write(f.Bytes)
	}
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	want := New(leg.DefaultParams(), "")
	want.Events(instanceOfFile, r.Events())
	cut := plain.Bytes()[:plain.Len()-100]
	for name, data := range map[string][]byte{"plain": plain.Bytes(), "gzip": packed.Bytes(), "cut off": cut} {
		x := New(leg.DefaultParams(), "")
		if err := x.Capture(bytes.NewReader(data)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := written(t, x); name != "cut off" && got != written(t, want) || name == "cut off" && !strings.Contains(got, "The account of the leg") {
			t.Errorf("%s: another story", name)
		}
	}
	x := New(leg.DefaultParams(), "")
	if err := x.Capture(strings.NewReader("GIF89a, and nothing of an event socket\n\n")); err == nil {
		t.Error("a file that is no capture is accepted")
	}
}

// TestStream: one leg is read from the events stream, and from a copy of the
// data directory of a server that runs.
func TestStream(t *testing.T) {
	t.Parallel()
	dir, copied := t.TempDir(), t.TempDir()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	js := open(t, dir, log)
	settings := stream.DefaultSettings()
	settings.Partitions = 4
	if err := stream.Ensure(t.Context(), js, settings); err != nil {
		t.Fatal(err)
	}
	var id string
	events := load(t, "01-single-pcmu").Events()
	for _, raw := range events {
		e, err := event.Parse(raw)
		if err != nil || len(e.ID().UniqueID) == 0 {
			continue
		}
		id = string(e.ID().UniqueID)
		if _, err := js.Publish(t.Context(), stream.EventSubject(stream.Partition(e.ID().UniqueID, 4), "pbx", e.ID().Name), raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := history.Copy(dir, copied, stream.Events); err != nil {
		t.Fatal(err)
	}
	want := New(leg.DefaultParams(), id)
	want.Events("pbx", events)
	for name, js := range map[string]jetstream.JetStream{"live": js, "copy": open(t, copied, log)} {
		h, err := history.OpenOn(t.Context(), js, stream.Events, 4, log)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		x := New(leg.DefaultParams(), id)
		if err := x.Stream(t.Context(), h, id); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := written(t, x); got != written(t, want) {
			t.Errorf("%s: another story\n%s", name, got)
		}
	}
	if err := history.Copy(filepath.Join(dir, "nothing"), copied, stream.Events); !errors.Is(err, history.ErrNoData) {
		t.Errorf("got %v, want ErrNoData", err)
	}
}

func open(t *testing.T, dir string, log *slog.Logger) jetstream.JetStream {
	t.Helper()
	server, err := natsserver.Start(natsserver.Config{DataDir: dir}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	nc, err := stream.Connect(stream.Connection{}, "test", log, server.InProcess())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// TestWords: every name that can be in a story has words.
func TestWords(t *testing.T) {
	t.Parallel()
	for n := range fsagentv1.Artefact_name {
		if n != 0 && artefacts[fsagentv1.Artefact(n)] == "" {
			t.Errorf("no words for %v", fsagentv1.Artefact(n))
		}
	}
	for n := range fsagentv1.Reason_name {
		if n != 0 && reasons[fsagentv1.Reason(n)] == "" {
			t.Errorf("no words for %v", fsagentv1.Reason(n))
		}
	}
	for n := range fsagentv1.Assumption_name {
		if n != 0 && assumptions[fsagentv1.Assumption(n)] == "" {
			t.Errorf("no words for %v", fsagentv1.Assumption(n))
		}
	}
	for _, o := range []leg.Outcome{leg.Malformed, leg.MalformedReport, leg.Duplicate, leg.Late, leg.AfterEnd, leg.Replayed, leg.NoUniqueID} {
		if refusals[o] == "" {
			t.Errorf("no words for %v", o)
		}
	}
}
