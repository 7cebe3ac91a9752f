package collector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

var (
	// errRefused is returned when the stream answered, and the answer was no.
	errRefused = errors.New("stream refused an event")
	// errInProcess is returned when the servers of a replicated stream are still
	// agreeing on an event of this id, mostly another collector's. It is not
	// stored yet, and will not be if their leader is lost now.
	errInProcess = errors.New("event is in process")
)

// inProcess is JetStream's error code for it (JSStreamDuplicateMessageConflict).
const inProcess = 10158

// inProcessWait is after how long such an event is published again, to learn what
// became of it. What is published behind it comes behind it in the stream:
// the same leader puts both in order, and without one the next is refused.
const inProcessWait = 5 * time.Millisecond

// acknowledged takes one answer of the stream. It runs on the subscription's own
// goroutine.
func (p *publisher) acknowledged(m *nats.Msg) {
	attempt, n, ok := p.token(m.Subject)
	if !ok {
		return
	}
	duplicate, err := readAck(m)
	if errors.Is(err, errInProcess) {
		p.win.repeat(attempt, n, p.clock.now()+int64(inProcessWait))
		return
	}
	if err != nil {
		if p.win.refuse(attempt, err) {
			p.wake()
		}
		return
	}
	p.win.prove(attempt)
	q, ok := p.win.ack(n)
	if !ok {
		p.wake()
		return
	}
	p.buf.releaseOf(q)
	p.met.publishedEvent(&q, duplicate)
	p.wake()
}

func (p *publisher) wake() {
	select {
	case p.acks <- struct{}{}:
	default:
	}
}

// token reads "<inbox><attempt>.<number>".
func (p *publisher) token(subject string) (attempt, n uint64, ok bool) {
	rest, ok := strings.CutPrefix(subject, p.inbox)
	if !ok {
		return 0, 0, false
	}
	a, b, ok := strings.Cut(rest, ".")
	if !ok {
		return 0, 0, false
	}
	attempt, err1 := strconv.ParseUint(a, 36, 64)
	n, err2 := strconv.ParseUint(b, 36, 64)
	return attempt, n, err1 == nil && err2 == nil
}

// readAck reads JetStream's publish acknowledgement (NATS ADR-22). It returns an
// error wrapping errRefused or errInProcess unless the event is in the stream.
func readAck(m *nats.Msg) (duplicate bool, err error) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return false, fmt.Errorf("%w: no stream listens", errRefused)
	}
	if bytes.HasPrefix(m.Data, []byte(`{"stream":`)) && !bytes.Contains(m.Data, []byte(`"error"`)) {
		return bytes.Contains(m.Data, []byte(`"duplicate":true`)) || bytes.Contains(m.Data, []byte(`"duplicate": true`)), nil
	}
	var ack struct {
		Stream    string `json:"stream"`
		Duplicate bool   `json:"duplicate"`
		Error     *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return false, fmt.Errorf("%w: unreadable acknowledgement: %w", errRefused, err)
	}
	switch {
	case ack.Error != nil && ack.Error.Code == inProcess:
		return false, fmt.Errorf("%w: %s", errInProcess, ack.Error.Description)
	case ack.Error != nil:
		return false, fmt.Errorf("%w: %s (%d)", errRefused, ack.Error.Description, ack.Error.Code)
	case ack.Stream == "":
		return false, fmt.Errorf("%w: acknowledgement without stream", errRefused)
	}
	return ack.Duplicate, nil
}
