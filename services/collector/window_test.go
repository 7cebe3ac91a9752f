package collector

import (
	"errors"
	"testing"
)

func (w *window) sendAll() (sent []uint64) {
	for {
		_, n, _, ok := w.next(1)
		if !ok {
			return sent
		}
		sent = append(sent, n)
	}
}

func equal(a, b []uint64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestWindowGoesBack(t *testing.T) {
	t.Parallel()
	w := newWindow(4, 1<<20)
	for n := range uint64(4) {
		if !w.room() {
			t.Fatalf("no room for entry %d", n)
		}
		w.add(item("X", n, 10))
	}
	if w.room() {
		t.Error("room for a fifth of four")
	}
	if got := w.sendAll(); !equal(got, []uint64{0}) {
		t.Fatalf("sent %v before the stream has taken one", got)
	}
	w.prove(0)
	if got := w.sendAll(); !equal(got, []uint64{1, 2, 3}) {
		t.Fatalf("sent %v", got)
	}
	w.ack(2)
	if w.room() {
		t.Error("room was made by an entry behind the oldest")
	}
	why := errors.New("no")
	if !w.refuse(0, why) || w.refuse(0, why) {
		t.Error("a refusal is news once")
	}
	w.goBack()
	if w.refuse(0, why) {
		t.Error("a refusal of the attempt before was taken")
	}
	if got := w.sendAll(); !equal(got, []uint64{0}) {
		t.Fatalf("sent again %v before the stream has taken one", got)
	}
	w.prove(0) // an answer to the attempt before proves nothing
	if got := w.sendAll(); len(got) > 0 {
		t.Fatalf("sent %v", got)
	}
	w.prove(1)
	if got := w.sendAll(); !equal(got, []uint64{1, 3}) {
		t.Fatalf("sent again %v, want the unacknowledged in order", got)
	}
	w.ack(0)
	w.ack(1)
	if _, ok := w.ack(1); ok {
		t.Error("entry 1 ended twice")
	}
	if count, _ := w.waiting(); count != 1 {
		t.Errorf("%d wait, want 1", count)
	}
	w.add(item("X", 4, 10))
	if got := w.sendAll(); !equal(got, []uint64{4}) {
		t.Errorf("sent %v, want 4", got)
	}
	w.ack(4)
	w.ack(3)
	if oldest, head, failed := w.state(); failed != nil || oldest != 0 || head != 5 || w.bytes != 0 {
		t.Errorf("at the end: %v, %d, %d, %d bytes", failed, oldest, head, w.bytes)
	}
}

func TestWindowIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	w := newWindow(100, 1000)
	w.add(item("X", 1, 5000)) // one is always let in
	if w.room() {
		t.Error("room beyond the bytes")
	}
	w.sendAll()
	w.ack(0)
	if !w.room() {
		t.Error("no room in an empty window")
	}
}

func TestWindowRepeats(t *testing.T) {
	t.Parallel()
	w := newWindow(4, 1<<20)
	for n := range uint64(3) {
		w.add(item("X", n, 10))
	}
	w.sendAll()
	w.repeat(0, 0, 5) // the first of an attempt, too, though it proves nothing
	if got := w.sendAll(); len(got) > 0 {
		t.Fatalf("sent %v before its time", got)
	}
	if _, n, attempt, ok := w.next(5); !ok || n != 0 || attempt != 0 {
		t.Fatalf("sent %d in attempt %d, %v; want entry 0", n, attempt, ok)
	}
	if oldest, _, _ := w.state(); oldest != 1 {
		t.Errorf("entry 0 counts as sent at %d, want when it was sent first", oldest)
	}
	w.prove(0)
	w.sendAll()
	w.repeat(0, 1, 1)
	w.repeat(0, 2, 1)
	w.ack(1)
	if got := w.sendAll(); !equal(got, []uint64{2}) {
		t.Errorf("sent again %v, want 2: 1 has ended", got)
	}
	w.repeat(0, 2, 1)
	w.goBack()
	w.repeat(0, 2, 1)
	if got := w.sendAll(); !equal(got, []uint64{0}) {
		t.Errorf("sent %v, want 0: what was asked in the attempt before counts no more", got)
	}
}
