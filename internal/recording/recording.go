// Package recording holds byte streams recorded from a real FreeSWITCH, with
// what is known about the network they crossed. They are the input of the demo,
// the simulated server and the tests; data/README.md says what each one is.
//
// A recording begins right after the reply to auth, so its first frame is the
// reply to the event command.
package recording

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed data
var data embed.FS

// ErrUnknown is returned by Load for a name that is not in Names.
var ErrUnknown = errors.New("unknown recording")

// Recording is one recorded connection.
type Recording struct {
	Name   string
	Frames []Frame
	// Relay is what a relay between FreeSWITCH and its peers did to the media,
	// one entry a one-way flow and run of the relay; empty where there was no
	// relay. (In 03d it was stopped for the blackout and started again.)
	Relay []Flow
}

// Frame is one frame of the event socket.
type Frame struct {
	// At is when the recorder read the frame; for recordings without times of
	// their own, the time in the event. It never decreases.
	At time.Time
	// Bytes is the frame as it came: header lines, empty line, body.
	Bytes []byte
	// Body is the part of Bytes after the header lines; empty if there is none.
	Body []byte
}

// IsEvent reports whether the frame carries an event in plain format.
func (f Frame) IsEvent() bool { return bytes.HasPrefix(f.Body, []byte("Event-")) }

// Flow is the relay's account of one direction of one call.
type Flow struct {
	From, To    int // UDP ports: 20000 and up are FreeSWITCH's, 24000 and up its peers'
	RTPIn       int // packets that reached the relay
	RTPDropped  int // of these, dropped
	RTPDup      int // of these, sent twice
	RTCPIn      int
	RTCPDropped int
	SSRC        string // 8 hex digits
}

// Names lists the recordings in order.
func Names() []string {
	entries, err := fs.Glob(data, "data/*.esl.gz")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for i, e := range entries {
		entries[i] = strings.TrimSuffix(path.Base(e), ".esl.gz")
	}
	slices.Sort(entries)
	return entries
}

// Load reads one recording. It returns an error wrapping ErrUnknown if there is
// none of that name.
func Load(name string) (*Recording, error) {
	stream, err := unpack(name + ".esl.gz")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %q (there are %s)", ErrUnknown, name, strings.Join(Names(), ", "))
	} else if err != nil {
		return nil, err
	}
	index, err := unpack(name + ".idx.gz")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	r := &Recording{Name: name}
	if r.Frames, err = cut(stream); err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	if index != nil {
		err = r.timeByReads(index)
	} else {
		err = r.timeByEvents()
	}
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	r.Relay, err = flows(name)
	return r, err
}

// Events returns the bodies of the frames that are events, in order.
func (r *Recording) Events() [][]byte {
	var out [][]byte
	for _, f := range r.Frames {
		if f.IsEvent() {
			out = append(out, f.Body)
		}
	}
	return out
}

func unpack(file string) ([]byte, error) {
	f, err := data.Open("data/" + file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", file, err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", file, err)
	}
	return b, nil
}

// cut splits a recorded stream into frames. The data are ours and known to be
// whole; the reader for the wild is the collector's.
func cut(stream []byte) ([]Frame, error) {
	var frames []Frame
	for off := 0; off < len(stream); {
		head, _, ok := bytes.Cut(stream[off:], []byte("\n\n"))
		if !ok {
			return nil, fmt.Errorf("no end of header lines at byte %d", off)
		}
		n, err := contentLength(head)
		if err != nil {
			return nil, fmt.Errorf("frame at byte %d: %w", off, err)
		}
		start := off + len(head) + 2
		if start+n > len(stream) {
			return nil, fmt.Errorf("frame at byte %d is cut off", off)
		}
		frames = append(frames, Frame{Bytes: stream[off : start+n : start+n], Body: stream[start : start+n : start+n]})
		off = start + n
	}
	return frames, nil
}

func contentLength(head []byte) (int, error) {
	for line := range bytes.Lines(head) {
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			return strconv.Atoi(string(bytes.TrimSpace(v)))
		}
	}
	return 0, nil
}

// timeByReads gives each frame the time of the read that completed it. A line of
// the index is "unix_nanoseconds offset length".
func (r *Recording) timeByReads(index []byte) error {
	end, line := 0, 0
	for i := range r.Frames {
		end += len(r.Frames[i].Bytes)
		for {
			text, rest, _ := bytes.Cut(index, []byte("\n"))
			var ns int64
			var offset, length int
			if _, err := fmt.Sscan(string(text), &ns, &offset, &length); err != nil {
				return fmt.Errorf("line %d of the index: %w", line+1, err)
			}
			if offset+length >= end {
				r.Frames[i].At = time.Unix(0, ns).UTC()
				break
			}
			index, line = rest, line+1
		}
	}
	return nil
}

func (r *Recording) timeByEvents() error {
	var at time.Time
	for i := range r.Frames {
		if _, v, ok := bytes.Cut(r.Frames[i].Body, []byte("\nEvent-Date-Timestamp: ")); ok {
			v, _, _ = bytes.Cut(v, []byte("\n"))
			us, err := strconv.ParseInt(string(v), 10, 64)
			if err != nil {
				return fmt.Errorf("frame %d: %w", i, err)
			}
			if t := time.UnixMicro(us).UTC(); t.After(at) {
				at = t
			}
		}
		r.Frames[i].At = at
	}
	for i := range r.Frames { // frames before the first event
		if r.Frames[i].At.IsZero() {
			r.Frames[i].At = r.Frames[min(i+1, len(r.Frames)-1)].At
		}
	}
	return nil
}

func flows(name string) ([]Flow, error) {
	files, err := fs.Glob(data, "data/"+name+".relay*.json")
	if err != nil {
		return nil, err
	}
	var out []Flow
	for _, file := range files {
		b, err := data.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for dec := json.NewDecoder(bytes.NewReader(b)); dec.More(); {
			var f Flow
			if err := dec.Decode(&f); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			out = append(out, f)
		}
	}
	return out, nil
}
