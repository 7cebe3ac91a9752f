package event_test

import (
	"bytes"
	"testing"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/recording"
)

// seed adds the first events of every recording.
func seed(f *testing.F) {
	f.Helper()
	for _, name := range recording.Names() {
		r, err := recording.Load(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, raw := range r.Events()[:min(8, len(r.Events()))] {
			f.Add(raw)
		}
	}
	f.Add([]byte(minimal))
}

// FuzzParse: whatever the bytes, no panic, and what Scan found is in the bytes.
func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := event.Parse(raw)
		for name, value := range e.All() {
			if len(name) == 0 || !bytes.Contains(raw, value) {
				t.Fatalf("header %q: %q", name, value)
			}
		}
		if err != nil {
			return
		}
		id := e.ID()
		if len(id.Name) == 0 || len(id.CoreUUID) == 0 || id.TimeUS < 0 {
			t.Errorf("accepted with ID %+v", id)
		}
		v, ok := e.Header("Event-Name")
		if !ok || !bytes.Equal(v, id.Name) {
			t.Errorf("Header gives %q, %t, Scan %q", v, ok, id.Name)
		}
	})
}

// FuzzEncode: what is encoded decodes to the same, and has nothing in it that
// would end a line or look like a header.
func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", "a b", "50%", "%41", "ü", "a: b\n", "\x00\xff", "~!"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		encoded := event.Encode(v)
		if v != "_undef_" && event.Decode([]byte(encoded)) != v {
			t.Errorf("%q encodes to %q, decodes to %q", v, encoded, event.Decode([]byte(encoded)))
		}
		for _, c := range []byte(encoded) {
			if c <= ' ' || c > '~' || c == ':' {
				t.Errorf("%q encodes to %q", v, encoded)
			}
		}
	})
}

// FuzzSplit: no panic; frames of what came out split into the same.
func FuzzSplit(f *testing.F) {
	seed(f)
	f.Add(event.AppendFrame(event.AppendFrame(nil, []byte(minimal)), []byte(minimal)))
	f.Add([]byte("Content-Length: 0\n\n"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		events, _ := split(payload)
		var packed []byte
		for _, raw := range events {
			packed = event.AppendFrame(packed, raw)
		}
		if len(events) == 0 {
			return
		}
		again, err := split(packed)
		if err != nil || len(again) != len(events) {
			t.Fatalf("%d events come back as %d, %v", len(events), len(again), err)
		}
		for i := range again {
			if !bytes.Equal(again[i], events[i]) {
				t.Errorf("event %d changed", i)
			}
		}
	})
}
