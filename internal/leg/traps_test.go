package leg_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestTraps: what one would assume of FreeSWITCH's events and is not so. Each
// file has the trap, the truth, events built for it, and the samples they make.
func TestTraps(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/traps/*.txtar")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d traps, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, rest, ok := bytes.Cut(data, []byte("-- events --\n"))
			built, want, ok2 := bytes.Cut(rest, []byte("-- samples --\n"))
			if !ok || !ok2 || !bytes.HasPrefix(head, []byte("Trap: ")) || !bytes.Contains(head, []byte("\nTrue: ")) {
				t.Fatal("not a trap, its truth, events and samples")
			}
			var all [][]byte
			for e := range bytes.SplitSeq(built, []byte("\n\n")) {
				if len(e) > 0 {
					all = append(all, append(bytes.Clone(e), "\n\n"...))
				}
			}
			got := text(first(run(t, all)))
			if *update {
				if err := os.WriteFile(file, append(data[:len(data)-len(want)], got...), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, want) {
				t.Errorf("%s%s", head, difference(got, want))
			}
			if again := text(first(run(t, append(all, all...)))); !bytes.Equal(again, got) {
				t.Error("the events a second time change the samples")
			}
		})
	}
}
