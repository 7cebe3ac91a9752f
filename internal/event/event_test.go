package event_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/recording"
)

const minimal = "Event-Name: HEARTBEAT\nCore-UUID: c1\nEvent-Date-Timestamp: 1795429772499844\nEvent-Sequence: 7\n\n"

func TestScan(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, raw string
		want      string // part of the error; "" for none
	}{
		{"minimal", minimal, ""},
		{"no newline at the end", strings.TrimRight(minimal, "\n"), ""},
		{"empty", "", "no Event-Name"},
		{"only newlines", "\n\n\n", "no Event-Name"},
		{"no core", strings.Replace(minimal, "Core-UUID", "Core", 1), "without Core-UUID"},
		{"empty core", strings.Replace(minimal, "c1", "", 1), "without Core-UUID"},
		{"no sequence", strings.Replace(minimal, "Event-Sequence: 7\n", "", 1), "Event-Sequence"},
		{"negative sequence", strings.Replace(minimal, ": 7", ": -7", 1), "Event-Sequence"},
		{"sequence over 64 bits", strings.Replace(minimal, ": 7", ": 18446744073709551616", 1), "Event-Sequence"},
		{"greatest sequence", strings.Replace(minimal, ": 7", ": 18446744073709551615", 1), ""},
		{"time of text", strings.Replace(minimal, "1795429772499844", "now", 1), "Event-Date-Timestamp"},
		{"absurd time", strings.Replace(minimal, "1795429772499844", "9223372036854775807", 1), "Event-Date-Timestamp"},
		{"header after the empty line", "\n" + minimal, "no Event-Name"},
		{"binary", "\x00\xff\xfe\n: \n", "no Event-Name"},
		{"name as variable", strings.Replace(minimal, "Event-Name", "variable_Event-Name", 1), "no Event-Name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := event.Scan([]byte(tt.raw))
			if tt.want == "" {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			if !errors.Is(err, event.ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want ErrMalformed with %q", err, tt.want)
			}
		})
	}
}

// TestScanTakesTheFirst: an INVITE can bring variables and headers that repeat
// the names; the event's own come first.
func TestScanTakesTheFirst(t *testing.T) {
	t.Parallel()
	raw := strings.TrimSuffix(minimal, "\n") + "Unique-ID: u1\nUnique-ID: u2\nCore-UUID: c2\nEvent-Sequence: 8\n\n"
	id, err := event.Scan([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	if string(id.CoreUUID) != "c1" || id.Sequence != 7 || string(id.UniqueID) != "u1" || id.TimeUS != 1795429772499844 {
		t.Errorf("got %+v", id)
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	events := recorded(t, "02-bridged-pcmu")
	n := testing.AllocsPerRun(10, func() {
		for _, raw := range events {
			if _, err := event.Scan(raw); err != nil {
				t.Fatal(err)
			}
		}
	})
	if n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	e, err := event.Parse([]byte(strings.TrimSuffix(minimal, "\n") +
		"variable_nolocal:foo: b%3Aar\nno colon\nCall: first\nCall: second\nEmpty: _undef_\n\nBody: not a header\n"))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := e.Header("Call"); !ok || string(v) != "first" {
		t.Errorf("Header(Call) = %q, %t", v, ok)
	}
	if _, ok := e.Header("Body"); ok {
		t.Error("Header found a line after the headers")
	}
	if _, ok := e.Header("call"); ok {
		t.Error("Header ignores case")
	}
	if got := e.Text("variable_nolocal:foo"); got != "b:ar" {
		t.Errorf("Text = %q, want b:ar", got)
	}
	if e.Text("Empty") != "" || e.Text("Missing") != "" {
		t.Error("Text of an empty or a missing header is not empty")
	}
	var names []string
	for name := range e.All() {
		names = append(names, string(name))
	}
	want := "Event-Name Core-UUID Event-Date-Timestamp Event-Sequence variable_nolocal:foo Call Call Empty"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("All: got %s, want %s", got, want)
	}
	for range e.All() {
		break // stops when told
	}
}

// TestCutWalksAsAll: the two ways through an event see the same headers.
func TestCutWalksAsAll(t *testing.T) {
	t.Parallel()
	for _, raw := range recorded(t, "06a-hold") {
		e, _ := event.Parse(raw)
		rest := raw
		for name, value := range e.All() {
			n, v, after, ok := event.Cut(rest)
			if !ok || !bytes.Equal(n, name) || !bytes.Equal(v, value) {
				t.Fatalf("Cut gives %q: %q, All %q: %q", n, v, name, value)
			}
			rest = after
		}
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain": "plain", "a%20b": "a b", "%C3%BC": "ü", "%c3%bc": "ü", "_undef_": "", "": "", "+": "+",
		"50%": "50%", "%4": "%4", "%zz": "%zz", "%%41": "%A", "ARRAY%3A%3Aa%7C%3Ab": "ARRAY::a|:b",
	} {
		if got := event.Decode([]byte(in)); got != want {
			t.Errorf("Decode(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestUint(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]uint64{
		"0": 0, "7": 7, "0007": 7, "9999999999999999999": 9999999999999999999, "18446744073709551615": 1<<64 - 1,
		"00000000000000000000000001": 1,
	} {
		if got, ok := event.Uint([]byte(in)); !ok || got != want {
			t.Errorf("Uint(%q) = %d, %t", in, got, ok)
		}
	}
	for _, in := range []string{"", "-1", "+1", " 1", "1 ", "1.0", "0x1", "1_0", "18446744073709551616", strings.Repeat("9", 100)} {
		if got, ok := event.Uint([]byte(in)); ok {
			t.Errorf("Uint(%q) = %d, want not ok", in, got)
		}
	}
}

func recorded(t testing.TB, name string) [][]byte {
	t.Helper()
	r, err := recording.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return r.Events()
}
