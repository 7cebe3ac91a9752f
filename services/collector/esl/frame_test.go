package esl_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/services/collector/esl"
)

func TestFrameReader(t *testing.T) {
	t.Parallel()
	const ok = "Content-Type: command/reply\nReply-Text: +OK\n\n"
	for _, tc := range []struct {
		name, in string
		maxBody  int
		frames   int // before the error
		want     error
	}{
		{"empty", "", 0, 0, io.EOF},
		{"reply", ok, 0, 1, io.EOF},
		{"length first", "Content-Length: 2\nContent-Type: text/event-plain\n\nab" + ok, 0, 2, io.EOF},
		{"length last", "Content-Type: text/event-plain\nContent-Length: 2\n\nab" + ok, 0, 2, io.EOF},
		{"unknown type", "Content-Type: text/new\nContent-Length: 3\nOther: x\n\nabc" + ok, 0, 2, io.EOF},
		{"no end of header", ok + "Content-Type: te", 0, 1, esl.ErrTruncated},
		{"no end of body", ok + "Content-Type: text/event-plain\nContent-Length: 9\n\nab", 0, 1, esl.ErrTruncated},
		{"negative length", "Content-Type: text/event-plain\nContent-Length: -1\n\n", 0, 0, esl.ErrContentLength},
		{"empty length", "Content-Type: text/event-plain\nContent-Length: \n\n", 0, 0, esl.ErrContentLength},
		{"length in hex", "Content-Type: text/event-plain\nContent-Length: 0x10\n\n", 0, 0, esl.ErrContentLength},
		{"overflowing length", "Content-Type: text/event-plain\nContent-Length: 18446744073709551617\n\n", 0, 0, esl.ErrContentLength},
		{"two lengths", "Content-Length: 1\nContent-Type: text/event-plain\nContent-Length: 2\n\nab", 0, 0, esl.ErrContentLength},
		{"a GiB", "Content-Type: text/event-plain\nContent-Length: 1073741824\n\n", 0, 0, esl.ErrBodyTooLarge},
		{"over the limit", "Content-Type: text/event-plain\nContent-Length: 11\n\n", 10, 0, esl.ErrBodyTooLarge},
		{"endless header", strings.Repeat("Name: value\n", esl.MaxHeader/12+10), 0, 0, esl.ErrHeaderTooLong},
		{"endless line", "Name: " + strings.Repeat("x", esl.MaxHeader+10), 0, 0, esl.ErrHeaderTooLong},
		{"SSH", "SSH-2.0-OpenSSH_9.6\r\n", 0, 0, esl.ErrNotESL},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n", 0, 0, esl.ErrNotESL},
		{"binary", "\x16\x03\x01\x02\x00\x01\n\x00\x01", 0, 0, esl.ErrNotESL},
		{"no type", "Content-Length: 2\n\nab", 0, 0, esl.ErrNotESL},
		{"line without colon", ok + "Content-Type: x\nnonsense\n\n", 0, 1, esl.ErrNotESL},
		{"empty line", ok + "\n" + ok, 0, 1, esl.ErrNotESL},
	} {
		for how, src := range map[string]io.Reader{
			"whole":     strings.NewReader(tc.in),
			"bytewise":  iotest.OneByteReader(strings.NewReader(tc.in)),
			"with EOF":  iotest.DataErrReader(strings.NewReader(tc.in)),
			"in halves": iotest.HalfReader(strings.NewReader(tc.in)),
		} {
			r := esl.NewFrameReader(src, tc.maxBody)
			n := 0
			_, err := r.Next()
			for ; err == nil; _, err = r.Next() {
				n++
			}
			if !errors.Is(err, tc.want) || n != tc.frames {
				t.Errorf("%s, %s: got %d frames and %v, want %d and %v", tc.name, how, n, err, tc.frames, tc.want)
			}
			if _, again := r.Next(); again != err {
				t.Errorf("%s, %s: error changed from %v to %v", tc.name, how, err, again)
			}
		}
	}
}

func TestFrameReaderReadsEveryRecording(t *testing.T) {
	t.Parallel()
	for _, name := range recording.Names() {
		rec, err := recording.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		r := esl.NewFrameReader(iotest.HalfReader(bytes.NewReader(streamOf(rec))), 0)
		for i, want := range rec.Frames {
			f, err := r.Next()
			if err != nil || !bytes.Equal(f.Body, want.Body) || (f.Type == esl.EventPlain) != want.IsEvent() {
				t.Fatalf("%s, frame %d: got type %v, %v and\n%s\nwant\n%s", name, i, f.Type, err, f.Body, want.Body)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: at the end got %v, want io.EOF", name, err)
		}
	}
}

func TestLargeFramesAndWhatTheyLeave(t *testing.T) {
	t.Parallel()
	const small = "Content-Length: 2\nContent-Type: text/event-plain\n\nab"
	body := strings.Repeat("x", 3<<20)
	in := small + "Content-Length: 3145728\nContent-Type: text/event-plain\n\n" + body + strings.Repeat(small, 10000)
	r := esl.NewFrameReader(strings.NewReader(in), 0)
	for i := range 10002 {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if want := "ab"; i != 1 && string(f.Body) != want {
			t.Fatalf("frame %d: got %q, want %q", i, f.Body, want)
		} else if i == 1 && string(f.Body) != body {
			t.Fatal("large body differs")
		}
	}
}

// A length that is only claimed costs no memory.
func TestClaimedLengthIsNotAllocated(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := esl.NewFrameReader(strings.NewReader("Content-Type: text/event-plain\nContent-Length: 1000000000\n\nx"), 1<<30)
	if _, err := r.Next(); !errors.Is(err, esl.ErrTruncated) {
		t.Fatalf("got %v, want ErrTruncated", err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("%d bytes were allocated", used)
	}
}

func FuzzFrameReader(f *testing.F) {
	for _, name := range recording.Names() {
		rec, err := recording.Load(name)
		if err != nil {
			f.Fatal(err)
		}
		for i, frame := range rec.Frames[:min(16, len(rec.Frames))] {
			f.Add(frame.Bytes)
			if i > 0 {
				f.Add(append(bytes.Clone(rec.Frames[i-1].Bytes), frame.Bytes...))
			}
		}
	}
	f.Add([]byte("Content-Type: auth/request\n\nContent-Type: command/reply\nReply-Text: -ERR invalid\n\n"))
	f.Add([]byte("Content-Length: 99999999999\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		const maxBody = 1 << 16
		whole := esl.NewFrameReader(bytes.NewReader(in), maxBody)
		pieces := esl.NewFrameReader(iotest.OneByteReader(bytes.NewReader(in)), maxBody)
		for read := 0; ; {
			a, errA := whole.Next()
			b, errB := pieces.Next()
			if (errA == nil) != (errB == nil) || a.Type != b.Type || !bytes.Equal(a.Body, b.Body) || !bytes.Equal(a.Reply, b.Reply) {
				t.Fatalf("reading in pieces differs: %+v %v, %+v %v", a, errA, b, errB)
			}
			if errA != nil {
				return
			}
			if read += len(a.Body); read > len(in) {
				t.Fatal("more body than input")
			}
		}
	})
}

func streamOf(r *recording.Recording) []byte {
	var b []byte
	for _, f := range r.Frames {
		b = append(b, f.Bytes...)
	}
	return b
}

// Whatever a server sends, and however slowly, the reader holds no more than the
// longest header and the longest body.
func TestMemoryIsBounded(t *testing.T) {
	noise := make([]byte, 1<<20)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	const head = "Content-Type: text/event-plain\nContent-Length: "
	const small = head + "2\n\nab"
	large := head + "16777216\n\n" + strings.Repeat("x", 16<<20)
	for _, tc := range []struct {
		name  string
		src   io.Reader
		most  uint64 // bytes allocated in all
		calls int
		want  error
	}{
		{"endless header", &endless{data: []byte("Name: value\n")}, 1 << 20, 1, esl.ErrHeaderTooLong},
		{"endless line", &endless{data: []byte("x")}, 1 << 20, 1, esl.ErrHeaderTooLong},
		{"endless frames", &endless{data: []byte(small)}, 1 << 20, 100_000, nil},
		{"frames of 16 MiB", &endless{data: []byte(large)}, 80 << 20, 3, nil},
		{"length too large for the body", strings.NewReader(head + "16000000\n\nab"), 1 << 20, 1, esl.ErrTruncated},
		{"length too small for the body", strings.NewReader(head + "1\n\nabcdef\n\n" + small), 1 << 20, 2, esl.ErrNotESL},
		{"noise", bytes.NewReader(noise), 1 << 20, 1, esl.ErrNotESL},
		{"drip", iotest.OneByteReader(&endless{data: []byte(small)}), 1 << 20, 1000, nil},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := esl.NewFrameReader(tc.src, 0)
		var err error
		for range tc.calls {
			if _, err = r.Next(); err != nil {
				break
			}
		}
		runtime.ReadMemStats(&after)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > tc.most {
			t.Errorf("%s: %d bytes were allocated, want at most %d", tc.name, used, tc.most)
		}
	}
}
