package collector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/fsagent/fsagent/internal/event"
)

// errOutput is returned for the output of an api command that is not what
// FreeSWITCH prints.
var errOutput = errors.New("unreadable output")

// listed reads "show channels as json" (mod_commands.c, show_as_json_callback)
// and returns the ids as events have them. Without channels there are no rows.
func listed(out []byte) ([]string, error) {
	var table struct {
		Rows []struct {
			UUID string `json:"uuid"`
		} `json:"rows"`
	}
	if err := json.Unmarshal(out, &table); err != nil {
		return nil, fmt.Errorf("show channels as json: %w: %w", errOutput, err)
	}
	ids := make([]string, 0, len(table.Rows))
	for _, r := range table.Rows {
		if r.UUID != "" {
			ids = append(ids, event.Encode(r.UUID))
		}
	}
	return ids, nil
}

// plain is an event in plain format of one that "uuid_dump <uuid> json" printed
// (switch_event.c, switch_event_serialize_json_obj): the headers in their order, a
// list as ARRAY::a|:b, without a body.
func plain(out []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(out))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("uuid_dump: %w: no JSON object", errOutput)
	}
	var raw []byte
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("uuid_dump: %w: %w", errOutput, err)
		}
		var value any
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("uuid_dump: %w: %w", errOutput, err)
		}
		text, ok := headerText(value)
		// Names are not encoded in plain format; one that is no line's is left out.
		if key := name.(string); ok && key != "" && key != "_body" && !strings.ContainsAny(key, "\r\n") {
			raw = fmt.Appendf(raw, "%s: %s\n", key, event.Encode(text))
		}
	}
	return append(raw, '\n'), nil
}

// headerText is a header's value before it is encoded: a string, or a list of
// strings (switch_event.c, switch_event_base_add_header).
func headerText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case []any:
		parts := make([]string, len(v))
		for i, p := range v {
			s, ok := p.(string)
			if !ok {
				return "", false
			}
			parts[i] = s
		}
		return "ARRAY::" + strings.Join(parts, "|:"), true
	}
	return "", false
}

func trim(out []byte) string { return strings.TrimSpace(string(out)) }
