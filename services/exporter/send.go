package exporter

import (
	"context"
	"time"
)

const (
	// refusals of one sample before it may be parked.
	refusals = 3
	// patience is how many refusals in a row are answered by the next attempt
	// at once: about what it takes to find one bad sample among thousands.
	patience = 12
)

// piece is a part of a request.
type piece struct {
	items []item
	// refused counts the refusals of a single sample since first.
	refused int
	first   time.Time
}

// send one request until each of its samples is settled, or until stop ends and
// the endpoint does not take them: then they are unsent. It divides what is
// refused; a single sample that is refused while the endpoint takes others is
// parked. If the endpoint takes nothing at all, it is more likely the endpoint:
// the samples are offered again, ever more slowly, for Config.ParkAfter each.
func (l *lane) send(stop, work context.Context, r *request) {
	queue := []piece{{items: r.items}}
	inRow := 0
	for len(queue) > 0 && !l.stopped {
		p := queue[0]
		queue = queue[1:]
		v := l.export(work, r.instance, p.items)
		switch {
		case v.action == accept:
			inRow = 0
			settle(p.items)
		case work.Err() != nil:
			queue = append([]piece{p}, queue...)
			l.stopped = true
		case v.action == again || v.action == alarm:
			queue = append([]piece{p}, queue...)
			l.await(stop, v)
		default:
			queue = l.divide(stop, work, queue, p, v)
			if v.action == bisect {
				inRow++
			}
			if inRow > patience {
				l.await(stop, v)
			}
		}
	}
	for _, p := range queue {
		l.unsent = append(l.unsent, &request{instance: r.instance, items: p.items})
	}
}

// divide puts what is left to do about a refused piece into the queue: its
// halves before all others, a single sample behind them.
func (l *lane) divide(stop, work context.Context, queue []piece, p piece, v verdict) []piece {
	if half := len(p.items) / 2; half > 0 {
		return append([]piece{{items: p.items[:half]}, {items: p.items[half:]}}, queue...)
	}
	if v.action == halve {
		l.parkItem(stop, work, p.items[0], reasonTooLarge, v)
		return queue
	}
	if p.refused == 0 {
		p.first = time.Now()
	}
	p.refused++
	if p.refused >= refusals && (l.otlp.upSince(p.first) || time.Since(p.first) >= l.cfg.ParkAfter) {
		l.parkItem(stop, work, p.items[0], reasonRefused, v)
		return queue
	}
	return append(queue, p)
}

// export items once and take note of the answer.
func (l *lane) export(work context.Context, instance string, items []item) verdict {
	data, points := l.encoder.request(instance, items)
	v := l.client.export(work, data)
	l.metrics.request(v, points)
	if v.action == halve {
		l.assembler.limits.tooLarge(len(data), time.Now())
	}
	if v.action != accept {
		return v
	}
	l.pause.reset()
	l.alarmed.reset()
	l.otlp.set(up, nil)
	if v.rejected > 0 || v.message != "" {
		if requests, ok := l.muffler.say("partial", time.Now()); ok {
			l.log.Warn("endpoint took a request in part", "instance", instance, "rejected", v.rejected, "reason", v.message, "count", requests)
		}
	}
	return v
}

// await the time for the next attempt.
func (l *lane) await(stop context.Context, v verdict) {
	l.metrics.retries.Add(1)
	ok := true
	switch {
	case stop.Err() != nil:
		ok = false
	case v.action == alarm:
		l.otlp.set(refused, v.err)
		ok = l.alarmed.wait(stop) && sleep(stop, v.after)
	case v.after > 0:
		l.otlp.set(waiting, v.err)
		ok = sleep(stop, v.after)
	default:
		l.otlp.set(waiting, v.err)
		ok = l.client.rest(stop, l.pause.step())
	}
	if !ok {
		l.stopped = true
	}
}

func settle(items []item) {
	for _, it := range items {
		it.from.settle()
	}
}

func (l *lane) parkItem(stop, work context.Context, it item, r reason, v verdict) {
	if it.marker {
		l.metrics.reject(len(it.values))
		it.from.settle()
		return
	}
	if l.park(stop, work, sampleLetter(it.from.sequence, it.sample, r, v.err.Error())) {
		l.metrics.points[resultParked].Add(float64(len(it.values)))
		it.from.settle()
	}
}
