// Package cluster holds the plain types of the replicated state and how a Command changes it.
//
// A State is a value: Apply returns a new one and leaves the old one untouched, so that a reader can keep what it got.
// Apply is total and pure: no clock, no randomness, no map order; the same state and command give the same result on
// every node. Whoever replicates commands (raftfsm, zkmode, memory) only encodes, orders and applies them.
package cluster

import (
	"encoding/json"
	"errors"
	"time"

	"canalgo/event"
)

var (
	// ErrNotLeader is returned by what only a leader can do when this node does not lead in the given term.
	ErrNotLeader = errors.New("this node does not lead in that term")
	// ErrAlone means that there is nobody else who could lead.
	ErrAlone = errors.New("there is no other voter")
	// ErrRemoved ends a node that was removed from the cluster, or replaced by another one of its name.
	ErrRemoved = errors.New("this node was removed from the cluster: wipe its data folder, then it can join again")
)

// Term numbers leaders; it rises with each.
type Term uint64

// Epoch numbers the assignments of one duty; it rises each time the duty moves.
type Epoch uint64

// DutyKind says what sort of work a duty is.
type DutyKind string

// The kinds of duties.
const (
	Stream DutyKind = "stream" // follow the source
	Load   DutyKind = "load"   // write the rows that exist
)

// A DutyID names one source × mapping and kind: the unit of assignment. As text it is "source/mapping" for the stream and
// "source/mapping#load" for the load.
type DutyID struct {
	Source, Mapping string
	Kind            DutyKind
}

// Config is the replicated configuration. The packages that own the sections decode their Spec.
type Config struct {
	Version  uint64                   `json:"version"` // rises with each change; 0 before the first
	Sources  map[string]SourceConfig  `json:"sources,omitempty"`
	Sinks    map[string]SinkConfig    `json:"sinks,omitempty"`
	Mappings map[string]MappingConfig `json:"mappings,omitempty"`
}

// A Spec is a section's settings as JSON, its secrets apart from them and sealed.
type Spec struct {
	Settings json.RawMessage   `json:"settings"`          // secrets stand in it as "***"
	Secrets  map[string][]byte `json:"secrets,omitempty"` // sealed values by the secret's key, for example "password"
}

// SourceConfig is one [source.NAME].
type SourceConfig struct {
	Spec Spec `json:"spec"`
}

// SinkConfig is one [sink.NAME].
type SinkConfig struct {
	Type string `json:"type"` // "elasticsearch", "logger"
	Spec Spec   `json:"spec"`
}

// MappingConfig is one [mapping.NAME].
type MappingConfig struct {
	Source string `json:"source"`
	Sink   string `json:"sink"`
	Load   string `json:"load,omitempty"` // "initial", or "" for none
	Spec   Spec   `json:"spec"`
}

// State is the whole replicated state. All maps are read-only for whoever got it.
type State struct {
	Config  Config            `json:"config"`
	Nodes   map[string]Node   `json:"nodes,omitempty"` // the members, by name
	Sources map[string]Source `json:"sources,omitempty"`
	Duties  map[DutyID]Duty   `json:"duties,omitempty"`
	// Clients are those of canal's protocol that have subscribed.
	Clients map[ClientID]Client `json:"clients,omitempty"`
	// Paused names what is paused: "source/NAME", "sink/NAME", "mapping/NAME".
	Paused         map[string]bool        `json:"paused,omitempty"`
	Quarantine     map[uint64]Quarantined `json:"quarantine,omitempty"`
	NextQuarantine uint64                 `json:"next_quarantine,omitempty"` // the id that the next entry gets; starts at 1
	// Retired is the highest assignment epoch of duties that are gone. A new duty begins at it, so that what is left of
	// an earlier duty of the same name is refused.
	Retired Epoch `json:"retired,omitempty"`
}

// Node is what the others know of one member.
type Node struct {
	ServerID string `json:"server_id"`          // its identity, made with its data folder
	Address  string `json:"address"`            // host:port of the node port, as others reach it
	HTTP     string `json:"http,omitempty"`     // host:port of its HTTP
	Version  string `json:"version,omitempty"`  // of canalgo
	Commands uint8  `json:"commands,omitempty"` // the highest version of commands and snapshots that it reads; 0 counts as 1
	nextNode        // what version 4 has more
}

// A Server is one node as the coordinator has it: who has a vote, and where it is reached.
type Server struct {
	Name    string
	ID      string // as Node.ServerID
	Address string // as Node.Address
	Voter   bool
}

// Source is what is known of one source beyond its configuration. One without a ServerUUID is not open yet, or was removed
// from the configuration; the next OpenEpoch names its epoch as Was all the same.
type Source struct {
	Epoch      uint32         `json:"epoch"`       // event.Version's epoch
	ServerUUID string         `json:"server_uuid"` // the epoch's server
	Start      event.Position `json:"start"`       // where the epoch began: what "current" was resolved to, or where the last epoch ended
	Tables     Tables         `json:"tables,omitempty"`
}

// Duty is one duty's state.
type Duty struct {
	Assignment Assignment     `json:"assignment"`
	Position   event.Position `json:"position,omitzero"` // streams only; zero before the first save
	Load       *LoadState     `json:"load,omitempty"`    // loads only
	Index      string         `json:"index,omitempty"`   // streams only: UUID of the destination's index, set at the mapping's first start
	Fanouts    []Fanout       `json:"fanouts,omitempty"` // streams only: what is rendered beside the stream, the first one now
	// Columns are what the mapping knows of its tables, of streams that do not take every new column: see NoteColumns.
	Columns Columns `json:"columns,omitempty"`
	// Config is the version of the configuration that last changed one of its sections.
	Config uint64 `json:"config,omitempty"`
}

// Columns are the names of tables' columns, by schema.table.
type Columns map[string][]string

// Assignment says which node does a duty.
type Assignment struct {
	Node          string `json:"node,omitempty"` // "" while nobody does
	Epoch         Epoch  `json:"epoch,omitempty"`
	ConfigVersion uint64 `json:"config_version,omitempty"` // the configuration it was made for
}

// A Fan is the documents that rows of a joined table are part of (mapping.Fan); the zero Fan is all documents.
type Fan struct {
	Element string     `json:"element,omitempty"`
	Columns []string   `json:"columns,omitempty"`
	Links   [][]string `json:"links,omitempty"` // as SQL literals
}

// A Fanout is documents that a change of other rows touches, which are rendered beside the stream in the order of their keys: those
// behind Key to the end, and then, if there is an Until, those from the start up to it.
type Fanout struct {
	ID      uint64        `json:"id"`
	Fan     Fan           `json:"fan"`
	Version event.Version `json:"version"`         // of the newest change that it is for: what is rendered earlier does not count
	Key     []string      `json:"key,omitempty"`   // of the last document that is done, as SQL literals
	Until   []string      `json:"until,omitempty"` // where the second pass ends; empty when there is none
	Second  bool          `json:"second,omitempty"`
	Done    uint64        `json:"done"`  // documents
	Total   uint64        `json:"total"` // of those of one whole pass; 0 while it is not known
	Since   time.Time     `json:"since"` // it began, on the node's clock
}

// MaxFanouts is how many a stream has at most.
const MaxFanouts = 16

// LoadState is how far a load has come.
type LoadState struct {
	// First is the version of the first chunk; the sweep deletes what is older. Of a part, it is the version below which all documents
	// were deleted since the load began.
	First   event.Version `json:"first,omitempty"`
	Where   string        `json:"where,omitempty"`    // SQL condition of the rows that are a part of all, "" for all
	LastKey []string      `json:"last_key,omitempty"` // key of the last row that the destination has, as SQL literals; empty at the start
	Rows    uint64        `json:"rows"`               // rows written
	Total   uint64        `json:"total"`              // estimate of all
	Swept   uint64        `json:"swept"`              // documents that the sweep deleted
	Phase   LoadPhase     `json:"phase"`
	Runs    uint64        `json:"runs"` // how often it was started or had to start again
}

// LoadPhase is what a load does now.
type LoadPhase string

// The phases of a load, in order.
const (
	LoadCopying  LoadPhase = "copying"
	LoadSweeping LoadPhase = "sweeping"
	LoadDone     LoadPhase = "done"
)

// Quarantined is one document that was set aside.
type Quarantined struct {
	ID       uint64         `json:"id"`
	Duty     DutyID         `json:"duty"` // always the stream duty of the mapping
	Index    string         `json:"index"`
	Document string         `json:"document"`           // its _id
	Routings []string       `json:"routings,omitempty"` // under which it may be, of a child
	Version  event.Version  `json:"version"`            // of the write that was refused
	Foreign  event.Version  `json:"foreign,omitempty"`
	Delete   bool           `json:"delete,omitempty"` // the refused write was a delete
	Reason   string         `json:"reason"`           // what the destination said
	Table    string         `json:"table,omitempty"`  // schema.table
	Key      []string       `json:"key,omitempty"`    // of the row, "column=literal" in the key's order
	Position event.Position `json:"position,omitzero"`
	Time     time.Time      `json:"time"` // of the refusal, on the node's clock
}
