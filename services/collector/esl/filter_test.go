package esl_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/recording"
	"github.com/fsagent/fsagent/services/collector/esl"
)

func newFilter(t testing.TB, cfg esl.FilterConfig) *esl.Filter {
	t.Helper()
	f, err := esl.NewFilter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// secrets is an event of everything that must stay on the switch. Each value has
// LEAK in it.
const secrets = "Event-Name: CHANNEL_ANSWER\nCore-UUID: c\nUnique-ID: u\nEvent-Date-Timestamp: 1\nEvent-Sequence: 2\n" +
	"variable_srtp_remote_audio_crypto_key: LEAK1\n" +
	"variable_rtp_last_audio_local_crypto_key: LEAK2\n" +
	"variable_switch_r_sdp: LEAK3\n" +
	"variable_rtp_local_sdp_str: LEAK4\n" +
	"variable_switch_m_sdp: LEAK5\n" +
	"variable_sip_h_X-Token: LEAK6\n" +
	"variable_nolocal:sip_h_X-Secret: LEAK7\n" +
	"variable_digits_dialed: LEAK8\n" +
	"variable_sip_auth_password: LEAK9\n" +
	"variable_sip_auth_response: LEAK10\n" +
	"variable_vm-password: LEAK11\n" +
	"variable_current_application_data: LEAK12\n" +
	"variable_last_arg: LEAK13\n" +
	"variable_pin: LEAK14\n" +
	"variable_card_pin: LEAK15\n" +
	"variable_esl_PASSWORD: LEAK16\n" +
	"variable_last_dtmf: LEAK17\n" +
	"variable_sip_rh_X-Auth: LEAK18\n" +
	"scope_variable_uuid: LEAK19\n" +
	"variable_uuid: LEAK: LEAK20\n" +
	"Application-Data: LEAK21\n" +
	"DTMF-Digit: LEAK22\n" +
	"variable_rtp_audio_x: y crypto: LEAK23\n" +
	"LEAK24\n" +
	"variable_uuid: kept\n" +
	"Content-Length: 6\n\nLEAK25"

func TestSecretsStay(t *testing.T) {
	t.Parallel()
	for _, variables := range []string{"", "*", "nolocal:x,foo", "sip_auth_username"} {
		f := newFilter(t, esl.FilterConfig{Variables: variables})
		got := f.Append(nil, []byte(secrets))
		if bytes.Contains(got, []byte("LEAK")) {
			t.Errorf("variables %q: a secret got out:\n%s", variables, got)
		}
		if !bytes.Contains(got, []byte("variable_uuid: kept\n\n")) {
			t.Errorf("variables %q: lost what was to be kept:\n%s", variables, got)
		}
		asReport := f.Append(nil, []byte(strings.Replace(secrets, "CHANNEL_ANSWER", event.RecvRTCP, 1)))
		if bytes.Contains(asReport, []byte("LEAK")) {
			t.Errorf("variables %q: a secret got out in a report:\n%s", variables, asReport)
		}
	}
}

func TestVariablesOnRequest(t *testing.T) {
	t.Parallel()
	const raw = "Event-Name: CHANNEL_CREATE\nvariable_foo: 1\nvariable_bar: 2\nvariable_sip_h_X-Call: 3\nvariable_rtp_audio_in_mos: 4.50\nvariable_a:b: 5\n\n"
	for _, tc := range []struct {
		cfg  esl.FilterConfig
		want string
	}{
		{esl.FilterConfig{}, "Event-Name: CHANNEL_CREATE\nvariable_rtp_audio_in_mos: 4.50\n\n"},
		{esl.FilterConfig{WithoutStatistics: true}, "Event-Name: CHANNEL_CREATE\n\n"},
		{esl.FilterConfig{Variables: "foo, a:b", WithoutStatistics: true}, "Event-Name: CHANNEL_CREATE\nvariable_foo: 1\nvariable_a:b: 5\n\n"},
		{esl.FilterConfig{Variables: "sip_h_X-Call"}, "Event-Name: CHANNEL_CREATE\nvariable_sip_h_X-Call: 3\nvariable_rtp_audio_in_mos: 4.50\n\n"},
		{esl.FilterConfig{Variables: "*"}, "Event-Name: CHANNEL_CREATE\nvariable_foo: 1\nvariable_bar: 2\nvariable_rtp_audio_in_mos: 4.50\nvariable_a:b: 5\n\n"},
	} {
		if got := newFilter(t, tc.cfg).Append(nil, []byte(raw)); string(got) != tc.want {
			t.Errorf("%+v: got\n%s\nwant\n%s", tc.cfg, got, tc.want)
		}
	}
	for _, bad := range []string{"rtp_last_audio_local_crypto_key", "switch_r_sdp", "digits_dialed", "my_password", "foo*"} {
		if _, err := esl.NewFilter(esl.FilterConfig{Variables: "ok," + bad}); !errors.Is(err, esl.ErrVariable) {
			t.Errorf("variables %q: got %v, want ErrVariable", bad, err)
		}
	}
}

func TestFilterOnRecordings(t *testing.T) {
	t.Parallel()
	f := newFilter(t, esl.FilterConfig{})
	in, out := 0, 0
	for _, name := range recording.Names() {
		rec, err := recording.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, raw := range rec.Events() {
			got := f.Append(nil, raw)
			before, err := event.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			after, err := event.Parse(got)
			if err != nil {
				t.Fatalf("%s, event %d: %v", name, i, err)
			}
			switch string(after.ID().Name) {
			case event.RecvRTCP, event.SendRTCP, event.Heartbeat:
				if !bytes.Equal(got, raw) {
					t.Errorf("%s, event %d: a report was changed", name, i)
				}
			}
			for _, h := range []string{"Unique-ID", "Channel-Call-UUID", "Other-Leg-Unique-ID", "Bridge-B-Unique-ID", "Hangup-Cause",
				"Call-Direction", "Caller-Channel-Answered-Time", "variable_sip_call_id", "variable_rtp_use_codec_name",
				"variable_rtp_audio_in_packet_count", "variable_remote_media_ip", "channel-read-codec-name"} {
				if a, b := before.Text(h), after.Text(h); a != b {
					t.Errorf("%s, event %d: %s was %q and is %q", name, i, h, a, b)
				}
			}
			for _, never := range []string{"sdp", "crypto", "digits", "sip_h_", "password", "application_data"} {
				if bytes.Contains(got, []byte(never)) {
					t.Errorf("%s, event %d: %s got out", name, i, never)
				}
			}
			in, out = in+len(raw), out+len(got)
		}
	}
	t.Logf("%d bytes became %d", in, out)
}

func FuzzFilter(f *testing.F) {
	rec, err := recording.Load("02-bridged-pcmu")
	if err != nil {
		f.Fatal(err)
	}
	for _, raw := range rec.Events() {
		f.Add(raw)
	}
	f.Add([]byte(secrets))
	f.Add([]byte(""))
	f.Add([]byte("\n"))
	f.Add([]byte("Event-Name: HEARTBEAT\n"))
	f.Add([]byte("Event-Name: X\nCore-UUID: a: b\nEvent-Date-Timestamp: 1\nEvent-Sequence: 2\n"))
	list, all := newFilter(f, esl.FilterConfig{}), newFilter(f, esl.FilterConfig{Variables: "*"})
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, filter := range []*esl.Filter{list, all} {
			got := filter.Append(nil, raw)
			if !bytes.HasSuffix(got, []byte("\n")) {
				t.Fatalf("no empty line at the end of %q", got)
			}
			if again := filter.Append(nil, got); !bytes.Equal(got, again) {
				t.Fatalf("filtered twice:\n%q\nonce:\n%q", again, got)
			}
			// Every line is one of the input's, in order.
			rest := raw
			for line := range bytes.Lines(bytes.TrimSuffix(got, []byte("\n"))) {
				line = bytes.TrimSuffix(line, []byte("\n"))
				i := bytes.Index(rest, line)
				if i < 0 {
					t.Fatalf("line %q is not of the event", line)
				}
				rest = rest[i+len(line):]
			}
			head, _, _ := bytes.Cut(raw, []byte("\n\n"))
			if id, err := event.Scan(head); err == nil {
				after, err := event.Scan(got)
				if err != nil || !bytes.Equal(id.Name, after.Name) || id.Sequence != after.Sequence || !bytes.Equal(id.UniqueID, after.UniqueID) {
					t.Fatalf("identity changed: %+v, %+v, %v", id, after, err)
				}
			}
		}
	})
}
