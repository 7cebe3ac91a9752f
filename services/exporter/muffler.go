package exporter

import "time"

// muffleFor is how long a thing that was logged is not logged again.
const muffleFor = 10 * time.Second

// muffler lets one log line of a kind through and counts the others: bad input
// can come at the rate of events.
type muffler struct {
	last map[string]time.Time
	kept map[string]int
}

func newMuffler() *muffler {
	return &muffler{last: map[string]time.Time{}, kept: map[string]int{}}
}

// say returns true if a line of this kind may be logged now, and how many it
// stands for.
func (m *muffler) say(kind string, now time.Time) (count int, ok bool) {
	m.kept[kind]++
	if now.Sub(m.last[kind]) < muffleFor {
		return 0, false
	}
	count = m.kept[kind]
	m.last[kind], m.kept[kind] = now, 0
	return count, true
}
