package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// bookmark is a file that says how far a replay is and what it needs to go on. It
// is there while the replay is not through.
type bookmark struct {
	path  string
	saved saved
	took  time.Duration // the last time
	at    time.Time
}

// saved is what is in it.
type saved struct {
	Asked  string
	Size   int64 // how much of the file is safe, if it writes one
	Range  Range
	States *States
}

// openBookmark returns nil without an error if there is none, and an error that
// wraps ErrOther if it is that of a replay which was asked for something else.
func openBookmark(path, asked string) (*bookmark, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	b := &bookmark{path: path}
	if err := json.Unmarshal(text, &b.saved); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if b.saved.Asked != asked {
		return nil, fmt.Errorf("%s %w; remove it, and what the replay has written, to begin anew\nthen: %s\nnow:  %s", path, ErrOther, b.saved.Asked, asked)
	}
	return b, nil
}

// due is false while writing it again would take more than a tenth of the time.
func (b *bookmark) due() bool { return time.Since(b.at) >= 10*b.took }

// put notes how far the replay is.
func (b *bookmark) put(through uint64, size int64, states *States) error {
	began := time.Now()
	if states != nil {
		states.Through = through
	}
	b.saved.Size, b.saved.States = size, states
	err := b.save()
	b.at = time.Now()
	b.took = b.at.Sub(began)
	return err
}

// save replaces the file as a whole.
func (b *bookmark) save() error {
	text, err := json.Marshal(b.saved)
	if err != nil {
		return fmt.Errorf("progress of a replay: %w", err)
	}
	f, err := os.Create(b.path + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(b.path+".new", b.path)
}

func (b *bookmark) remove() error {
	if b == nil {
		return nil
	}
	return os.Remove(b.path)
}
