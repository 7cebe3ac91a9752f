package exporter

import (
	"context"
	"time"

	fsagentv1 "github.com/fsagent/fsagent/proto/fsagent/v1"
)

// lane reads the messages of its partitions, assembles requests and sends them,
// one at a time. All but its channel belongs to the goroutine of run.
type lane struct {
	*Exporter
	client    *client
	in        chan *delivery
	measurer  measurer
	legs      Legs
	assembler assembler
	encoder   encoder
	labels    labels
	// pause between attempts, and the longer one where a person has to help.
	pause   *pause
	alarmed *pause
	muffler *muffler
	stopped bool
	// unsent is what was left when stopped. An exporter leaves it to the stream.
	unsent []*request
}

func newLane(e *Exporter, c *client) *lane {
	cumulative := e.cfg.PacketsLost == LostCumulative
	return &lane{
		Exporter: e,
		client:   c,
		// The server hands out no more than this, so the intake does not block.
		in:        make(chan *delivery, e.cfg.MaxAckPending),
		legs:      e.cfg.Legs,
		measurer:  measurer{skipZero: e.cfg.SkipZeroValues, cumulative: cumulative},
		assembler: assembler{limits: newLimits(e.cfg), open: map[string]*request{}},
		encoder:   encoder{namespace: e.cfg.ServiceNamespace, cumulative: cumulative, noUnits: e.cfg.Units == UnitsNone},
		muffler:   newMuffler(),
		pause:     newPause(200*time.Millisecond, 2*time.Second),
		alarmed:   newPause(time.Second, 10*time.Second),
	}
}

// run until in is closed and all of it is sent, or until sending fails after
// stop ended. Requests are made under work, waits end with stop.
func (l *lane) run(stop, work context.Context) {
	late := time.NewTimer(time.Hour)
	late.Stop()
	defer late.Stop()
	for !l.stopped {
		select {
		case d, ok := <-l.in:
			if !ok {
				l.sendAll(stop, work)
				return
			}
			empty := len(l.assembler.open) == 0
			l.read(stop, work, d)
			if empty && len(l.assembler.open) > 0 {
				late.Reset(l.cfg.BatchDelay)
			}
		case <-late.C:
			l.sendAll(stop, work)
		}
	}
}

func (l *lane) sendAll(stop, work context.Context) {
	l.assembler.limits.renew(time.Now())
	unsent := l.unsent
	l.unsent = nil
	for _, r := range append(unsent, l.assembler.close()...) {
		l.send(stop, work, r)
	}
}

// read a message and send the requests that it fills.
func (l *lane) read(stop, work context.Context, d *delivery) {
	samples, bad, err := decode(d.data)
	var letters []letter
	if err != nil {
		letters = append(letters, letter{sequence: d.sequence, reason: reasonUndecodable, detail: err.Error(), data: d.data})
	}
	for i, data := range bad {
		letters = append(letters, letter{sequence: d.sequence, index: i, reason: reasonUndecodable, detail: "not a sample", data: data})
	}
	d.data = nil
	l.metrics.samples.Add(uint64(len(samples)))
	l.observeAge(d, samples)
	var values []measurement
	for _, s := range samples {
		from := len(values)
		values = l.measurer.measure(values, s)
		own := values[from:len(values):len(values)]
		if reason, detail := l.unfit(s, own); reason != "" {
			letters = append(letters, sampleLetter(d.sequence, s, reason, detail))
			continue
		}
		l.take(stop, work, d, s, own)
	}
	l.park(stop, work, letters...)
	if !l.stopped {
		d.settle()
	}
}

// take one sample: leave it out, or put it in a request, with what ends the
// series of its leg.
func (l *lane) take(stop, work context.Context, d *delivery, s *fsagentv1.Sample, values []measurement) {
	if !l.legs.passes(s) {
		return
	}
	l.put(stop, work, item{sample: s, values: values, from: d})
	if !l.cfg.EndOfLegMarkers || !s.HasLegEnd() {
		return
	}
	for _, m := range markers(s) {
		l.put(stop, work, item{sample: m.sample, values: m.values, from: d, marker: true})
	}
}

func (l *lane) put(stop, work context.Context, it item) {
	if len(it.values) == 0 {
		return
	}
	l.labels.of(it.sample)
	it.bytes = len(it.values) * (l.labels.size() + pointSize)
	if it.marker {
		it.bytes += len(it.values) * metricSize
	}
	it.from.open.Add(1)
	if full := l.assembler.add(it); full != nil {
		l.send(stop, work, full)
	}
}

// unfit names what makes a sample unfit for any endpoint, "" if nothing does.
func (l *lane) unfit(s *fsagentv1.Sample, values []measurement) (r reason, detail string) {
	at := time.UnixMicro(s.GetTimeUs())
	switch {
	case s.GetTimeUs() <= 0:
		return reasonTime, "the sample has no time"
	case time.Until(at) > l.cfg.MaxFuture:
		return reasonTime, "time " + at.UTC().Format(time.RFC3339) + " is in the future"
	case !s.HasBody():
		return reasonKind, "neither a report nor the end of a leg; a newer calculator?"
	case !finite(values):
		return reasonValue, "a value is not a number"
	}
	return "", ""
}

// observeAge gives the lag its times. Samples that will be parked do not count.
func (l *lane) observeAge(d *delivery, samples []*fsagentv1.Sample) {
	oldest := int64(0)
	for _, s := range samples {
		if t := s.GetTimeUs(); t > 0 && (oldest == 0 || t < oldest) {
			oldest = t
		}
	}
	if oldest > 0 {
		d.oldest.Store(oldest)
	}
}
