package collector

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
)

// The answers are those of nats-server 2.15.
func TestReadAck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, data, status string
		duplicate          bool
		err                error
	}{
		{name: "stored", data: `{"stream":"FSAGENT_EVENTS", "seq":7}`},
		{name: "stored before", data: `{"stream":"FSAGENT_EVENTS", "seq":7,"duplicate": true}`, duplicate: true},
		{name: "other order", data: `{"seq":7,"duplicate":true,"stream":"FSAGENT_EVENTS"}`, duplicate: true},
		{name: "in process", data: `{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"},"stream":"FSAGENT_EVENTS","seq":0}`, err: errInProcess},
		{name: "no room", data: `{"stream":"FSAGENT_EVENTS","seq":0,"error":{"code":503,"err_code":10023,"description":"insufficient resources"}}`, err: errRefused},
		{name: "no stream", status: "503", err: errRefused},
		{name: "no stream's name", data: `{"seq":7}`, err: errRefused},
		{name: "cut off", data: `{"stre`, err: errRefused},
		{name: "empty", err: errRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			duplicate, err := readAck(&nats.Msg{Header: nats.Header{"Status": {c.status}}, Data: []byte(c.data)})
			if !errors.Is(err, c.err) || duplicate != c.duplicate {
				t.Errorf("got %v, %v; want %v, %v", duplicate, err, c.duplicate, c.err)
			}
		})
	}
}
