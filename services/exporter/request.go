package exporter

import (
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// item is one sample on its way out. It is settled once: when the endpoint has
// taken it, or it is parked.
type item struct {
	sample *fsagentv1.Sample
	values []measurement
	from   *delivery
	// marker items end series. They are made here, so they are not parked.
	marker bool
	// bytes is an upper bound of its size on the wire.
	bytes int
}

// pointSize is an upper bound for the bytes of a point without its labels: two
// times and a value of 9 bytes each, its own tag and length.
const pointSize = 3*9 + 6

// metricSize is an upper bound for the bytes of a metric's name, unit,
// description, tags and lengths.
const metricSize = 160

// request is what goes out at once: samples of one FreeSWITCH server.
type request struct {
	instance      string
	items         []item
	points, bytes int
	// oldest and newest event time in it, microseconds since 1970.
	oldest, newest int64
}

func (r *request) add(it item) {
	t := it.sample.GetTimeUs()
	if len(r.items) == 0 {
		r.oldest, r.newest = t, t
	}
	r.items = append(r.items, it)
	r.points += len(it.values)
	r.bytes += it.bytes
	r.oldest, r.newest = min(r.oldest, t), max(r.newest, t)
}

// limits of one request.
type limits struct {
	points, bytes int
	span          time.Duration
	// configured is what bytes was before the endpoint found a request too large,
	// and will be again after forget.
	configured int
	forget     time.Time
}

const (
	// leastBytes a request may have, whatever the endpoint says.
	leastBytes = 4 << 10
	// remember for this long that the endpoint takes less than is configured.
	remember = 10 * time.Minute
)

func newLimits(c Config) limits {
	return limits{points: c.MaxPoints, bytes: c.MaxBytes, span: c.MaxSpan, configured: c.MaxBytes}
}

// tooLarge takes note that the endpoint refused a request of size bytes.
func (l *limits) tooLarge(size int, now time.Time) {
	l.bytes = max(min(l.bytes, size/2), min(leastBytes, l.configured))
	l.forget = now.Add(remember)
}

// renew tries the configured limit again when its time has come.
func (l *limits) renew(now time.Time) {
	if l.bytes < l.configured && now.After(l.forget) {
		l.bytes = l.configured
	}
}

// fits is true if r may take it as well. A request takes at least one sample,
// however large.
func (l limits) fits(r *request, it item) bool {
	if len(r.items) == 0 {
		return true
	}
	t := it.sample.GetTimeUs()
	span := max(r.newest, t) - min(r.oldest, t)
	return r.points+len(it.values) <= l.points && r.bytes+it.bytes <= l.bytes && span <= l.span.Microseconds()
}

// assembler collects samples into requests, one open request for each
// FreeSWITCH server.
type assembler struct {
	limits limits
	open   map[string]*request
}

// add returns the request that had to be closed to take it, or nil.
func (a *assembler) add(it item) *request {
	instance := it.sample.GetFsInstance()
	r := a.open[instance]
	if r != nil && a.limits.fits(r, it) {
		r.add(it)
		return nil
	}
	next := &request{instance: instance}
	next.add(it)
	a.open[instance] = next
	return r
}

// close returns all open requests.
func (a *assembler) close() []*request {
	all := make([]*request, 0, len(a.open))
	for instance, r := range a.open {
		all = append(all, r)
		delete(a.open, instance)
	}
	return all
}
