package rtcp_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/internal/rtcp"
)

// message makes an RTCP event with the headers given.
func message(name string, headers ...string) event.Event {
	e, err := event.Parse(fmt.Appendf(nil,
		"Event-Name: %s\nCore-UUID: c1\nEvent-Date-Timestamp: 1795429776539833\nEvent-Sequence: 424\nUnique-ID: u1\n%s\n\n",
		name, strings.Join(headers, "\n")))
	if err != nil {
		panic(err)
	}
	return e
}

// blockOf makes the headers of a report block: SSRC, fraction, lost, highest,
// jitter, LSR, DLSR.
func blockOf(prefix string, v ...string) []string {
	names := []string{"SSRC", "Fraction", "Lost", "Highest-Sequence-Number-Received", "Jitter", "LSR", "DLSR"}
	out := make([]string, len(v))
	for i := range v {
		out[i] = prefix + names[i] + ": " + v[i]
	}
	return out
}

func recv(headers ...string) event.Event {
	return message(event.RecvRTCP, append([]string{
		"SSRC: ff05b0f4", "NTP-Most-Significant-Word: 4004418576", "NTP-Least-Significant-Word: 2319282176", "RTP-Rate: 8000",
	}, headers...)...)
}

func TestParseRecv(t *testing.T) {
	t.Parallel()
	b := blockOf("Source0-", "8b0dd0f4", "12", "4294967293", "40265", "160", "2484110611", "66846")
	got, err := rtcp.Parse(recv(append(b, "Source0-Loss-Avg: 4", "Rtt0-Avg: 0.182004")...), 0x8b0dd0f4)
	if err != nil {
		t.Fatal(err)
	}
	want := rtcp.Report{
		Direction: rtcp.Outbound, HasBlock: true, SSRC: 0x8b0dd0f4, Fraction: 12, Lost: -3, Highest: 40265, Jitter: 160,
		LSR: 2484110611, DLSR: 66846, RTT: 182004 * time.Microsecond, Rate: 8000, SenderNTP: 4004418576<<32 | 2319282176,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestParseSend: the stream's SSRC is the event's SSRC; Source-SSRC is the
// peer's RTCP, which there may not be yet.
func TestParseSend(t *testing.T) {
	t.Parallel()
	b := blockOf("Source-", "00000000", "1", "1", "3534", "0", "0", "0")
	got, err := rtcp.Parse(message(event.SendRTCP, append([]string{"SSRC: ff05b0f4"}, b...)...), 0x8b0dd0f4)
	if err != nil {
		t.Fatal(err)
	}
	want := rtcp.Report{Direction: rtcp.Inbound, HasBlock: true, SSRC: 0xff05b0f4, Fraction: 1, Lost: 1, Highest: 3534}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	other := blockOf("Source0-", "0000000a", "0", "7", "100", "1", "0", "0")
	ours := blockOf("Source1-", "0000000b", "0", "9", "200", "2", "0", "0")
	for _, tt := range []struct {
		name    string
		own     uint32
		headers []string
		lost    int32
		has     bool
	}{
		{"ours is the second", 0xb, append(append([]string{}, other...), ours...), 9, true},
		{"ours unknown: the first", 0, append(append([]string{}, other...), ours...), 7, true},
		{"not about us", 0xc, other, 0, false},
		{"second only, ours unknown", 0, ours, 0, false},
		{"none", 0xb, nil, 0, false},
		{"index out of range", 0, blockOf("Source9-", "0000000a", "0", "7", "100"), 0, false},
		{"no index", 0, blockOf("Source-", "0000000a", "0", "7", "100"), 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := rtcp.Parse(recv(tt.headers...), tt.own)
			if err != nil || r.HasBlock != tt.has || r.Lost != tt.lost || r.Artefacts.Has(rtcp.NoBlock) == tt.has {
				t.Errorf("got %+v, %v, want lost %d, block %t", r, err, tt.lost, tt.has)
			}
		})
	}
}

func TestRoundTripTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		lsr, rtt string
		want     time.Duration
		bad      bool
	}{
		{"1", "0.020004", 20004 * time.Microsecond, false},
		{"0", "0.020004", 0, false}, // no SR seen: FreeSWITCH repeats the last average
		{"1", "0.000000", 0, false}, // never valid
		{"1", "9.999999", 9999999 * time.Microsecond, false},
		{"1", "10.000000", 0, true},
		{"1", "-9829.769047", 0, true}, // seen after one wrong DLSR
		{"1", "-4816.000000", 0, true},
		{"1", "0.0200049", 20004 * time.Microsecond, false},
		{"1", "1", time.Second, false},
	} {
		b := blockOf("Source0-", "0000000a", "0", "0", "100", "0", tt.lsr, "0")
		r, err := rtcp.Parse(recv(append(b, "Rtt0-Avg: "+tt.rtt)...), 0)
		if err != nil || r.RTT != tt.want || r.Artefacts.Has(rtcp.RTTImplausible) != tt.bad {
			t.Errorf("LSR %s, Rtt0-Avg %s: got %v, %v, %v, want %v", tt.lsr, tt.rtt, r.RTT, r.Artefacts, err, tt.want)
		}
	}
}

func TestParseMalformed(t *testing.T) {
	t.Parallel()
	good := blockOf("Source0-", "0000000a", "0", "0", "100", "0", "0", "0")
	for _, bad := range []string{
		"Source0-SSRC: xyz", "Source0-SSRC: 123456789", "Source0-Lost: -1", "Source0-Lost: 4294967296", "Source0-Jitter: 1.5",
		"Source0-Highest-Sequence-Number-Received: ", "Rtt0-Avg: nan", "Rtt0-Avg: ", "Rtt0-Avg: 1e3", "Rtt0-Avg: 1.2.3",
		"Rtt0-Avg: " + strings.Repeat("9", 400), "RTP-Rate: many", "SSRC: g", "NTP-Most-Significant-Word: 99999999999",
	} {
		if r, err := rtcp.Parse(recv(append(append([]string{}, good...), bad)...), 0); !errors.Is(err, rtcp.ErrMalformed) {
			t.Errorf("%s: got %+v, %v, want ErrMalformed", bad, r, err)
		}
	}
	for i := range 4 {
		if i == 1 {
			continue // a block without Fraction is whole enough
		}
		part := append(append([]string{}, good[:i]...), good[i+1:]...)
		if _, err := rtcp.Parse(recv(part...), 0); !errors.Is(err, rtcp.ErrMalformed) {
			t.Errorf("without %s: got %v, want ErrMalformed", good[i], err)
		}
	}
	for _, harmless := range []string{"Source: 1", "SourceX-Lost: a", "Source0Lost: a", "Source0-Loss-Avg: many", "Rtt: 1", "Rtt0-Max: x", "RttX-Avg: x"} {
		if _, err := rtcp.Parse(recv(append(append([]string{}, good...), harmless)...), 0); err != nil {
			t.Errorf("%s: %v", harmless, err)
		}
	}
}

func TestMediaAndClock(t *testing.T) {
	t.Parallel()
	for rate, want := range map[uint32]rtcp.Media{8000: rtcp.Audio, 48000: rtcp.Audio, 90000: rtcp.Video, 0: rtcp.Text} {
		if got := (rtcp.Report{Direction: rtcp.Outbound, Rate: rate}).Media(); got != want {
			t.Errorf("rate %d: got %q, want %q", rate, got, want)
		}
	}
	if got := (rtcp.Report{Direction: rtcp.Inbound}).Media(); got != rtcp.Audio {
		t.Errorf("inbound: got %q", got)
	}
	for _, tt := range []struct {
		ticks uint32
		codec string
		rate  uint32
		want  time.Duration
		ok    bool
	}{
		{160, "PCMU", 8000, 20 * time.Millisecond, true},
		{160, "G722", 16000, 20 * time.Millisecond, true}, // clock 8000, not 10 ms
		{960, "opus", 16000, 20 * time.Millisecond, true}, // clock 48000 at any rate
		{960, "OPUS", 0, 20 * time.Millisecond, true},
		{1, "opus", 48000, 20833 * time.Nanosecond, true},
		{160, "", 8000, 20 * time.Millisecond, true},
		{160, "PCMU", 0, 0, false},
		{1<<32 - 1, "PCMU", 8000, 0, false},
		{1<<32 - 1, "PCMU", 1, 0, false},
		{480000, "PCMU", 8000, 0, false},
		{479999, "PCMU", 8000, 59999875 * time.Microsecond, true},
	} {
		got, ok := rtcp.Jitter(tt.ticks, rtcp.Clock(tt.codec, tt.rate))
		if got != tt.want || ok != tt.ok {
			t.Errorf("%d ticks of %q at %d: got %v, %t, want %v", tt.ticks, tt.codec, tt.rate, got, ok, tt.want)
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	var messages []event.Event
	for _, name := range []string{"02-bridged-pcmu", "06a-hold"} {
		messages = append(messages, recorded(t, name)...)
	}
	n := testing.AllocsPerRun(10, func() {
		for _, e := range messages {
			if _, err := rtcp.Parse(e, 0); err != nil {
				t.Fatal(err)
			}
		}
	})
	if n != 0 || len(messages) == 0 {
		t.Errorf("got %v allocations for %d messages, want 0", n, len(messages))
	}
}

// recorded returns the RTCP events of a recording.
func recorded(t testing.TB, name string) []event.Event {
	t.Helper()
	r, err := recording.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	var out []event.Event
	for _, raw := range r.Events() {
		e, err := event.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if n := string(e.ID().Name); n == event.RecvRTCP || n == event.SendRTCP {
			out = append(out, e)
		}
	}
	return out
}
