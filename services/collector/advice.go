package collector

import (
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/fsagent/fsagent/services/collector/esl"
)

// trouble names what is wrong with a connection, for /health, the metric of
// broken frames and the log, and what a person can do about it.
type trouble struct{ cause, advice string }

// Advice is what a person can do about an error of a connection to FreeSWITCH.
func Advice(err error) string { return diagnose(err).advice }

// diagnose tells apart what an operator has to tell apart.
func diagnose(err error) trouble {
	for _, k := range troubles {
		if errors.Is(err, k.err) {
			return k.trouble
		}
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return trouble{"unknown_host", "check the host name in freeswitch_instances and the name server"}
	}
	return trouble{"lost", "nothing to do if FreeSWITCH was stopped; otherwise check the network"}
}

var troubles = []struct {
	err error
	trouble
}{
	{errPasswordFile, trouble{"password_file", "make password_file readable for fsagent"}},
	{esl.ErrAuth, trouble{"auth", "set password (and user, domain) as in FreeSWITCH's event_socket.conf.xml or directory"}},
	{esl.ErrRejected, trouble{"acl", "allow this address in apply-inbound-acl of FreeSWITCH's event_socket.conf.xml"}},
	{esl.ErrPermission, trouble{"permission", "allow the events in esl-allowed-events of the user"}},
	{esl.ErrRefused, trouble{"refused_command", "this FreeSWITCH does not know the events that fsagent asks for"}},
	{esl.ErrHeaderTooLong, trouble{"header_too_long", "check that host and port are FreeSWITCH's event socket"}},
	{esl.ErrContentLength, trouble{"bad_content_length", "check that host and port are FreeSWITCH's event socket"}},
	{esl.ErrBodyTooLarge, trouble{"body_too_large", "raise esl.max_body_bytes if events are that large"}},
	{esl.ErrTruncated, trouble{"truncated", "nothing to do if FreeSWITCH was stopped; otherwise check the network"}},
	{esl.ErrNotESL, trouble{"not_esl", "check that host and port are FreeSWITCH's event socket (port 8021 by default)"}},
	{esl.ErrTimeout, trouble{"timeout", "check that FreeSWITCH runs and that no firewall drops its event socket port"}},
	{esl.ErrIdle, trouble{"dead", "check the network, and FreeSWITCH if it does not answer others either"}},
	{esl.ErrDisconnected, trouble{"disconnected", "nothing to do if FreeSWITCH is restarting"}},
	{syscall.ECONNREFUSED, trouble{"refused", "start FreeSWITCH with mod_event_socket, or correct host and port"}},
	{io.EOF, trouble{"lost", "nothing to do if FreeSWITCH was stopped; otherwise check the network"}},
}

// isBroken reports whether the server sent what cannot be read.
func isBroken(err error) bool {
	for _, e := range []error{esl.ErrHeaderTooLong, esl.ErrContentLength, esl.ErrBodyTooLarge, esl.ErrTruncated, esl.ErrNotESL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
