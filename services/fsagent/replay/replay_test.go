package replay

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/leg"
	"github.com/fsagent/fsagent/internal/natstest"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/stream"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

func TestParseBound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Bound{
		"":                          {},
		"12":                        {text: "12", sequence: 12},
		"now":                       {text: "now"},
		"-2h30m":                    {text: "-2h30m", ago: 150 * time.Minute},
		"2026-11-02T15:04:05Z":      {text: "2026-11-02T15:04:05Z", at: time.Date(2026, 11, 2, 15, 4, 5, 0, time.UTC)},
		"2026-11-02T17:04:05+02:00": {text: "2026-11-02T17:04:05+02:00", at: time.Date(2026, 11, 2, 15, 4, 5, 0, time.UTC)},
	} {
		got, err := ParseBound(text)
		if err != nil || got.text != want.text || got.sequence != want.sequence || got.ago != want.ago || !got.at.Equal(want.at) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"0", "-", "--2h", "-2", "yesterday", "2026-11-02", "2h", "12 "} {
		if _, err := ParseBound(text); !errors.Is(err, ErrBound) {
			t.Errorf("%q: got %v, want ErrBound", text, err)
		}
	}
	for _, text := range []string{"", "-1h", "0s", "some"} {
		if _, err := ParseWarmUp(text); err == nil {
			t.Errorf("warm-up %q is accepted", text)
		}
	}
}

func TestCheckStreamName(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"again": true, "A-1_b": true, "": false, "a.b": false, "*": false, "FSAGENT_EVENTS": false, "fsagent_samples": false,
		"FSAGENT_DEADLETTER": false, "FSAGENT_STATE": false, "KV_FSAGENT_STATE": false, "OBJ_x": false, strings.Repeat("x", 65): false,
	} {
		if err := CheckStreamName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// made steps a recording by two tables.
func made(t *testing.T, name string, now, before leg.Params) (entries []Entry) {
	t.Helper()
	r, err := recording.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	a, b := leg.NewTable(before), leg.NewTable(now)
	for i, raw := range r.Events() {
		var old []*fsagentv1.Sample
		a.Apply(uint64(i+1), "pbx", raw, func(s *fsagentv1.Sample) { old = append(old, s) })
		b.Apply(uint64(i+1), "pbx", raw, func(s *fsagentv1.Sample) {
			entries = append(entries, Entry{Sequence: uint64(i + 1), Sample: s, Before: old[0]})
			old = old[1:]
		})
		if len(old) > 0 {
			t.Fatal("other settings make other samples")
		}
	}
	return entries
}

// A comparison counts legs by class before and now, and names those that changed
// most.
func TestComparison(t *testing.T) {
	t.Parallel()
	before, now := leg.DefaultParams(), leg.DefaultParams()
	now.Inbound.Concealed, now.Outbound.Concealed = nil, nil
	c := NewComparison(nil, "concealed", "bare")
	for _, name := range []string{"01-single-pcmu", "03a-loss5-jitter30-pcmu", "07-failed"} {
		for _, e := range made(t, name, now, before) {
			if err := c.Take(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	var text, object bytes.Buffer
	if err := errors.Join(c.Write(&text), c.WriteJSON(&object)); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Legs       int
		OtherClass int                       `json:"other_class"`
		Moves      map[string]map[string]int `json:"moves"`
		Biggest    []mover                   `json:"biggest_movers"`
	}
	if err := json.Unmarshal(object.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, to := range got.Moves {
		for _, n := range to {
			total += n
		}
	}
	if total != got.Legs || got.Moves["good"]["good"] != 1 || got.Moves["fair"]["poor"] != 1 || got.OtherClass != 1 {
		t.Errorf("got %+v", got)
	}
	if len(got.Biggest) != 1 || got.Biggest[0].Old < 3.9 || got.Biggest[0].New > 2.5 {
		t.Errorf("biggest movers: got %+v", got.Biggest)
	}
	for _, want := range []string{"1 are in another class", "→ poor", "biggest movers", "old: concealed"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, &text)
		}
	}
}

// Every line is JSON, with numbers as numbers, and says what the sample has.
func TestNDJSON(t *testing.T) {
	t.Parallel()
	for _, name := range recording.Names() {
		for _, e := range made(t, name, leg.DefaultParams(), leg.DefaultParams()) {
			line := appendJSON(nil, e.Sample)
			var got struct {
				Time    time.Time
				Kind    string
				TimeUS  int64                  `json:"time_us"`
				Channel string                 `json:"channel_id"`
				Report  map[string]any         `json:"report"`
				LegEnd  *struct{ MOS float64 } `json:"leg_end"`
			}
			if err := json.Unmarshal(line, &got); err != nil {
				t.Fatalf("%s: %v: %s", name, err, line)
			}
			if got.Time.UnixMicro() != e.Sample.GetTimeUs() || got.TimeUS != e.Sample.GetTimeUs() || got.Channel != e.Sample.GetChannelId() ||
				(got.LegEnd != nil) != e.Sample.HasLegEnd() || (got.Report != nil) != e.Sample.HasReport() || bytes.Count(line, []byte("\n")) != 1 {
				t.Fatalf("%s: %s", name, line)
			}
			if got.LegEnd != nil && got.LegEnd.MOS != e.Sample.GetLegEnd().GetMos() {
				t.Fatalf("%s: MOS of %s", name, line)
			}
		}
	}
	odd := fsagentv1.Sample_builder{ChannelId: "a\"\n\u2028ü\\", DomainName: "x\x00"}.Build()
	var got map[string]any
	if err := json.Unmarshal(appendJSON(nil, odd), &got); err != nil || got["channel_id"] != odd.GetChannelId() || got["domain_name"] != odd.GetDomainName() {
		t.Errorf("got %v, %v", got, err)
	}
}

// The table has a line for each leg: those that ended and those that live on.
func TestTable(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	table := NewTable(&b)
	entries := made(t, "02-bridged-pcmu", leg.DefaultParams(), leg.DefaultParams())
	for _, e := range entries[:len(entries)-1] { // one leg's end is missing
		if err := table.Take(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.Count(got, "\n") != 4 || strings.Count(got, "not ended") != 2 || !strings.HasSuffix(got, "2 legs, 1 of them not ended\n") {
		t.Errorf("got\n%s", got)
	}
}

// A rate holds.
func TestRate(t *testing.T) {
	t.Parallel()
	r, began := NewRate(1000), time.Now()
	for range 4 {
		if err := r.Wait(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("200 events at 1000/s took %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Wait(ctx, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of ctx", err)
	}
}

// An event can make more samples than a message holds. Wherever a replay is
// interrupted, the next one goes on inside of the event.
func TestStreamPartsAnEvent(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t).JetStream(stream.DefaultSettings())
	var entries []Entry
	var want []byte
	for event, samples := range map[int]int{1: 3, 2: 9000, 3: 1} {
		for n := range samples {
			data := fmt.Appendf(nil, "event %d sample %d %s|", event, n, strings.Repeat("x", 200))
			entries = append(entries, Entry{Sequence: uint64(event), Data: data})
		}
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Sequence, b.Sequence) })
	for _, e := range entries {
		want = append(want, e.Data...)
	}
	// After so many samples a run is interrupted, or, if less than 0, dies.
	for _, stop := range []int{2, 3000, -3001, -6000, 8000, len(entries)} {
		w, _, from, err := OpenStream(t.Context(), js, "parts", "it", stream.File, 1, natstest.Logger(t), func() (Range, error) { return Range{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		through, taken := uint64(0), 0
		for i, e := range entries {
			if from != nil && e.Sequence <= from.Through {
				continue
			}
			if err := w.Take(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			if i == len(entries)-1 || entries[i+1].Sequence > e.Sequence {
				through = e.Sequence
			}
			if taken++; taken == max(stop, -stop) {
				break
			}
		}
		if stop > 0 {
			if err := w.Commit(t.Context(), through, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := js.Stream(t.Context(), "parts")
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		msg, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, msg.Data...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the stream has %d bytes, want %d, or other ones", len(got), len(want))
	}
}
