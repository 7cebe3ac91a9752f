package esltest

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fsagent/fsagent/internal/recording"
)

// ErrClosed is returned when the server is closed while something waits for it.
var ErrClosed = errors.New("simulated FreeSWITCH is closed")

// AsFast as Playback.Speed is as fast as the clients read.
const AsFast = 0

// Playback says what to play and how.
type Playback struct {
	Recordings []*recording.Recording
	// Together plays the recordings at once, each from its own beginning; else
	// they come one after another.
	Together bool
	// Speed is the factor to the pace of the recording: 1 is its own, AsFast is
	// without any waiting.
	Speed float64
	// Rate plays so many events a second, evenly, instead of at the recorded pace.
	Rate float64
	// Clients is how many subscribed clients to wait for before it begins.
	Clients int

	// Copies plays everything this many times at once, each copy with uuids and
	// numbers of its own, Stagger behind the one before it. 0 is 1.
	Copies  int
	Stagger time.Duration
	// Rounds plays everything this many times one after another, with uuids,
	// numbers and times that go on; 0 is 1, and a negative number is until ctx ends.
	Rounds int
	// OneLife gives all events the server's Core-UUID and numbers from one range,
	// as if one FreeSWITCH had lived through all of it. More than one copy or
	// round implies it.
	OneLife bool
	// Start is what the time of the first event becomes; zero keeps the recorded
	// times (of further copies and rounds: moves them on from there).
	Start time.Time
	// NotAhead plays no event before the machine's clock shows its time: what began
	// in the past is played at Speed until it has caught up, and then at its own
	// pace. It needs Start, and no Rate.
	NotAhead bool
	// Disconnect plays the notice with which a recording ends, and closes.
	Disconnect bool
}

// pauseBetween separates recordings, and rounds, that are played in a row.
const pauseBetween = time.Second

// entry is one event of the tape.
type entry struct {
	template
	offset time.Duration // since the beginning of the tape
	base   uint64        // added to the sequence in one life
	shift  time.Duration // from the recorded time to the tape's
	notice bool
}

type tape struct {
	entries []entry
	length  time.Duration
	stride  uint64 // numbers that one pass uses up in one life
	first   time.Time
}

// Play plays and returns when everything has been written to the clients; a
// client that does not read makes it wait. It returns the number of events
// played, and ErrClosed or the cause of ctx if it was ended.
func (s *Server) Play(ctx context.Context, p Playback) (int, error) {
	if p.Clients > 0 {
		if err := s.WaitForClient(ctx, p.Clients); err != nil {
			return 0, err
		}
	}
	t, err := newTape(p)
	if err != nil {
		return 0, err
	}
	defer s.flush()
	speed := p.Speed
	if p.Rate > 0 {
		speed = 1
	}
	run := player{
		p: p, tape: t, core: s.coreUUID, deliver: s.deliver, notice: s.Disconnect,
		pace: newPace(speed), sleep: func(ctx context.Context, e *pace, offset time.Duration) error { return e.wait(ctx, s, offset) },
	}
	if p.NotAhead {
		run.pace.earliest = p.Start
	}
	return run.all(ctx)
}

// Events gives take the events that a server with that Core-UUID would play, in
// order and without waiting: what a client that subscribed to everything would
// read. take must not keep what it is given.
func (p Playback) Events(ctx context.Context, coreUUID string, take func(raw []byte)) error {
	t, err := newTape(p)
	if err != nil {
		return err
	}
	p.Rate = 0
	run := player{
		p: p, tape: t, core: func() string { return coreUUID }, deliver: take, notice: func() {},
		sleep: func(ctx context.Context, _ *pace, _ time.Duration) error { return context.Cause(ctx) },
	}
	_, err = run.all(ctx)
	return err
}

func newTape(p Playback) (*tape, error) {
	t := &tape{}
	var at time.Duration
	for _, r := range p.Recordings {
		if len(r.Frames) == 0 {
			continue
		}
		begin := r.Frames[0].At
		if t.first.IsZero() {
			t.first = begin
		}
		var highest uint64
		for i, f := range r.Frames {
			e := entry{offset: at + f.At.Sub(begin), base: t.stride, shift: t.first.Add(at).Sub(begin)}
			switch {
			case f.IsEvent():
				var err error
				if e.template, err = newTemplate(f.Body); err != nil {
					return nil, fmt.Errorf("play %s, frame %d: %w", r.Name, i, err)
				}
				highest = max(highest, e.sequence)
			case p.Disconnect && bytes.HasPrefix(f.Bytes, []byte("Content-Type: text/disconnect-notice")):
				e.notice = true
			default:
				continue
			}
			t.entries = append(t.entries, e)
			t.length = max(t.length, e.offset)
		}
		t.stride += highest + 1
		if !p.Together {
			at = t.length + pauseBetween
		}
	}
	slices.SortStableFunc(t.entries, func(a, b entry) int { return cmp.Compare(a.offset, b.offset) })
	return t, nil
}

// player goes through a tape: deliver gets the events, sleep waits for the next
// one's time.
type player struct {
	p       Playback
	tape    *tape
	core    func() string
	deliver func(raw []byte)
	notice  func()
	pace    *pace
	sleep   func(ctx context.Context, p *pace, offset time.Duration) error
	played  int
	buf     []byte
}

// all plays all rounds and returns how many events were played.
func (r *player) all(ctx context.Context) (int, error) {
	for round := 0; r.p.Rounds < 0 || round < max(r.p.Rounds, 1); round++ {
		if err := r.round(ctx, round); err != nil {
			return r.played, err
		}
	}
	return r.played, nil
}

// oneLife tells whether all events get one Core-UUID and numbers of one range.
func (p Playback) oneLife() bool {
	return p.OneLife || p.Copies > 1 || p.Rounds > 1 || p.Rounds < 0
}

func (r *player) round(ctx context.Context, round int) error {
	copies := max(r.p.Copies, 1)
	offset := time.Duration(round) * (r.tape.length + time.Duration(copies-1)*r.p.Stagger + pauseBetween)
	heads := make(heads, 0, copies)
	for c := range copies {
		heads = append(heads, head{tape: r.tape, copy: c, delay: offset + time.Duration(c)*r.p.Stagger})
	}
	heap.Init(&heads)
	for len(heads) > 0 && heads[0].pos < len(r.tape.entries) {
		h := &heads[0]
		e := &r.tape.entries[h.pos]
		if err := r.wait(ctx, e.offset+h.delay); err != nil {
			return err
		}
		r.emit(e, uint64(round*copies+h.copy), h.delay)
		h.pos++
		if h.pos < len(r.tape.entries) {
			heap.Fix(&heads, 0)
		} else {
			heap.Pop(&heads)
		}
	}
	return nil
}

// wait returns when the next event is due. At a rate, events come in the lots that
// a millisecond makes.
func (r *player) wait(ctx context.Context, offset time.Duration) error {
	if r.p.Rate <= 0 {
		return r.sleep(ctx, r.pace, offset)
	}
	due := time.Duration(float64(r.played) / r.p.Rate * float64(time.Second))
	if r.played > 0 && time.Until(r.pace.began.Add(due)) < time.Millisecond && ctx.Err() == nil {
		return nil
	}
	return r.sleep(ctx, r.pace, due)
}

func (r *player) emit(e *entry, copy uint64, delay time.Duration) {
	if e.notice {
		r.notice()
		return
	}
	r.played++
	shift := delay
	if !r.p.Start.IsZero() {
		shift += e.shift + r.p.Start.Sub(r.tape.first)
	}
	if r.p.oneLife() {
		r.buf = e.render(r.buf[:0], uint32(copy), r.core(), e.base+e.sequence+copy*r.tape.stride, shift.Microseconds())
	} else if shift != 0 {
		r.buf = e.render(r.buf[:0], 0, e.core, e.sequence, shift.Microseconds())
	} else {
		r.deliver(e.raw)
		return
	}
	r.deliver(r.buf)
}
