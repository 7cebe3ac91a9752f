package sample_test

import (
	"testing"

	"github.com/fsagent/fsagent/internal/sample"
)

// FuzzDecode: no panic on any bytes, and what is read can be written and
// printed.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"03d-blackout", "07-failed"} {
		for _, s := range measured(f, name) {
			batch, err := sample.Append(nil, s)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(batch)
		}
	}
	f.Fuzz(func(t *testing.T, batch []byte) {
		samples, err := sample.Decode(batch)
		if err != nil {
			return
		}
		for _, s := range samples {
			sample.AppendText(nil, s)
		}
		if _, err := sample.Encode(samples); err != nil {
			t.Error(err)
		}
	})
}
