package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"canalgo/event"
)

// A ClientID names a client of canal's protocol: the source that it reads, canal's destination, and its number. As text it is "source/1001".
type ClientID struct {
	Source string
	Number int16
}

// A Client is what is kept of one client of canal's protocol.
type Client struct {
	Filter   string         `json:"filter,omitempty"`  // of tables, as the client gave it; "" is none
	Position event.Position `json:"position,omitzero"` // everything before it is acknowledged; zero until it is known where the client begins
}

// String returns "source/1001".
func (c ClientID) String() string { return c.Source + "/" + strconv.Itoa(int(c.Number)) }

// ParseClientID reads what String prints.
func ParseClientID(text string) (ClientID, error) {
	source, digits, _ := strings.Cut(text, "/")
	number, err := strconv.ParseInt(digits, 10, 16)
	id := ClientID{Source: source, Number: int16(number)}
	if err != nil || !ValidName(source) || id.String() != text {
		return ClientID{}, fmt.Errorf("client %q: must be source/number", text)
	}
	return id, nil
}

// Compare orders clients by source and number.
func (c ClientID) Compare(d ClientID) int {
	return cmp.Or(cmp.Compare(c.Source, d.Source), cmp.Compare(c.Number, d.Number))
}

// MarshalText makes a ClientID a key of JSON objects.
func (c ClientID) MarshalText() ([]byte, error) {
	if !ValidName(c.Source) {
		return nil, fmt.Errorf("client %d of source %q: no such name", c.Number, c.Source)
	}
	return []byte(c.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (c *ClientID) UnmarshalText(text []byte) error {
	parsed, err := ParseClientID(string(text))
	if err != nil {
		return err
	}
	*c = parsed
	return nil
}

// MaxClients bounds how many clients of one source are kept, and MaxFilter the filter of each, in bytes.
const (
	MaxClients = 64
	MaxFilter  = 64 << 10
)

func (s State) setClient(c SetClient) (State, error) {
	if !s.Config.has("source", c.ID.Source) {
		return s, fmt.Errorf("client %s: %w", c.ID, ErrUnknown)
	}
	if len(c.Filter) > MaxFilter {
		return s, fmt.Errorf("client %s: a filter of %d bytes, at most %d: %w", c.ID, len(c.Filter), MaxFilter, ErrInvalid)
	}
	client, ok := s.Clients[c.ID]
	if !ok {
		others := 0
		for id := range s.Clients {
			if id.Source == c.ID.Source {
				others++
			}
		}
		if others >= MaxClients {
			return s, fmt.Errorf("client %s: source %s has %d clients already; unsubscribe one: %w", c.ID, c.ID.Source, others, ErrInvalid)
		}
	}
	if c.Filter != "" {
		client.Filter = c.Filter
	}
	s.Clients = with(s.Clients, c.ID, client)
	return s, nil
}

func (s State) saveClients(c SaveClients) State {
	saved := make(map[ClientID]Client, len(c.Positions))
	for id, p := range c.Positions {
		client, ok := s.Clients[id]
		if !ok || p.Epoch == 0 || p.Epoch != s.Sources[id.Source].Epoch || p.Count > event.MaxCount || p.Before(client.Position) { // rule 2
			continue
		}
		client.Position = p
		saved[id] = client
	}
	if len(saved) > 0 {
		s.Clients = maps.Clone(s.Clients)
		maps.Copy(s.Clients, saved)
	}
	return s
}

func (s State) removeClient(c RemoveClient) (State, error) {
	if _, ok := s.Clients[c.ID]; !ok {
		return s, fmt.Errorf("remove client %s: %w", c.ID, ErrUnknown)
	}
	s.Clients = maps.Clone(s.Clients)
	delete(s.Clients, c.ID)
	if len(s.Clients) == 0 {
		s.Clients = nil
	}
	return s, nil
}

// moveClients returns the clients with the positions of one source's changed.
func (s State) moveClients(source string, move func(event.Position) event.Position) map[ClientID]Client {
	moved := maps.Clone(s.Clients)
	for id, client := range moved {
		if id.Source == source && !client.Position.IsZero() {
			client.Position = move(client.Position)
			moved[id] = client
		}
	}
	return moved
}
