package collector

import "sync"

// window is what has been published and not yet acknowledged, in order. The
// publisher adds and sends; the acknowledgements of the stream end entries in any
// order. Entries are numbered from 0 for ever.
type window struct {
	mu       sync.Mutex
	maxCount int
	maxBytes int64

	ring   []flight
	head   uint64 // oldest entry that is not acknowledged
	tail   uint64 // where the next entry goes
	cursor uint64 // next entry to send; below tail while going back
	bytes  int64
	// attempt counts how often the window went back. A refusal of an earlier
	// attempt says nothing about this one.
	attempt uint64
	failed  error // the first refusal of this attempt
	proved  bool  // the stream has taken an entry in this attempt
	again   []again
}

// again is an entry to be sent once more, not before a time, because of an answer
// that left open what becomes of it.
type again struct {
	n    uint64
	atNS int64
}

type flight struct {
	queued
	acked  bool
	sentNS int64
}

func newWindow(maxCount int, maxBytes int64) *window {
	return &window{maxCount: maxCount, maxBytes: maxBytes, ring: make([]flight, maxCount)}
}

func (w *window) at(n uint64) *flight { return &w.ring[n%uint64(len(w.ring))] }

// room reports whether one more entry may be added.
func (w *window) room() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tail-w.head < uint64(w.maxCount) && (w.bytes < w.maxBytes || w.tail == w.head)
}

// add appends an entry; there must be room.
func (w *window) add(q queued) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*w.at(w.tail) = flight{queued: q}
	w.tail++
	w.bytes += int64(len(q.data))
}

// next gives the entry to send now, with its number and the attempt, and notes
// when it was first sent; ok is false when all have been sent, or when the first
// of an attempt has no answer yet.
func (w *window) next(nowNS int64) (q queued, n, attempt uint64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.again) > 0 && w.again[0].atNS <= nowNS {
		n = w.again[0].n
		w.again = w.again[1:]
		if n >= w.head && !w.at(n).acked {
			return w.at(n).queued, n, w.attempt, true
		}
	}
	w.cursor = max(w.cursor, w.head)
	if !w.proved && w.cursor > w.head {
		return queued{}, 0, 0, false
	}
	for ; w.cursor < w.tail; w.cursor++ {
		if f := w.at(w.cursor); !f.acked {
			f.sentNS = nowNS
			n = w.cursor
			w.cursor++
			return f.queued, n, w.attempt, true
		}
	}
	return queued{}, 0, 0, false
}

// prove notes that the stream takes entries in this attempt.
func (w *window) prove(attempt uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.proved = w.proved || attempt == w.attempt
}

// ack ends entry n and returns it; ok is false if it has ended before.
func (w *window) ack(n uint64) (q queued, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n < w.head || n >= w.tail || w.at(n).acked {
		return queued{}, false
	}
	f := w.at(n)
	q = f.queued
	w.bytes -= int64(len(f.data))
	*f = flight{acked: true}
	for w.head < w.tail && w.at(w.head).acked {
		*w.at(w.head) = flight{}
		w.head++
	}
	return q, true
}

// refuse notes that an entry was not stored. It reports whether that is news.
func (w *window) refuse(attempt uint64, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if attempt != w.attempt || w.failed != nil {
		return false
	}
	w.failed = err
	return true
}

// repeat has entry n sent once more, not before atNS.
func (w *window) repeat(attempt, n uint64, atNS int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if attempt == w.attempt {
		w.again = append(w.again, again{n, atNS})
	}
}

// goBack makes the first unacknowledged entry the next to send.
func (w *window) goBack() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cursor = w.head
	w.attempt++
	w.failed, w.proved, w.again = nil, false, nil
}

// state returns when the oldest entry was sent (0 when it was not, or there is
// none), its number, and the refusal of this attempt, if any.
func (w *window) state() (oldestNS int64, head uint64, failed error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head < w.cursor {
		oldestNS = w.at(w.head).sentNS
	}
	return oldestNS, w.head, w.failed
}

// waiting is how many entries there are, and when the oldest was read.
func (w *window) waiting() (count int, readNS int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head < w.tail {
		readNS = w.at(w.head).readNS
	}
	return int(w.tail - w.head), readNS
}
