package deadletter

import (
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/fsagent/fsagent/internal/sample"
)

// WriteLine prints a letter in one line: sequence, time, reason, what it is,
// detail.
func (x Letter) WriteLine(w io.Writer) error {
	what := fmt.Sprintf("%d bytes", len(x.Data))
	if samples, err := x.Samples(); err == nil && len(samples) > 0 {
		what = fmt.Sprintf("%s %s", samples[0].GetFsInstance(), sample.IdentityOf(samples[0]))
	}
	_, err := fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", x.Sequence, x.Parked.UTC().Format(time.RFC3339), x.Reason, what, x.Detail)
	return err
}

// Write prints all of a letter: its samples, or its bytes if they are none.
func (x Letter) Write(w io.Writer) error {
	text := fmt.Appendf(nil, "dead letter %d, parked %s, message %d of the samples stream\n%s: %s\n\n",
		x.Sequence, x.Parked.UTC().Format(time.RFC3339), x.Source, x.Reason, x.Detail)
	samples, err := x.Samples()
	for _, s := range samples {
		text = sample.AppendText(text, s)
	}
	if err != nil || len(samples) == 0 {
		text = append(text, hex.Dump(x.Data)...)
	}
	_, err = w.Write(text)
	return err
}
