package esltest

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
)

// execute runs one command and reports whether the connection goes on.
func (c *client) execute(lines []string) bool {
	verb, args, _ := strings.Cut(lines[0], " ")
	verb, args = strings.ToLower(verb), strings.TrimSpace(args)
	switch verb {
	case "exit", "...":
		c.reply("+OK bye")
		return false
	case "auth":
		return c.auth(args == c.srv.cfg.Password, User{})
	case "userauth":
		return c.userauth(args)
	}
	if c.mode == Deaf && c.authed {
		return true
	}
	if !c.authed {
		c.reply("-ERR command not found")
		return true
	}
	switch verb {
	case "event":
		c.subscribe(args)
	case "nixevent":
		c.unsubscribe(args)
	case "noevents":
		c.mu.Lock()
		c.all = false
		clear(c.names)
		clear(c.custom)
		c.mu.Unlock()
		c.reply("+OK no longer listening for events")
	case "filter":
		c.filter(args)
	case "api", "bgapi":
		command, _, _ := strings.Cut(args, " ")
		switch {
		case c.user.API != nil && !slices.Contains(c.user.API, command):
			c.reply("-ERR permission denied")
		case verb == "api":
			c.response(c.srv.api(args))
		default:
			c.background(args)
		}
	default:
		c.reply("-ERR command not found")
	}
	return true
}

func (c *client) auth(ok bool, u User) bool {
	if !ok || c.mode == RefusingAuth {
		c.reply("-ERR invalid")
		return false
	}
	c.authed, c.user = true, u
	if u.Password == "" { // not a user of the directory
		c.reply("+OK accepted")
	} else {
		c.reply("+OK accepted", "Allowed-Events: "+granted(u.Events), "Allowed-API: "+granted(u.API), "Allowed-LOG: ")
	}
	return true
}

func granted(names []string) string {
	if names == nil {
		return "all"
	}
	return strings.Join(names, " ")
}

// userauth takes "user@domain:password".
func (c *client) userauth(args string) bool {
	name, password, _ := strings.Cut(args, ":")
	user, ok := c.srv.cfg.Users[name]
	return c.auth(ok && user.Password == password, user)
}

// subscribe follows mod_event_socket.c, parse_command: unknown names are ignored,
// everything after CUSTOM is a subclass, and a forbidden name ends the command
// after what stands before it.
func (c *client) subscribe(args string) {
	words := strings.Fields(args)
	if len(words) > 0 {
		switch strings.ToLower(words[0]) {
		case "plain":
			words = words[1:]
		case "json", "xml":
			c.reply("-ERR this simulated FreeSWITCH has plain events only")
			return
		}
	}
	keywords, denied := c.selectEvents(words)
	switch {
	case denied:
		c.reply("-ERR permission denied")
	case keywords == 0:
		c.reply("-ERR no keywords supplied")
	default:
		c.reply("+OK event listener enabled plain")
		c.srv.join(c)
	}
}

func (c *client) selectEvents(words []string) (keywords int, denied bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, w := range words {
		name := eventName(w)
		if name == "" {
			continue
		}
		if c.user.Events != nil && !slices.Contains(c.user.Events, name) {
			return keywords, true
		}
		keywords++
		switch name {
		case "ALL":
			c.all = true
		case "CUSTOM":
			for _, subclass := range words[i+1:] {
				c.custom[subclass] = true
			}
			if i+1 == len(words) {
				c.custom[""] = true
			}
			return keywords, false
		default:
			c.names[name] = true
		}
	}
	return keywords, false
}

// unsubscribe takes names away. Without one of the names ALL becomes the list of
// the others.
func (c *client) unsubscribe(args string) {
	keywords := 0
	c.mu.Lock()
	custom := false
	for w := range strings.FieldsSeq(args) {
		name := eventName(w)
		switch {
		case custom:
			delete(c.custom, w)
			keywords++
		case name == "":
		case name == "ALL":
			c.all = false
			clear(c.names)
			clear(c.custom)
			keywords++
		default:
			if c.all {
				c.all = false
				for _, n := range eventNames {
					c.names[n] = true
				}
			}
			delete(c.names, name)
			custom = name == "CUSTOM"
			keywords++
		}
	}
	c.mu.Unlock()
	if keywords == 0 {
		c.reply("-ERR no keywords supplied")
	} else {
		c.reply("+OK events nixed")
	}
}

func (c *client) filter(args string) {
	c.mu.Lock()
	text := c.filters.command(args)
	c.mu.Unlock()
	c.reply(text)
}

// background answers at once and gives the result as an event to who wants it.
func (c *client) background(args string) {
	id := newUUID()
	c.reply("+OK Job-UUID: "+id, "Job-UUID: "+id)
	name, arguments, _ := strings.Cut(args, " ")
	body := c.srv.api(args)
	head := c.srv.header("BACKGROUND_JOB") + "Job-UUID: " + id + "\nJob-Command: " + encode(name) + "\n"
	if arguments != "" {
		head += "Job-Command-Arg: " + encode(arguments) + "\n"
	}
	raw := fmt.Sprintf("%sContent-Length: %d\n\n%s", head, len(body), body)
	c.event([]byte("BACKGROUND_JOB"), []byte(raw))
	c.flush()
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&15|64, b[8]&63|128
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
