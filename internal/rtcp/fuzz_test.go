package rtcp_test

import (
	"testing"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/rtcp"
)

// FuzzParse: no panic, and no number out of its range.
func FuzzParse(f *testing.F) {
	for _, name := range recording.Names() {
		for i, e := range recorded(f, name) {
			if i < 6 {
				f.Add(e.Raw(), uint32(0))
			}
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, own uint32) {
		e, err := event.Parse(raw)
		if err != nil {
			return
		}
		r, err := rtcp.Parse(e, own)
		if err != nil {
			return
		}
		if r.RTT < 0 || r.RTT >= 10_000_000_000 || r.HasBlock == r.Artefacts.Has(rtcp.NoBlock) {
			t.Errorf("got %+v", r)
		}
		var s rtcp.Stream
		s.Next(r, e.ID().Sequence, e.ID().TimeUS, 0)
	})
}
