package collector

type ordered struct {
	order uint64
	queued
}

// deque is a ring that grows, and lets go of its memory when it is empty.
type deque struct {
	ring  []ordered
	first int
	n     int
}

const dequeKeeps = 1024 // entries

func (d *deque) len() int        { return d.n }
func (d *deque) front() *ordered { return &d.ring[d.first] }

func (d *deque) push(q ordered) {
	if d.n == len(d.ring) {
		grown := make([]ordered, max(64, 2*d.n))
		copied := copy(grown, d.ring[d.first:])
		copy(grown[copied:], d.ring[:d.first])
		d.ring, d.first = grown, 0
	}
	d.ring[(d.first+d.n)%len(d.ring)] = q
	d.n++
}

func (d *deque) pop() ordered {
	q := d.ring[d.first]
	d.ring[d.first] = ordered{}
	d.first = (d.first + 1) % len(d.ring)
	d.n--
	if d.n == 0 && len(d.ring) > dequeKeeps {
		*d = deque{}
	}
	return q
}
