package esl

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// AllVariables as FilterConfig.Variables lets all variables pass but secrets.
const AllVariables = "*"

// ErrVariable is returned for a variable that may not be published, or whose
// name cannot be one.
var ErrVariable = errors.New("variable cannot be published")

// FilterConfig says what may leave the switch besides what the calculator reads.
type FilterConfig struct {
	// Variables are further channel variables, separated by commas or spaces,
	// without "variable_"; AllVariables is all but those that hold secrets.
	Variables string
	// WithoutStatistics leaves out rtp_audio_*, FreeSWITCH's own account at the
	// end of a leg.
	WithoutStatistics bool
}

// Filter decides which lines of an event leave the switch. Channel events hold
// SDP, SRTP master keys, SIP headers and dialled digits as ordinary variables,
// so variables pass only if they are on a list.
type Filter struct {
	variables  map[string]struct{} // names with "variable_"
	all        bool
	statistics bool
}

// NewFilter fails with an error wrapping ErrVariable for each variable that may
// not be published.
func NewFilter(cfg FilterConfig) (*Filter, error) {
	f := &Filter{variables: make(map[string]struct{}), statistics: !cfg.WithoutStatistics}
	for _, v := range calculatorVariables {
		f.variables[variablePrefix+v] = struct{}{}
	}
	var errs []error
	for _, v := range strings.FieldsFunc(cfg.Variables, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' }) {
		switch {
		case v == AllVariables:
			f.all = true
		case strings.ContainsAny(v, "*%"):
			errs = append(errs, fmt.Errorf("%w: %q is not the name of a variable", ErrVariable, v))
		case never.MatchString(v):
			errs = append(errs, fmt.Errorf("%w: %q holds a secret", ErrVariable, v))
		default:
			f.variables[variablePrefix+v] = struct{}{}
		}
	}
	return f, errors.Join(errs...)
}

// Append adds the lines of a plain event that may be published to dst, each as
// it was, then an empty line, and returns dst. A body of the event is left out.
// It allocates nothing if dst has room for raw.
func (f *Filter) Append(dst, raw []byte) []byte {
	if i := bytes.Index(raw, []byte("\n\n")); i >= 0 {
		raw = raw[:i+1]
	}
	if passesWhole(raw) {
		dst = append(dst, raw...)
		if raw[len(raw)-1] != '\n' {
			dst = append(dst, '\n')
		}
		return append(dst, '\n')
	}
	// Neighbouring lines mostly share a fate: they are copied as one run.
	run := 0
	for at := 0; at < len(raw); {
		next := len(raw)
		if i := bytes.IndexByte(raw[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		line := raw[at:next]
		if line[len(line)-1] == '\n' {
			line = line[:len(line)-1]
		}
		if !f.passes(line) {
			dst = append(dst, raw[run:at]...)
			run = next
		}
		at = next
	}
	dst = append(dst, raw[run:]...)
	if n := len(dst); n > 0 && dst[n-1] != '\n' {
		dst = append(dst, '\n')
	}
	return append(dst, '\n')
}

// passesWhole is the short way for reports and heartbeats, which have no
// variables (switch_core_media.c, switch_core_media_read_frame; switch_rtp.c,
// switch_send_rtcp_event; switch_core.c, send_heartbeat). One that has some
// nevertheless goes the long way.
func passesWhole(raw []byte) bool {
	name, ok := bytes.CutPrefix(raw, []byte("Event-Name: "))
	return ok && (bytes.HasPrefix(name, []byte("RECV_RTCP_MESSAGE\n")) ||
		bytes.HasPrefix(name, []byte("SEND_RTCP_MESSAGE\n")) ||
		bytes.HasPrefix(name, []byte("HEARTBEAT\n"))) &&
		!bytes.Contains(raw, []byte(variablePrefix))
}

const (
	variablePrefix   = "variable_"
	statisticsPrefix = "variable_rtp_audio_"
)

// passes decides on one line, without its end. Only the name of a variable can
// hold a colon.
func (f *Filter) passes(line []byte) bool {
	if !bytes.HasPrefix(line, []byte(variablePrefix)) {
		name, _, ok := bytes.Cut(line, []byte(": "))
		return ok && headerPasses(name)
	}
	i := lastColon(line)
	if i <= 0 {
		return false
	}
	name := line[:i]
	// An encoded value has no space; a name with one is not what it seems.
	if bytes.IndexByte(name, ' ') >= 0 {
		return false
	}
	if bytes.HasPrefix(name, []byte(statisticsPrefix)) {
		return f.statistics
	}
	if _, ok := f.variables[string(name)]; ok {
		return true
	}
	v := name[len(variablePrefix):]
	return f.all && !never.Match(v) && !unlessNamed.Match(v)
}

// lastColon finds the last ": " of a line; -1 if there is none. Nearly always it is
// the first one too: an encoded value has no space, and searching forwards is
// several times as fast.
func lastColon(line []byte) int {
	i := bytes.IndexByte(line, ':')
	if i >= 0 && i+1 < len(line) && line[i+1] == ' ' && bytes.IndexByte(line[i+2:], ' ') < 0 {
		return i
	}
	return bytes.LastIndex(line, []byte(": "))
}

// headerPasses knows the headers of channel events and, for reports and
// heartbeats that went the long way, theirs.
func headerPasses(name []byte) bool {
	before, _, ok := bytes.Cut(name, []byte{'-'})
	if !ok {
		return string(name) == "SSRC"
	}
	switch string(before) {
	case "Event", "Channel", "channel", "Caller", "Other", "Bridge", "Source", "NTP", "Session":
		return bytes.IndexByte(name, ' ') < 0
	case "Source0", "Source1", "Source2", "Source3", "Source4", "Rtt0", "Rtt1", "Rtt2", "Rtt3", "Rtt4":
		return true
	}
	switch string(name) {
	case "Core-UUID", "Unique-ID", "Old-Unique-ID", "Call-Direction", "Hangup-Cause", "Answer-State",
		"RTP-Timestamp", "RTP-Rate", "Sender-Packet-Count", "Octect-Packet-Count", "Last-RTP-Timestamp", "Capture-Time",
		"Up-Time", "Uptime-msec", "FreeSWITCH-Version", "Max-Sessions", "Idle-CPU":
		return true
	}
	return false
}

// never matches the names of variables that hold keys, passwords, SDP or dialled
// digits. They stay on the switch even when they are asked for by name.
var never = regexp.MustCompile(`(?i)crypto|srtp|zrtp|sdp|passw|passphrase|pwd|secret|credential|digit|dtmf|` +
	`(^|_)(pin|cvv|key)($|_)|sip_auth_(pass|resp|nonce|cnonce)|a1[-_]hash|ice_ufrag|token|cookie`)

// unlessNamed matches the names of those that may hold something like it:
// SIP headers, bodies, and arguments of applications, which is how a dialplan
// sets passwords. They pass only when they are asked for by name.
var unlessNamed = regexp.MustCompile(`(?i)sip_auth|authori[sz]|authenticat|(^|[_:])sip_[a-z]*_?h_|application_data|last_arg|` +
	`card|fingerprint|_body|multipart|payload_str|dial_string`)

// calculatorVariables is what the calculator reads.
var calculatorVariables = []string{
	"uuid", "call_uuid", "sip_call_id", "domain_name", "sip_from_host", "sip_to_host",
	"originator", "originating_leg_uuid", "signal_bond", "bridge_uuid", "last_bridge_to",
	"rtp_use_codec_name", "rtp_use_codec_rate", "rtp_use_codec_ptime", "rtp_use_ssrc", "rtp_use_video_ssrc",
	"rtp_use_timer_name", "read_codec", "write_codec",
	"local_media_ip", "local_media_port", "advertised_media_ip", "remote_media_ip", "remote_media_port",
	"remote_audio_ip", "remote_audio_port", "sip_network_ip", "direction", "fire_rtcp_events",
	"hangup_cause", "hangup_cause_q850", "sip_hangup_disposition", "sip_term_status", "sip_invite_failure_status",
	"answer_uepoch", "start_uepoch", "end_uepoch", "hold_accum_usec",
	"is_loopback", "loopback_leg", "other_loopback_leg_uuid",
	"sofia_profile_name", "sip_gateway_name", "rtcp_audio_interval_msec",
}
