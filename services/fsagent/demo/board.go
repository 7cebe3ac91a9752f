package demo

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/fsagent/fsagent/internal/sample"
	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// board is what the samples say of each leg and direction.
type board struct {
	mu      sync.Mutex
	rows    map[rowKey]*row
	legs    map[legKey]bool // whether it has ended
	samples uint64
	now     time.Time // latest sample, in event time
}

type legKey struct{ instance, channel string }

type rowKey struct {
	legKey
	direction fsagentv1.Direction
}

// row is one direction of one leg. Its pointers are nil where nothing was
// measured.
type row struct {
	rowKey
	call     string // short uuid of the originating leg
	codec    string
	reports  int
	jitterMS *float64 // latest report, and after the end the mean
	lost     *int64   // so far
	expected *int64
	mos      *float64 // latest report, and after the end the leg's
	why      string   // no MOS
	last     time.Time
	ended    bool
}

func newBoard() *board {
	return &board{rows: map[rowKey]*row{}, legs: map[legKey]bool{}}
}

// message takes one message of the samples stream.
func (b *board) message(payload []byte) error {
	samples, err := sample.Decode(payload)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range samples {
		b.samples++
		b.take(s)
	}
	return nil
}

func (b *board) take(s *fsagentv1.Sample) {
	at := time.UnixMicro(s.GetTimeUs()).UTC()
	if at.After(b.now) {
		b.now = at
	}
	leg := legKey{s.GetFsInstance(), s.GetChannelId()}
	if s.HasReport() {
		b.legs[leg] = b.legs[leg] || false
		r := b.row(leg, s.GetDirection(), s)
		r.report(s.GetReport(), at)
		return
	}
	b.legs[leg] = true
	end := s.GetLegEnd()
	if end.HasInbound() {
		b.row(leg, fsagentv1.Direction_DIRECTION_INBOUND, s).end(end.GetInbound(), at)
	}
	if end.HasOutbound() {
		b.row(leg, fsagentv1.Direction_DIRECTION_OUTBOUND, s).end(end.GetOutbound(), at)
	}
}

func (b *board) row(leg legKey, d fsagentv1.Direction, s *fsagentv1.Sample) *row {
	key := rowKey{leg, d}
	r := b.rows[key]
	if r == nil {
		r = &row{rowKey: key}
		b.rows[key] = r
	}
	r.call = short(cmp.Or(s.GetCallId(), s.GetChannelId()))
	r.codec = cmp.Or(s.GetCodecName(), r.codec)
	return r
}

func (r *row) report(m *fsagentv1.Report, at time.Time) {
	r.reports++
	r.last = at
	if m.HasJitterMs() {
		r.jitterMS = new(m.GetJitterMs())
	}
	if m.HasPacketsExpected() {
		r.lost, r.expected = plus(r.lost, m.GetPacketsLost()), plus(r.expected, m.GetPacketsExpected())
	}
	r.mos, r.why = nil, sample.ReasonName(m.GetMosReason())
	if m.HasMos() {
		r.mos = new(m.GetMos())
	}
}

func (r *row) end(m *fsagentv1.DirectionSummary, at time.Time) {
	r.ended, r.last = true, at
	if m.HasJitterMeanMs() {
		r.jitterMS = new(m.GetJitterMeanMs())
	}
	if m.HasPacketsLost() {
		r.lost = new(m.GetPacketsLost())
	}
	if m.HasPacketsExpected() {
		r.expected = new(m.GetPacketsExpected())
	}
	r.mos, r.why = nil, sample.ReasonName(m.GetMosReason())
	if m.HasMos() {
		r.mos = new(m.GetMos())
	}
}

func plus(sum *int64, n int64) *int64 {
	if sum != nil {
		n += *sum
	}
	return &n
}

// picture is a copy of the board for drawing: rows of one leg together, legs in
// the order of their instance and their latest news (latest first if so asked).
type picture struct {
	rows         []row
	live, ended  int
	samples      uint64
	withMOS, bad int // rows that have a MOS, and of these below 3.6
	now          time.Time
}

func (b *board) picture(latestFirst bool) picture {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := picture{samples: b.samples, now: b.now}
	latest := map[legKey]time.Time{}
	for _, r := range b.rows {
		p.rows = append(p.rows, *r)
		if r.last.After(latest[r.legKey]) {
			latest[r.legKey] = r.last
		}
		if r.mos != nil {
			p.withMOS++
			if *r.mos < fair {
				p.bad++
			}
		}
	}
	for _, ended := range b.legs {
		if ended {
			p.ended++
		} else {
			p.live++
		}
	}
	slices.SortFunc(p.rows, func(x, y row) int {
		byTime := 0
		if latestFirst {
			byTime = latest[y.legKey].Compare(latest[x.legKey])
		}
		return cmp.Or(byTime, cmp.Compare(x.instance, y.instance), cmp.Compare(x.call, y.call), cmp.Compare(x.channel, y.channel), cmp.Compare(x.direction, y.direction))
	})
	return p
}

func short(id string) string {
	if len(id) > 8 {
		return id[:8]
	}
	return id
}
