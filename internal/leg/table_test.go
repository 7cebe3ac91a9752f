package leg_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/leg"
)

func TestOutcomes(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Malformed, nil)
	s.apply(leg.Malformed, []byte("\x00\xff"))
	s.apply(leg.Malformed, []byte("Event-Name: CHANNEL_CREATE\n\n"))
	s.apply(leg.UnknownEvent, made("CHANNEL_STATE", "u1", 1, 0))
	s.apply(leg.NoUniqueID, made("CHANNEL_CREATE", "", 2, 0))
	s.apply(leg.Malformed, made("CHANNEL_CREATE", strings.Repeat("u", 1000), 2, 0))
	s.apply(leg.Malformed, made("CHANNEL_CREATE", "u\x80", 2, 0))
	s.apply(leg.Malformed, madeBy(strings.Repeat("c", 1000), "CHANNEL_CREATE", "u1", 2, 0))
	for _, name := range []string{"HEARTBEAT", "STARTUP", "SHUTDOWN"} {
		s.apply(leg.Applied, made(name, "", 3, 0))
	}
	s.apply(leg.Malformed, made("FSAGENT_SYNC", "", 3, 0))
	s.apply(leg.Malformed, made("FSAGENT_GAP", "", 3, 0))
	s.wantLen(0, 0)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 4, 0))
	s.apply(leg.Duplicate, made("CHANNEL_CREATE", "u1", 4, 0))
	s.apply(leg.MalformedReport, recv("u1", 5, 5, 1000, 0, "Source0-DLSR: x"))
	s.apply(leg.MalformedReport, recv("u2", 5, 5, 1000, 0, "Source0-DLSR: x")) // makes no leg
	s.wantLen(1, 0)
	s.apply(leg.Applied, recv("u1", 6, 5, 1000, 0))
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "u1", 8, 10))
	s.apply(leg.Applied, made("CHANNEL_DESTROY", "u1", 9, 10))
	s.apply(leg.AfterEnd, recv("u1", 7, 9, 1200, 0))
	s.wantLen(0, 1)
	if len(s.samples) != 2 {
		t.Errorf("got %d samples, want a report and an end", len(s.samples))
	}
}

// TestEndOnce: the account is made by whichever of the two comes first.
func TestEndOnce(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{
		{"CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY"}, {"CHANNEL_DESTROY", "CHANNEL_HANGUP_COMPLETE"},
		{"CHANNEL_DESTROY"}, {"CHANNEL_HANGUP_COMPLETE"},
	} {
		s := newStepper(t)
		s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 1, 0))
		for i, name := range order {
			s.apply(leg.Applied, made(name, "u1", 2+i, 10, "Hangup-Cause: NORMAL_CLEARING"))
		}
		if len(s.samples) != 1 || s.last().GetLegEnd().GetHangupCause() != "NORMAL_CLEARING" {
			t.Errorf("%v: got %d samples", order, len(s.samples))
		}
	}
}

// TestForget: an ended leg is remembered for the linger time of its own core,
// and what comes for it later is refused.
func TestForget(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 1, 0))
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "u1", 2, 10))
	s.apply(leg.Applied, madeBy("core2", "HEARTBEAT", "", 3, 60*minute)) // not its clock
	s.apply(leg.Applied, made("HEARTBEAT", "", 3, 10+5*minute))
	s.wantLen(0, 1)
	s.table.Changes()
	s.apply(leg.Applied, made("HEARTBEAT", "", 4, 11+5*minute))
	s.wantLen(0, 0)
	changes := s.table.Changes()
	if len(changes) != 1 || changes[0].State != nil || changes[0].Key != (leg.Key{CoreUUID: "core1", UniqueID: "u1"}) {
		t.Errorf("got changes %v, want one deletion", changes)
	}
	s.apply(leg.Late, made("CHANNEL_HANGUP_COMPLETE", "u1", 2, 10))
	s.apply(leg.Late, recv("u1", 2, 9, 1000, 0))
	// DESTROY may come long after: what counts is when the leg hung up.
	s.apply(leg.Late, made("CHANNEL_DESTROY", "u1", 9, 20*minute, "Caller-Channel-Hangup-Time: 1795429782000000"))
	s.wantLen(0, 0)
	if len(s.samples) != 1 {
		t.Errorf("got %d samples, want 1", len(s.samples))
	}
}

// TestClockSetBack: FreeSWITCH's clock was an hour ahead and is set right. What comes
// then counts, and what is late by its number is refused as before, also by whoever
// has loaded the clock.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "ahead", 10, 60*minute))
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "ahead", 20, 61*minute))
	s.apply(leg.Late, made("CHANNEL_CREATE", "late", 5, 0))
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 30, minute))
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "u1", 31, minute+10))
	s.apply(leg.Applied, made("HEARTBEAT", "", 40, 7*minute))
	s.wantLen(0, 2) // they are remembered until the time is reached again
	s.apply(leg.Duplicate, made("CHANNEL_HANGUP_COMPLETE", "u1", 31, minute+10))
	// The channel of before hung up too long ago to be another leg.
	s.apply(leg.Late, made("CHANNEL_DESTROY", "before", 40, 8*minute, "Caller-Channel-Hangup-Time: 1795429772000000"))
	s.apply(leg.Late, made("CHANNEL_DESTROY", "before", 41, 8*minute, "Caller-Channel-Hangup-Time: 1795429772000000"))
	cores := s.table.Cores()

	s = newStepper(t)
	s.table.LoadCores(cores)
	s.apply(leg.Late, made("CHANNEL_CREATE", "late", 35, minute))
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u2", 42, minute))
}

// TestIDAgain: a dialplan can give a new leg the id of one that ended.
func TestIDAgain(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 1, 0, "Caller-Channel-Created-Time: 1795429772000000"))
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "u1", 2, 10))
	s.apply(leg.Duplicate, made("CHANNEL_CREATE", "u1", 1, 0, "Caller-Channel-Created-Time: 1795429772000000"))
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 3, 20, "Caller-Channel-Created-Time: 1795429792000000"))
	s.wantLen(1, 0)
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "u1", 4, 30))
	if len(s.samples) != 2 || s.last().GetLegEnd().GetCreatedTimeUs() != startUS+20*second {
		t.Errorf("got %d samples, the last of a leg created at %d", len(s.samples), s.last().GetLegEnd().GetCreatedTimeUs())
	}
}

// TestOldNumbers: an event older than all that are remembered was applied, or
// never will be.
func TestOldNumbers(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	for i := range 40 {
		s.apply(leg.Applied, recv("u1", 100+2*i, i, 1000+50*i, 0))
	}
	s.apply(leg.Duplicate, recv("u1", 100, 0, 1000, 0))
	s.apply(leg.Duplicate, recv("u1", 101, 0, 1000, 0))
	s.apply(leg.Duplicate, recv("u1", 178, 39, 2950, 0))
	s.apply(leg.Applied, recv("u1", 177, 39, 2940, 0)) // overtaken
	s.apply(leg.Duplicate, recv("u1", 177, 39, 2940, 0))
	if got := s.last().GetReport().GetArtefacts(); !slices.Equal(got, []fsagentv1.Artefact{fsagentv1.Artefact_ARTEFACT_OVERTAKEN}) {
		t.Errorf("got artefacts %v, want OVERTAKEN", got)
	}
}

// TestPacked: events of one message share its sequence; after loading, a message
// is replayed as a whole.
func TestPacked(t *testing.T) {
	t.Parallel()
	table := leg.NewTable(leg.DefaultParams())
	n := 0
	emit := func(*fsagentv1.Sample) { n++ }
	message := [][]byte{recv("u1", 1, 0, 1000, 0), recv("u1", 2, 5, 1250, 0), send("u1", 3, 5, 1000, 0)}
	for _, raw := range message {
		if got := table.Apply(7, "pbx", raw, emit); got != leg.Applied {
			t.Errorf("got %s, want applied", got)
		}
	}
	if n != 3 {
		t.Errorf("got %d samples, want 3", n)
	}
	loaded := leg.NewTable(leg.DefaultParams())
	if _, err := loaded.LoadLeg(table.Changes()[0].State); err != nil {
		t.Fatal(err)
	}
	for _, raw := range message {
		if got := loaded.Apply(7, "pbx", raw, emit); got != leg.Replayed {
			t.Errorf("got %s, want replayed", got)
		}
	}
	if got := loaded.Apply(8, "pbx", message[0], emit); got != leg.Duplicate {
		t.Errorf("got %s, want duplicate", got)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u2", 1, 0))
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 2, 0))
	s.apply(leg.Applied, made("CHANNEL_ANSWER", "u2", 3, 0))
	changes := s.table.Changes()
	if len(changes) != 2 || changes[0].Key.UniqueID != "u2" || changes[1].Key.UniqueID != "u1" {
		t.Errorf("got %d changes, want u2 and u1, once each", len(changes))
	}
	if changes = s.table.Changes(); len(changes) != 0 {
		t.Errorf("got %d changes, want none", len(changes))
	}
	// Ended, written never, forgotten: only the deletion is left.
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "u1", 4, 0))
	s.apply(leg.Applied, made("HEARTBEAT", "", 5, 10*minute))
	if changes = s.table.Changes(); len(changes) != 1 || changes[0].State != nil {
		t.Errorf("got %d changes, want one deletion", len(changes))
	}
	// Forgotten and made anew: no deletion may follow the new state.
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "u2", 6, 10*minute))
	s.apply(leg.Applied, made("HEARTBEAT", "", 7, 20*minute))
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u2", 8, 20*minute))
	if changes = s.table.Changes(); len(changes) != 1 || changes[0].State == nil {
		t.Errorf("got %d changes, want the new state only", len(changes))
	}
}

// TestLoadLegAgain: of several states of a leg the one loaded last counts.
func TestLoadLegAgain(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	table := leg.NewTable(leg.DefaultParams())
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 1, 0))
	first := s.table.Changes()[0]
	s.apply(leg.Applied, made("CHANNEL_HANGUP_COMPLETE", "u1", 2, 10))
	second := s.table.Changes()[0]
	for _, c := range []leg.Change{first, second, second} {
		if _, err := table.LoadLeg(c.State); err != nil {
			t.Fatal(err)
		}
	}
	if live, ended := table.Len(); live != 0 || ended != 1 {
		t.Errorf("got %d live and %d ended legs, want 0 and 1", live, ended)
	}
	table.Touch()
	if changes := table.Changes(); len(changes) != 1 || !bytes.Equal(changes[0].State, second.State) {
		t.Errorf("got %d changes, want the second state", len(changes))
	}
	table.Unload(first.Key)
	table.Unload(first.Key)
	if live, ended := table.Len(); live != 0 || ended != 0 || table.Has(first.Key) {
		t.Errorf("got %d live and %d ended legs after Unload, want none", live, ended)
	}
}

func TestLoadLegRefuses(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	s.apply(leg.Applied, made("CHANNEL_CREATE", "u1", 1, 0))
	state := s.table.Changes()[0].State
	table := leg.NewTable(leg.DefaultParams())
	if _, err := table.LoadLeg(state); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty": nil, "binary": []byte("\xff\xff\xff"), "cut off": state[:len(state)-3], "text": []byte("leg"),
	} {
		if _, err := table.LoadLeg(data); !errors.Is(err, leg.ErrState) {
			t.Errorf("%s: got %v, want ErrState", name, err)
		}
	}
	if live, ended := table.Len(); live != 1 || ended != 0 {
		t.Errorf("got %d live and %d ended legs after bad states, want 1 and 0", live, ended)
	}
}
