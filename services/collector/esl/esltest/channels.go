package esltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsagent/fsagent/internal/event"
)

// channels is the table of what is up: CHANNEL_CREATE adds a row,
// CHANNEL_DESTROY removes it (switch_core_sqldb.c, core_event_handler).
type channels struct {
	mu      sync.Mutex
	rows    map[string]*channel
	next    int
	started int
	made    uint64 // events that the server made itself
	nowUS   int64  // Event-Date-Timestamp of the last event played
}

type channel struct {
	order int
	raw   []byte // the last event with its variables
}

func (t *channels) clear() {
	t.mu.Lock()
	t.rows = nil
	t.mu.Unlock()
}

func (t *channels) note(id event.ID, raw []byte) {
	name := string(id.Name)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nowUS = max(t.nowUS, id.TimeUS)
	if len(id.UniqueID) == 0 || !strings.HasPrefix(name, "CHANNEL_") {
		return
	}
	row := t.rows[string(id.UniqueID)]
	switch {
	case name == event.ChannelDestroy:
		delete(t.rows, string(id.UniqueID))
		return
	case row == nil && name != event.ChannelCreate:
		return
	case row == nil:
		if t.rows == nil {
			t.rows = make(map[string]*channel)
		}
		t.next++
		t.started++
		row = &channel{order: t.next}
		t.rows[string(id.UniqueID)] = row
	}
	if bytes.Contains(raw, []byte("\nvariable_")) {
		row.raw = append(row.raw[:0], raw...)
	}
}

// columns of "show channels" that an event tells, with the header each is from.
var columns = []struct{ column, header string }{
	{"uuid", "Unique-ID"}, {"direction", "Call-Direction"}, {"created", "Event-Date-Local"},
	{"created_epoch", "Caller-Channel-Created-Time"}, {"name", "Channel-Name"}, {"state", "Channel-State"},
	{"cid_name", "Caller-Caller-ID-Name"}, {"cid_num", "Caller-Caller-ID-Number"}, {"ip_addr", "Caller-Network-Addr"},
	{"dest", "Caller-Destination-Number"}, {"application", "variable_current_application"},
	{"dialplan", "Caller-Dialplan"}, {"context", "Caller-Context"},
	{"read_codec", "Channel-Read-Codec-Name"}, {"read_rate", "Channel-Read-Codec-Rate"},
	{"write_codec", "Channel-Write-Codec-Name"}, {"write_rate", "Channel-Write-Codec-Rate"},
	{"hostname", "FreeSWITCH-Hostname"}, {"callstate", "Channel-Call-State"}, {"call_uuid", "Channel-Call-UUID"},
}

// show is "show channels as json" (mod_commands.c, show_function): all values are
// strings, and without channels there are no rows.
func (t *channels) show() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) == 0 {
		return `{"row_count":0}`
	}
	rows := make([]*channel, 0, len(t.rows))
	for _, r := range t.rows {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b *channel) int { return a.order - b.order })
	var b strings.Builder
	fmt.Fprintf(&b, `{"row_count":%d,"rows":[`, len(rows))
	for i, r := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('{')
		for j, c := range columns {
			if j > 0 {
				b.WriteByte(',')
			}
			v := event.Decode(header(r.raw, c.header))
			if c.column == "created_epoch" {
				v = strings.TrimSuffix(v, v[max(len(v)-6, 0):]) // microseconds to seconds
			}
			fmt.Fprintf(&b, "%q:%s", c.column, jsonString(v))
		}
		b.WriteByte('}')
	}
	b.WriteString("]}")
	return b.String()
}

// dump is "uuid_dump <uuid> json" (mod_commands.c, uuid_dump_function): a
// CHANNEL_DATA event of all that is known, with a number of its own.
func (t *channels) dump(uuid string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	row := t.rows[event.Encode(uuid)]
	if row == nil {
		return "-ERR No such channel!\n"
	}
	e, err := event.Parse(row.raw)
	if err != nil {
		return "-ERR No such channel!\n"
	}
	fields := make(map[string]any)
	for name, value := range e.All() {
		v := event.Decode(value)
		if list, ok := strings.CutPrefix(v, "ARRAY::"); ok {
			fields[string(name)] = strings.Split(list, "|:")
		} else {
			fields[string(name)] = v
		}
	}
	fields["Event-Name"] = event.ChannelData
	fields["Event-Sequence"] = strconv.FormatUint(t.number(), 10)
	fields["Event-Date-Timestamp"] = strconv.FormatInt(t.nowUS, 10)
	out, err := json.Marshal(fields)
	if err != nil {
		panic(err) // strings and lists of strings
	}
	return string(out)
}

// number gives what the server makes itself an Event-Sequence that no recording
// reaches.
func (t *channels) number() uint64 {
	t.made++
	return 1<<40 + t.made
}

func (t *channels) counts() (up, started int, sequence uint64, nowUS int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	nowUS = t.nowUS
	if nowUS == 0 {
		nowUS = time.Now().UnixMicro()
	}
	return len(t.rows), t.started, t.number(), nowUS
}

func jsonString(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string
	}
	return string(b)
}
