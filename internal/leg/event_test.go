package leg_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"

	"github.com/fsagent/fsagent/internal/leg"
)

const (
	startUS = 1795429772_000000
	second  = 1_000_000
)

// made is a built event of a channel; at is seconds after the start.
func made(name, channel string, seq, at int, headers ...string) []byte {
	return madeBy("core1", name, channel, seq, at, headers...)
}

func madeBy(core, name, channel string, seq, at int, headers ...string) []byte {
	b := fmt.Appendf(nil, "Event-Name: %s\nCore-UUID: %s\nEvent-Date-Timestamp: %d\nEvent-Sequence: %d\n",
		name, core, startUS+at*second, seq)
	if channel != "" {
		b = fmt.Appendf(b, "Unique-ID: %s\n", channel)
	}
	for _, h := range headers {
		b = append(append(b, h...), '\n')
	}
	return append(b, '\n')
}

// recv is a report of the peer about what FreeSWITCH sends.
func recv(channel string, seq, at, highest, lost int, headers ...string) []byte {
	return made("RECV_RTCP_MESSAGE", channel, seq, at, append([]string{
		"SSRC: 0000000b", "RTP-Rate: 8000", "Source0-SSRC: 0000000a", fmt.Sprintf("Source0-Lost: %d", uint32(lost)),
		fmt.Sprintf("Source0-Highest-Sequence-Number-Received: %d", highest), "Source0-Jitter: 80",
		"Source0-LSR: 1", "Rtt0-Avg: 0.040000",
	}, headers...)...)
}

// send is a report of FreeSWITCH about what it receives.
func send(channel string, seq, at, highest, lost int) []byte {
	return made("SEND_RTCP_MESSAGE", channel, seq, at,
		"SSRC: 0000000b", "Source-SSRC: 0000000b", fmt.Sprintf("Source-Lost: %d", lost),
		fmt.Sprintf("Source-Highest-Sequence-Number-Received: %d", highest), "Source-Jitter: 160")
}

// stepper feeds a table and keeps what comes out.
type stepper struct {
	t       testing.TB
	table   *leg.Table
	seq     uint64
	samples []*fsagentv1.Sample
}

func newStepper(t testing.TB, change ...func(*leg.Params)) *stepper {
	p := leg.DefaultParams()
	for _, f := range change {
		f(&p)
	}
	return &stepper{t: t, table: leg.NewTable(p)}
}

// apply steps one event and checks what became of it.
func (s *stepper) apply(want leg.Outcome, raw []byte) {
	s.t.Helper()
	s.seq++
	got := s.table.Apply(s.seq, "pbx", raw, func(m *fsagentv1.Sample) { s.samples = append(s.samples, m) })
	if got != want {
		line, _, _ := strings.Cut(string(raw), "\n")
		s.t.Errorf("event %d, %s: got %s, want %s", s.seq, line, got, want)
	}
}

func (s *stepper) last() *fsagentv1.Sample {
	s.t.Helper()
	if len(s.samples) == 0 {
		s.t.Fatal("no sample")
	}
	return s.samples[len(s.samples)-1]
}

func (s *stepper) wantLen(live, ended int) {
	s.t.Helper()
	if l, e := s.table.Len(); l != live || e != ended {
		s.t.Errorf("got %d live and %d ended legs, want %d and %d", l, e, live, ended)
	}
}

const minute = int(time.Minute / time.Second)
