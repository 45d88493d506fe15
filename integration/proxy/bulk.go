package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// An Item is one action of a bulk request, as its sender wrote it.
type Item struct {
	Op      string // index, create, update or delete
	Index   string
	ID      string
	Version int64           // 0: none
	Source  json.RawMessage // nil for a delete

	meta map[string]json.RawMessage // the action's fields
}

// parseBulk reads the lines of a bulk request; index is what an action without one means.
func parseBulk(body []byte, index string) ([]Item, error) {
	var items []Item
	for len(body) > 0 {
		var line []byte
		line, body = cutLine(body)
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var action map[string]map[string]json.RawMessage
		if err := json.Unmarshal(line, &action); err != nil {
			return nil, fmt.Errorf("bulk item %d: %w", len(items), err)
		}
		if len(action) != 1 {
			return nil, fmt.Errorf("bulk item %d: %d actions in one line", len(items), len(action))
		}
		for op, meta := range action {
			item := Item{Op: op, Index: index, meta: meta}
			for field, to := range map[string]any{"_index": &item.Index, "_id": &item.ID, "version": &item.Version} {
				if raw, ok := meta[field]; ok {
					if err := json.Unmarshal(raw, to); err != nil {
						return nil, fmt.Errorf("bulk item %d: %s: %w", len(items), field, err)
					}
				}
			}
			if op != "delete" {
				item.Source, body = cutLine(body)
				if len(item.Source) == 0 {
					return nil, fmt.Errorf("bulk item %d: %s without a source", len(items), op)
				}
			}
			items = append(items, item)
		}
	}
	return items, nil
}

func cutLine(body []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(body, []byte{'\n'})
	return line, rest
}

// writeTo appends the item's lines, without its version if strip says so.
func (i Item) writeTo(b *bytes.Buffer, strip bool) error {
	meta := i.meta
	if strip {
		meta = make(map[string]json.RawMessage, len(i.meta))
		for field, raw := range i.meta {
			if field != "version" && field != "version_type" {
				meta[field] = raw
			}
		}
	}
	line, err := json.Marshal(map[string]map[string]json.RawMessage{i.Op: meta})
	if err != nil {
		return fmt.Errorf("bulk item %s/%s: %w", i.Index, i.ID, err)
	}
	b.Write(line)
	b.WriteByte('\n')
	if i.Op != "delete" {
		b.Write(i.Source)
		b.WriteByte('\n')
	}
	return nil
}

// record counts what Elasticsearch answered for the items that it saw and returns the whole answer, with the faults at
// their places.
func (e *Elastic) record(items []Item, faults []int, data []byte) ([]byte, error) {
	var answer struct {
		Took   int                          `json:"took"`
		Errors bool                         `json:"errors"`
		Items  []map[string]json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("the answer to a bulk request: %w", err)
	}
	all := make([]map[string]json.RawMessage, 0, len(items))
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, item := range items {
		if status := faults[i]; status != 0 {
			e.stats.Refused++
			answer.Errors = true
			all = append(all, item.fault(status))
			continue
		}
		if len(answer.Items) == 0 {
			return nil, errors.New("the answer to a bulk request has fewer items than the request")
		}
		var result struct {
			Status int   `json:"status"`
			Seq    int64 `json:"_seq_no"`
		}
		if err := json.Unmarshal(answer.Items[0][item.Op], &result); err != nil {
			return nil, fmt.Errorf("the answer to bulk item %s/%s: %w", item.Index, item.ID, err)
		}
		e.recordItem(item, result.Status, result.Seq)
		all = append(all, answer.Items[0])
		answer.Items = answer.Items[1:]
	}
	answer.Items = all
	return json.Marshal(answer)
}

// recordItem runs under e.mu.
func (e *Elastic) recordItem(item Item, status int, seq int64) {
	conflict := status == http.StatusConflict
	if !conflict && status/100 != 2 && !(status == http.StatusNotFound && item.Op == "delete") {
		e.stats.Refused++
		return
	}
	if e.confirmed != nil {
		e.confirmed(item)
	}
	if conflict {
		e.stats.Conflicts++
		e.stats.Repeats++
		return
	}
	e.stats.Acknowledged++
	if item.Version == 0 {
		return
	}
	now := write{version: item.Version, seq: seq}
	last, seen := e.acknowledged[key{item.Index, item.ID}]
	if !seen {
		e.acknowledged[key{item.Index, item.ID}] = now
		return
	}
	if last.version == now.version {
		e.stats.Repeats++
	}
	older, newer := last, now
	if now.seq < last.seq { // answers may overtake each other
		older, newer = now, last
	}
	if newer.version < older.version {
		e.stats.Regressions++
	}
	e.acknowledged[key{item.Index, item.ID}] = newer
}

// fault is the answer for an item that Elasticsearch did not see.
func (i Item) fault(status int) map[string]json.RawMessage {
	kind := "proxy_fault"
	switch status {
	case 400:
		kind = "mapper_parsing_exception"
	case 429:
		kind = "es_rejected_execution_exception"
	}
	raw, err := json.Marshal(map[string]any{"_index": i.Index, "_id": i.ID, "status": status,
		"error": map[string]string{"type": kind, "reason": "made by the test's proxy"}})
	if err != nil {
		panic(err) // strings and numbers only
	}
	return map[string]json.RawMessage{i.Op: raw}
}
