package leg

// The queue of a core is a binary heap by due, ties by Unique-ID, in which each
// leg knows its place. (container/heap would do the same through an interface.)

func (c *core) push(l *leg) {
	l.index = len(c.queue)
	c.queue = append(c.queue, l)
	c.up(l.index)
}

// remove takes a leg out; its index is -1 after that.
func (c *core) remove(l *leg) {
	i, end := l.index, len(c.queue)-1
	c.swap(i, end)
	c.queue[end] = nil
	c.queue = c.queue[:end]
	l.index = -1
	if i < end {
		c.fix(i)
	}
}

// fix restores the order after the due of the leg at i changed.
func (c *core) fix(i int) {
	if !c.down(i) {
		c.up(i)
	}
}

func (c *core) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !c.before(i, parent) {
			return
		}
		c.swap(i, parent)
		i = parent
	}
}

func (c *core) down(i int) (moved bool) {
	for {
		least := 2*i + 1
		if least >= len(c.queue) {
			return moved
		}
		if right := least + 1; right < len(c.queue) && c.before(right, least) {
			least = right
		}
		if !c.before(least, i) {
			return moved
		}
		c.swap(i, least)
		i, moved = least, true
	}
}

func (c *core) before(i, j int) bool {
	a, b := c.queue[i], c.queue[j]
	if a.due != b.due {
		return a.due < b.due
	}
	return a.uniqueID < b.uniqueID
}

func (c *core) swap(i, j int) {
	c.queue[i], c.queue[j] = c.queue[j], c.queue[i]
	c.queue[i].index, c.queue[j].index = i, j
}
