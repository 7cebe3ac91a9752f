package collector_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fsagent/fsagent/services/collector"
	"github.com/fsagent/fsagent/services/collector/esl/esltest"
)

// One collector watches 200 servers in little memory; when all connections break
// at once, it does not come back to all at once.
func TestFleet(t *testing.T) {
	const servers = 200
	_, url, _ := startNATS(t, settings())
	var fleet []*esltest.Server
	var list []map[string]any
	for i := range servers {
		fs := newFreeSWITCH(t, esltest.Config{Heartbeat: 2 * time.Second, CoreUUID: fmt.Sprintf("f5a9e570-0000-4000-8000-%012d", i)})
		fleet = append(fleet, fs)
		list = append(list, map[string]any{"name": fmt.Sprintf("fs%d", i), "host": "127.0.0.1", "port": fs.Addr().Port, "password": esltest.DefaultPassword})
	}
	instances, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	c := startCollector(t, url, string(instances), "FSAGENT_ESL_SNAPSHOT_DELAY=1s")
	all := func() bool { return c.metric("fsagent_fs_connections") == servers }
	snapshots := func() float64 { return c.metric("fsagent_snapshots_total") }
	eventually(t, "all are connected", all)
	eventually(t, "all have a snapshot", func() bool { return snapshots() == servers })
	eventually(t, "all have beaten", func() bool { return c.metric("fsagent_events_published_total") >= servers })
	const limit = 150_000_000
	idle := c.memory("VmRSS")
	if idle > limit {
		t.Errorf("%d MB with %d idle servers, want less than %d MB", idle/1e6, servers, limit/1_000_000)
	}

	before := make([]int, servers)
	for i, fs := range fleet {
		before[i] = fs.Stats().Accepted
	}
	watching, stopWatch := context.WithCancel(t.Context())
	late := lateness(watching)
	cut := time.Now()
	for _, fs := range fleet {
		fs.Cut()
	}
	var back []time.Duration
	waiting := make(map[int]bool)
	for i := range fleet {
		waiting[i] = true
	}
	for end := cut.Add(2 * time.Minute); len(waiting) > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		for i := range waiting {
			if fleet[i].Stats().Accepted > before[i] {
				back = append(back, time.Since(cut))
				delete(waiting, i)
			}
		}
	}
	stopWatch()
	control := late()
	if len(waiting) > 0 {
		t.Fatalf("%d servers were not called again", len(waiting))
	}
	eventually(t, "all are connected again", all)
	eventually(t, "all have a snapshot again", func() bool { return snapshots() == 2*servers })
	retry := collector.DefaultConfig().ESL.RetryMin
	slices.Sort(back)
	most := 0 // in a tenth of the shortest wait
	for i := range back {
		j, _ := slices.BinarySearch(back, back[i]+retry/10)
		most = max(most, j-i)
	}
	t.Logf("%d MB with %d idle servers, %d MB at most; called again after %v to %v, at most %d in %v (a sleeper was late by %v)", idle/1e6, servers, c.memory("VmHWM")/1e6, back[0], back[len(back)-1], most, retry/10, control)
	// Calls that a halted machine has held up come all at once.
	if most > servers/2 && control < retry/20 || back[0] < retry/4 {
		t.Errorf("%d of %d servers were called within %v", most, servers, retry/10)
	}
	if peak := c.memory("VmHWM"); peak > limit {
		t.Errorf("%d MB while all came back, want less than %d MB", peak/1e6, limit/1_000_000)
	}
}
