package collector_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	fsconfig "github.com/fsagent/fsagent/internal/config"
	"github.com/fsagent/fsagent/internal/event"
	"github.com/fsagent/fsagent/internal/stream"
	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// parsed is every stored event of one name, in order.
func (r *rig) parsed(name string) []event.Event {
	r.t.Helper()
	var out []event.Event
	for _, m := range r.all() {
		if strings.HasSuffix(m.Subject, "."+name) {
			e, err := event.Parse(m.Data)
			if err != nil {
				r.t.Fatalf("%v:\n%s", err, m.Data)
			}
			out = append(out, e)
		}
	}
	return out
}

// begin makes channels on a server by events that nobody is subscribed to.
func begin(fs *esltest.Server, from, to int) (ids []string) {
	for i := from; i < to; i++ {
		id := fmt.Sprintf("channel-%d@10.0.0.1", i) // a Unique-ID may be a SIP Call-ID
		fs.Send(channelEvent(event.ChannelCreate, uint64(i+1), id, "variable_sip_call_id: call%20"+fmt.Sprint(i)+
			"\nvariable_switch_r_sdp: SECRET\nvariable_originator: ARRAY%3A%3Aa%7C%3Ab%25\n"))
		ids = append(ids, event.Encode(id))
	}
	return ids
}

func channelEvent(name string, sequence uint64, id, more string) []byte {
	return fmt.Appendf(nil, "Event-Name: %s\nCore-UUID: %s\nEvent-Date-Timestamp: %d\nEvent-Sequence: %d\nUnique-ID: %s\n%s\n",
		name, esltest.DefaultCoreUUID, 1_700_000_000_000_000+sequence, sequence, event.Encode(id), more)
}

// A server has calls when it is found: they are listed to each partition, and
// what is known of them comes after, without what must not leave the switch.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{})
	const calls = 40
	ids := begin(fs, 0, calls)
	cfg := config(instance("fs1", fs))
	cfg.ESL.SnapshotRate = 1000
	c, stop := collect(t, cfg, r.srv.Connect())
	eventually(t, "all are told", func() bool { return c.Stats().Made == partitions+calls })
	stop()

	checkSync(t, r.parsed(event.Sync), ids)
	var described []string
	for _, e := range r.parsed(event.ChannelData) {
		described = append(described, string(e.ID().UniqueID))
		if got, want := e.Text("variable_sip_call_id"), "call "; !strings.HasPrefix(got, want) {
			t.Errorf("sip_call_id: got %q, want %q…", got, want)
		}
		if v, _ := e.Header("variable_originator"); string(v) != "ARRAY%3A%3Aa%7C%3Ab%25" {
			t.Errorf("a list came as %s", v)
		}
		if bytes.Contains(e.Raw(), []byte("SECRET")) {
			t.Errorf("SDP is in the stream:\n%s", e.Raw())
		}
	}
	slices.Sort(described)
	slices.Sort(ids)
	if !slices.Equal(described, ids) {
		t.Errorf("described: got %v, want %v", described, ids)
	}
	seen := make(map[string]bool)
	for _, m := range r.all() {
		id := m.Header.Get(nats.MsgIdHdr)
		if seen[id] {
			t.Errorf("message id %s twice", id)
		}
		seen[id] = true
	}
	st := fs.Stats()
	if st.Commands["show"] != 1 || st.Commands["uuid_dump"] != calls {
		t.Errorf("commands: got %v, want one show and %d dumps", st.Commands, calls)
	}
}

// checkSync looks at one snapshot: every partition has its channels, and no others.
func checkSync(t *testing.T, syncs []event.Event, ids []string) {
	t.Helper()
	if len(syncs) != partitions {
		t.Fatalf("got %d FSAGENT_SYNC, want %d", len(syncs), partitions)
	}
	numbers := make(map[uint64]bool)
	var got []string
	for _, e := range syncs {
		numbers[e.ID().Sequence] = true
		if string(e.ID().CoreUUID) != esltest.DefaultCoreUUID || e.Text(collector.HeaderSyncInstance) != "fs1" {
			t.Errorf("sync:\n%s", e.Raw())
		}
		if us := e.ID().TimeUS; us < 1_700_000_000_000_000 || us > 1_700_000_000_001_000 {
			t.Errorf("time %d is not the server's", us)
		}
		v, _ := e.Header(collector.HeaderSyncChannels)
		if string(v) == "_undef_" {
			continue
		}
		for id := range bytes.SplitSeq(v, []byte(" ")) {
			got = append(got, string(id))
		}
	}
	if len(numbers) != partitions {
		t.Errorf("%d different numbers, want %d", len(numbers), partitions)
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(ids))
	if !slices.Equal(got, want) {
		t.Errorf("channels: got %v, want %v", got, want)
	}
}

// Over a reconnect only those channels are asked for whose beginning was not
// seen, and what happened before the list is in the stream before it.
func TestSnapshotAfterReconnect(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{})
	cfg := config(instance("fs1", fs))
	cfg.ESL.SnapshotRate = 1000
	c, stop := collect(t, cfg, r.srv.Connect())
	eventually(t, "an empty snapshot", func() bool { return c.Stats().Made == partitions })
	seen := begin(fs, 0, 10)
	eventually(t, "they are published", func() bool { return c.Stats().Published == 10 })
	fs.SetMode(esltest.Rejecting)
	fs.Cut()
	eventually(t, "cut off", func() bool { return c.Ready() != nil })
	unseen := begin(fs, 10, 15)
	fs.Send(channelEvent(event.ChannelDestroy, 100, "channel-3@10.0.0.1", "")) // unseen
	fs.SetMode(esltest.Normal)
	eventually(t, "all are told", func() bool { return c.Stats().Made == 2*partitions+5 })
	stop()
	if n := fs.Stats().Commands["uuid_dump"]; n != 5 {
		t.Errorf("%d channels were asked for, want the 5 that began unseen", n)
	}
	syncs := r.parsed(event.Sync)
	checkSync(t, syncs[partitions:], append(slices.Delete(seen, 3, 4), unseen...))
}

// written counts the events that a server has sent, over all connections.
func written(fs *esltest.Server) (n uint64) {
	for _, c := range fs.Stats().Clients {
		n += c.Events
	}
	return n
}

// The end of a channel that is not in the list any more comes before the list.
func TestSnapshotComesBehindWhatItKnows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{})
	cfg := config(instance("fs1", fs))
	cfg.ESL.SnapshotDelay = 20 * time.Millisecond
	c, stop := collect(t, cfg, r.srv.Connect())
	recs := load(t, "05-load-80-calls")
	for range 5 {
		before := fs.Stats().Accepted
		play(t, fs, esltest.Playback{Recordings: recs, Clients: 1, Speed: 400})
		// What a cut connection takes with it was never known.
		eventually(t, "all is read", func() bool { return c.Stats().EventsRead == written(fs) })
		fs.Cut()
		eventually(t, "connected again", func() bool { return fs.Stats().Accepted > before && c.Ready() == nil })
	}
	stop()
	ended := make(map[string]bool)
	live := make(map[string]int64)
	for _, m := range r.all() {
		e, err := event.Parse(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		id := string(e.ID().UniqueID)
		switch string(e.ID().Name) {
		case event.ChannelCreate:
			live[id] = e.ID().TimeUS
		case event.ChannelHangupComplete:
			ended[id] = true
			delete(live, id)
		case event.Sync:
			v, _ := e.Header(collector.HeaderSyncChannels)
			listed := " " + string(v) + " "
			for id, began := range live {
				if began < e.ID().TimeUS && stream.Partition([]byte(id), partitions) == partitionOf(t, m) && !strings.Contains(listed, " "+id+" ") {
					t.Errorf("channel %s lives and is not listed", id)
				}
			}
		}
	}
	if len(ended) == 0 {
		t.Error("no channel ended")
	}
}

func partitionOf(t *testing.T, m *jetstream.RawStreamMsg) int {
	t.Helper()
	var p int
	if _, err := fmt.Sscanf(m.Subject, "fsagent.events.%d.", &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// A user without the right to ask gets the events nevertheless.
func TestSnapshotDenied(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{Users: map[string]esltest.User{"fsagent@example.com": {Password: "pw", API: []string{"show"}}}})
	in := instance("fs1", fs)
	in.User, in.Password = "fsagent@example.com", "pw"
	c, stop := collect(t, config(in), r.srv.Connect())
	eventually(t, "asked more than once", func() bool { return fs.Stats().Accepted > 3 })
	begin(fs, 0, 3)
	eventually(t, "events come", func() bool { return c.Stats().Published == 3 })
	stop()
	if n := len(r.parsed(event.Sync)); n != 0 {
		t.Errorf("got %d FSAGENT_SYNC", n)
	}
}

// A list that does not fit into a message is not sent in part, and said so.
func TestSnapshotTooLarge(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fs := newFreeSWITCH(t, esltest.Config{})
	var ids []string
	const channels = 6 * partitions // of 200 KB
	for i := range channels {
		id := fmt.Sprintf("%06d%s", i, strings.Repeat("x", 200_000))
		fs.Send(channelEvent(event.ChannelCreate, uint64(i+1), id, "variable_a: b\n"))
		ids = append(ids, id)
	}
	var parts [partitions]int
	fits := uint64(0)
	for _, id := range ids {
		parts[stream.Partition([]byte(id), partitions)] += len(id) + 1
	}
	for _, size := range parts {
		if size < 1<<20-1000 {
			fits++
		}
	}
	cfg := config(instance("fs1", fs))
	cfg.ESL.SnapshotRate = 1
	c, stop := collect(t, cfg, r.srv.Connect())
	eventually(t, "the others are told, these are counted", func() bool {
		st := c.Stats()
		return st.Made >= fits && st.Rejected["too_large"] == partitions-fits
	})
	stop()
	if got := uint64(len(r.parsed(event.Sync))); got != fits || fits == partitions {
		t.Errorf("got %d FSAGENT_SYNC, want %d", got, fits)
	}
}

// userauth in its two spellings, from YAML's and JSON's fields, with a file.
func TestUsers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var names []string
	for name := range subscribed {
		names = append(names, name)
	}
	fs := newFreeSWITCH(t, esltest.Config{Users: map[string]esltest.User{"fsagent@example.com": {
		Password: "pw", Events: names, API: []string{"show", "uuid_dump", "global_getvar", "strmicroepoch"},
	}}})
	file := filepath.Join(t.TempDir(), "password")
	page := filepath.Join(t.TempDir(), "config.yaml")
	text := fmt.Sprintf(`freeswitch_instances:
  - {name: one, host: 127.0.0.1, port: %[1]d, user: fsagent@example.com, password: pw}
  - {name: two, host: 127.0.0.1, port: %[1]d, user: fsagent, domain: example.com, password_file: %[2]s}
`, fs.Addr().Port, file)
	for path, content := range map[string]string{file: "pw\n", page: text} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fromYAML, fromJSON := config(), config()
	if err := fsconfig.Load(&fromYAML, page, nil); err != nil {
		t.Fatal(err)
	}
	list := fmt.Sprintf(`[{"name":"three","host":"127.0.0.1","port":%[1]d,"user":"fsagent@example.com","password_file":%[2]q},
		{"name":"four","host":"127.0.0.1","port":%[1]d,"user":"fsagent@example.com","password":"wrong"}]`, fs.Addr().Port, file)
	if err := fsconfig.Load(&fromJSON, "", []string{"FSAGENT_FREESWITCH_INSTANCES=" + list}); err != nil {
		t.Fatal(err)
	}
	all := config(append(fromYAML.Instances, fromJSON.Instances...)...)
	c, _ := collect(t, all, r.srv.Connect())
	eventually(t, "all but one are let in", func() bool {
		h := health(t, c).Connections
		return h["one"].Connected && h["two"].Connected && h["three"].Connected && strings.Contains(h["four"].LastError, esl.ErrAuth.Error())
	})
	eventually(t, "they have a snapshot", func() bool { return c.Stats().Made == 3*partitions })
}
