package check

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/services/collector/esl"
)

const (
	setFire = `set fire_rtcp_events=true before media: in vars.xml for all calls, or in the dialplan with export before answer or bridge`
	setRTCP = `set <param name="rtcp-audio-interval-msec" value="5000"/> in the profile, then sofia profile <name> rescan; new calls have it`

	rtcpInterval      = "rtcp-audio-interval-msec"
	heartbeatDefault  = 20 // seconds (switch_core.c, runtime.event_heartbeat_interval)
	heartbeatInterval = "event-heartbeat-interval"
)

// fireRTCP looks for the variable without which FreeSWITCH does not tell what it
// measures itself (switch_core_media.c, switch_core_media_activate_rtp).
func (s *server) fireRTCP() {
	const subject = "fire_rtcp_events"
	v, err := s.ask("global_getvar", "fire_rtcp_events")
	switch {
	case err != nil:
		s.n.add(subject, Unknown, allow("global_getvar", err), "cannot be read: %v", err)
	case v == "true":
		s.n.add(subject, OK, "", "is set for all calls: what FreeSWITCH receives is measured")
	default:
		s.n.add(subject, Missing, setFire, "is not set globally; unless the dialplan sets it, there are no numbers of inbound media")
	}
}

// params are the settings of a configuration file.
type params []struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

func (p params) get(name string) (value string, ok bool) {
	for _, one := range p {
		if one.Name == name {
			value, ok = one.Value, true // the last one counts
		}
	}
	return value, ok
}

// locate reads a configuration file of FreeSWITCH, as it is now on its disk.
func (s *server) locate(file string, into any) error {
	out, err := s.ask("xml_locate", "configuration configuration name "+file)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(out, "<") {
		return fmt.Errorf("xml_locate says %.60q", out)
	}
	return xml.Unmarshal([]byte(out), into)
}

// profiles looks at the RTCP interval of each SIP profile that runs. Sofia does
// not show it; the configuration file has it.
func (s *server) profiles() {
	const subject = "RTCP interval"
	running, err := s.running()
	if err != nil {
		s.n.add(subject, Unknown, allow("sofia", err), "SIP profiles cannot be read: %v", err)
		return
	}
	var file struct {
		Profiles []struct {
			Name   string `xml:"name,attr"`
			Params params `xml:"settings>param"`
		} `xml:"profiles>profile"`
	}
	if err := s.locate("sofia.conf", &file); err != nil {
		s.n.add(subject, Unknown, joined(allow("xml_locate", err), "or look for "+rtcpInterval+" in the profiles"),
			"of the profiles %s cannot be read: %v", strings.Join(running, ", "), err)
		return
	}
	for _, p := range file.Profiles {
		for _, name := range running {
			if p.Name == name {
				v, ok := p.Params.get(rtcpInterval)
				s.interval(subject, name, v, ok)
			}
		}
	}
	if len(running) == 0 {
		s.n.add(subject, Unknown, "", "no SIP profile runs")
	}
}

// interval judges one value (switch_core_media.c, switch_core_media_activate_rtp).
func (s *server) interval(subject, profile, value string, set bool) {
	ms, err := strconv.Atoi(value)
	switch {
	case !set:
		s.n.add(subject, Missing, setRTCP, "profile %s sets none: RTCP only where the other side asks for it (a=rtcp, rtcp-mux, WebRTC)", profile)
	case value == "passthru":
		s.n.add(subject, Missing, setRTCP, "profile %s passes RTCP on and makes none: no numbers of inbound media, no round-trip time", profile)
	case err != nil || ms < 100 || ms > 500_000:
		s.n.add(subject, Missing, setRTCP, "profile %s has %q, which FreeSWITCH replaces by 5000 ms", profile, value)
	default:
		s.n.add(subject, OK, "", "profile %s: %d ms", profile, ms)
	}
}

// running are the SIP profiles in "sofia status" (mod_sofia.c, cmd_status).
func (s *server) running() ([]string, error) {
	out, err := s.ask("sofia", "status")
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) >= 4 && f[1] == "profile" && strings.HasPrefix(f[3], "RUNNING") && (len(names) == 0 || names[len(names)-1] != f[0]) {
			names = append(names, f[0])
		}
	}
	return names, nil
}

// arrivals watches what events come.
func (s *server) arrivals(ctx context.Context, conn *esl.Conn) {
	var received, sent int
	var beats []time.Time
	if s.wait > 0 {
		timer := time.AfterFunc(s.wait, func() { conn.Close() })
		defer timer.Stop()
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
	}
	for s.wait > 0 && (received == 0 || sent == 0 || len(beats) < 2) {
		f, err := conn.Next()
		if err != nil {
			break
		}
		id, err := event.Scan(f.Body)
		switch {
		case err != nil:
		case string(id.Name) == event.RecvRTCP:
			received++
		case string(id.Name) == event.SendRTCP:
			sent++
		case string(id.Name) == event.Heartbeat:
			beats = append(beats, time.UnixMicro(id.TimeUS))
		}
	}
	s.rtcpEvents(received, sent)
	s.heartbeat(beats)
}

func (s *server) rtcpEvents(received, sent int) {
	const subject = "RTCP events"
	came := fmt.Sprintf("in %v came %d RECV_RTCP_MESSAGE and %d SEND_RTCP_MESSAGE", s.wait, received, sent)
	switch {
	case !s.cfg.Collector.Events.RTCP:
		s.n.add(subject, Missing, "set events.rtcp: true", "are switched off in fsagent's configuration")
	case received > 0 && sent > 0:
		s.n.add(subject, OK, "", "arrive for both directions")
	case received > 0:
		s.n.add(subject, Missing, setFire, "%s: numbers of outbound media only", came)
	case sent > 0:
		s.n.add(subject, Missing, "see that the phones send RTCP and that no firewall drops it (the port above RTP's)", "%s: numbers of inbound media only", came)
	case s.wait == 0 || s.counted && s.calls == 0:
		s.n.add(subject, Unknown, "run it again during a call, with --wait longer than the RTCP interval", "no calls were up to see them")
	default:
		s.n.add(subject, Missing, setRTCP, "%s, with %d channels up", came, s.calls)
	}
}

// heartbeat takes the interval from the configuration file, else from the clock.
func (s *server) heartbeat(beats []time.Time) {
	const subject = "heartbeat"
	var file struct {
		Params params `xml:"settings>param"`
	}
	interval := time.Duration(0)
	switch err := s.locate("switch.conf", &file); {
	case err == nil:
		interval = heartbeatDefault * time.Second
		if v, ok := file.Params.get(heartbeatInterval); ok {
			if n, err := strconv.Atoi(v); err == nil && n > 0 {
				interval = time.Duration(n) * time.Second
			}
		}
	case len(beats) >= 2:
		interval = beats[1].Sub(beats[0])
	default:
		s.n.add(subject, Unknown, joined(allow("xml_locate", err), "or wait for two of them, with --wait 45s"), "its interval cannot be read: %v", firstOf(err))
		return
	}
	if interval >= s.cfg.Collector.ESL.IdleTimeout {
		s.n.add(subject, Missing, "set esl.idle_timeout above it, or event-heartbeat-interval in switch.conf to 20", "every %v; fsagent asks after %v of silence", interval, s.cfg.Collector.ESL.IdleTimeout)
		return
	}
	s.n.add(subject, OK, "", "every %v", interval)
}

// firstOf is the cause in one line.
func firstOf(err error) error {
	if errors.Is(err, esl.ErrPermission) {
		return esl.ErrPermission
	}
	return err
}

func joined(a, b string) string {
	if a == "" {
		return strings.TrimPrefix(b, "or ")
	}
	return a + ", " + b
}
