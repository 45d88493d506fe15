// Package status holds what a node reports about itself: plain values that are served as JSON, printed as a table for
// people and read by Prometheus. It measures nothing; whoever does the work fills a Report.
//
// What is unknown is left out: a pointer is nil, a time zero, a text empty. Nothing here holds a secret or a row's values.
package status

import "time"

// A Report is what one node knows at one moment.
type Report struct {
	Time          time.Time `json:"time"` // when it was made
	Node          string    `json:"node"`
	Version       string    `json:"version"` // of the program
	Started       time.Time `json:"started,omitzero"`
	ClusterID     string    `json:"cluster_id,omitempty"`
	Leader        string    `json:"leader,omitempty"` // "" while there is none
	Term          uint64    `json:"term"`
	Applied       uint64    `json:"applied"` // index of the newest log entry that State reflects
	StateHash     string    `json:"state_hash,omitempty"`
	ConfigVersion uint64    `json:"config_version"`
	// ConfigDiffers says in words what the file given at the start would change.
	ConfigDiffers []string `json:"config_differs,omitempty"`
	Healthy       bool     `json:"healthy"` // no Problems
	// Problems are sentences: what is wrong with what, and what to do.
	Problems   []string `json:"problems,omitempty"`
	Quarantine int      `json:"quarantine"` // documents set aside
	Nodes      []Node   `json:"nodes"`
	// Tolerates is how many nodes can fail now before there is no majority left; nil while that is unknown.
	Tolerates *int     `json:"tolerates,omitempty"`
	Sources   []Source `json:"sources"`
	Duties    []Duty   `json:"duties"`
	Clients   []Client `json:"clients,omitempty"` // of canal's protocol
}

// A Client is one of canal's protocol that has subscribed.
type Client struct {
	ID          string   `json:"id"` // destination/number
	Destination string   `json:"destination"`
	Filter      string   `json:"filter,omitempty"`
	Address     string   `json:"address,omitempty"` // it is connected from there
	Position    string   `json:"position"`          // everything before it is acknowledged
	Version     string   `json:"version"`           // of the last event before Position
	LagSeconds  *float64 `json:"lag_seconds,omitempty"`
	LagBytes    *uint64  `json:"lag_bytes,omitempty"`
	Batches     int      `json:"batches"`              // handed out and not acknowledged
	Bytes       uint64   `json:"bytes"`                // of them
	LastError   string   `json:"last_error,omitempty"` // that it was told last
}

// NodeState says what a node does.
type NodeState string

// The states of a node.
const (
	NodeWorks       NodeState = "works"
	NodeDrains      NodeState = "drains"      // is told to stop, and hands over
	NodeNoLease     NodeState = "no lease"    // answers, but no leader renews its lease: it begins no write
	NodeUnreachable NodeState = "unreachable" // does not answer the node that was asked
)

// A Node is one process of the cluster.
type Node struct {
	Name         string    `json:"name"`
	Address      string    `json:"address"` // of its node port
	HTTP         string    `json:"http,omitempty"`
	Version      string    `json:"version,omitempty"`
	Started      time.Time `json:"started,omitzero"`
	State        NodeState `json:"state"`
	LastError    string    `json:"last_error,omitempty"` // why it is unreachable
	Leads        bool      `json:"leads"`
	Votes        bool      `json:"votes"`
	Term         uint64    `json:"term"`
	Applied      uint64    `json:"applied"`
	StateHash    string    `json:"state_hash,omitempty"` // of the state at Applied
	LeaseSeconds float64   `json:"lease_seconds"`        // how much is left
	Stall        *Stall    `json:"stall,omitempty"`      // of what the leader does for all
}

// A Stall is a step that is due and has not got on for some time.
type Stall struct {
	Step    string  `json:"step"` // "source", "read", "feed", "map", "write", "acknowledge", "save position", or what is waited for
	Seconds float64 `json:"seconds"`
}

// SourceState says what a source does.
type SourceState string

// The states of a source.
const (
	SourceConnecting SourceState = "connecting"
	SourceStreaming  SourceState = "streaming"
	SourceHeld       SourceState = "held"      // full ring: waits for its slowest reader
	SourceElsewhere  SourceState = "elsewhere" // HeldBy reads it
	SourcePaused     SourceState = "paused"    // by a person
	SourceStopped    SourceState = "stopped"
	SourceIdle       SourceState = "idle" // no duty needs it
)

// A Source is one MySQL server that is followed.
type Source struct {
	Name      string      `json:"name"`
	State     SourceState `json:"state"`
	Since     time.Time   `json:"since,omitzero"`    // of State
	HeldBy    string      `json:"held_by,omitempty"` // host:port of another program that reads the source
	Stall     *Stall      `json:"stall,omitempty"`
	LastError string      `json:"last_error,omitempty"`
	ErrorTime time.Time   `json:"error_time,omitzero"`
	Server    Server      `json:"server"`
	Epoch     uint32      `json:"epoch"`
	// Newest is the end of what was read, with the version of its last event.
	Newest        string    `json:"newest,omitempty"`
	NewestVersion string    `json:"newest_version,omitempty"`
	NewestTime    time.Time `json:"newest_time,omitzero"` // commit time of the newest transaction read, on the source's clock
	GTIDMode      string    `json:"gtid_mode,omitempty"`
	// LagSeconds is how far reading is behind the server, counted from now.
	LagSeconds *float64 `json:"lag_seconds,omitempty"`
	LagBytes   *uint64  `json:"lag_bytes,omitempty"`
	// FilesUntilPurge is how many files lie between the oldest that the server keeps and the oldest that a duty needs.
	FilesUntilPurge   *int      `json:"files_until_purge,omitempty"`
	SecondsUntilPurge *float64  `json:"seconds_until_purge,omitempty"` // until the server deletes a file that a duty needs
	RetentionSeconds  *float64  `json:"retention_seconds,omitempty"`   // for how long the server keeps a file that it has ended
	Needed            string    `json:"needed,omitempty"`              // the oldest file that a duty needs, when the server has ended it
	PurgeNear         bool      `json:"purge_near,omitempty"`          // Needed is one of the two oldest, and old ones were deleted lately
	EventsRead        uint64    `json:"events_read"`
	BytesRead         uint64    `json:"bytes_read"`
	RowsFiltered      uint64    `json:"rows_filtered"` // rows events of tables that nobody wants
	Reconnects        uint64    `json:"reconnects"`
	RingBytes         uint64    `json:"ring_bytes"`
	CatchUps          []CatchUp `json:"catch_ups,omitempty"` // private streams of duties that fell behind
	CaughtUp          uint64    `json:"caught_up"`           // how many have ended
	XA                *XA       `json:"xa,omitempty"`        // while there are any
}

// XA says which XA transactions with rows of mapped tables are prepared and neither committed nor rolled back, as far as the
// leader knows since it began to read. Their rows come with XA COMMIT; the server must keep its log from At until then.
type XA struct {
	Open  int       `json:"open"`
	Since time.Time `json:"since,omitzero"` // when the first of them was prepared, on the source's clock
	At    string    `json:"at"`
}

// A CatchUp is a private stream of a duty that fell behind the shared one.
type CatchUp struct {
	Duty  string    `json:"duty"`
	From  string    `json:"from"` // position
	Since time.Time `json:"since"`
}

// A Server is who answered at a source's address.
type Server struct {
	Address string `json:"address,omitempty"`
	UUID    string `json:"uuid,omitempty"`
	Version string `json:"version,omitempty"`
}

// Stage says what a duty does.
type Stage string

// The stages of a duty.
const (
	Idle      Stage = "idle"    // everything that the source has is written
	Reading   Stage = "reading" // waits for rows that the source has
	Working   Stage = "working"
	Waiting   Stage = "waiting" // for WaitingFor; heals itself
	Stuck     Stage = "stuck"   // on LastError; retries, but does not get on
	Paused    Stage = "paused"  // by a person
	NeedsLoad Stage = "needs load"
	Stopped   Stage = "stopped" // until a person has acted
	Done      Stage = "done"    // a load that has ended
)

// Stuck reports whether a duty in this stage needs a person.
func (s Stage) Stuck() bool { return s == Stuck || s == NeedsLoad || s == Stopped }

// A Duty is one source × mapping that is streamed or loaded.
type Duty struct {
	ID            string    `json:"id"`
	Kind          string    `json:"kind"` // "stream", "load"
	Node          string    `json:"node,omitempty"`
	Epoch         uint64    `json:"epoch"`          // of the assignment
	Config        uint64    `json:"config_version"` // that it was assigned for
	Stage         Stage     `json:"stage"`
	WaitingFor    string    `json:"waiting_for,omitempty"`
	Since         time.Time `json:"since,omitzero"` // of Stage
	Stall         *Stall    `json:"stall,omitempty"`
	IdleSeconds   float64   `json:"idle_seconds"` // since it last took, wrote or acknowledged something
	LastError     string    `json:"last_error,omitempty"`
	ErrorTime     time.Time `json:"error_time,omitzero"`
	Position      string    `json:"position,omitempty"` // saved: the destination has everything before it
	Version       string    `json:"version,omitempty"`  // of the last event before Position
	LagSeconds    *float64  `json:"lag_seconds,omitempty"`
	LagBytes      *uint64   `json:"lag_bytes,omitempty"`
	Counters      Counters  `json:"counters"` // since it came to its node
	RowsPerSecond float64   `json:"rows_per_second"`
	Load          *Load     `json:"load,omitempty"`
	Fanouts       []Fanout  `json:"fanouts,omitempty"` // what is rendered beside the stream, the first one now
	// Quarantine is how many documents of the mapping are set aside, of at most QuarantineLimit; both are the stream's.
	Quarantine      int `json:"quarantine"`
	QuarantineLimit int `json:"quarantine_limit,omitempty"`
	// Later is how many of them have, at the destination, a version of a later epoch than the source's: its state is older than that.
	Later int `json:"later,omitempty"`
}

// Counters count what a duty did since it came to its node, or its configuration changed.
type Counters struct {
	Read          uint64 `json:"read"`     // rows
	Filtered      uint64 `json:"filtered"` // of them, those that no document is made of; 0 where the server renders the documents
	Account              // of the documents
	Retries       uint64 `json:"retries"`        // requests sent again
	NulledValues  uint64 `json:"nulled_values"`  // written as null: dates of no calendar, and what on_overflow and on_invalid say
	ClippedValues uint64 `json:"clipped_values"` // by on_overflow and on_invalid
	InFlight      int    `json:"in_flight"`      // requests now on the way
}

// An Account says what became of the changes of documents: Changes is the sum of all the others.
type Account struct {
	Changes  uint64 `json:"changes"`
	Merged   uint64 `json:"merged"`    // replaced by a later change of the same document before they were sent
	Applied  uint64 `json:"applied"`   // confirmed by the destination
	Older    uint64 `json:"older"`     // refused as older than what is there
	SetAside uint64 `json:"set_aside"` // set aside
	Held     uint64 `json:"held"`      // not yet any of these
}

// Unaccounted is how many changes nobody knows anything about. It is 0, or something is wrong with canalgo.
func (a Account) Unaccounted() int64 {
	return int64(a.Changes) - int64(a.Merged+a.Applied+a.Older+a.SetAside+a.Held)
}

// Load is how far a load has come.
type Load struct {
	Phase         string   `json:"phase"` // "copying", "sweeping", "done"
	Rows          uint64   `json:"rows"`
	Total         uint64   `json:"total"` // estimate
	RowsPerSecond float64  `json:"rows_per_second"`
	SecondsLeft   *float64 `json:"seconds_left,omitempty"`
	Swept         uint64   `json:"swept"`           // documents that belonged to no row
	Runs          uint64   `json:"runs"`            // how often it was started or had to start again
	Where         string   `json:"where,omitempty"` // condition of the rows that are a part of all, "" for all
}

// A Fanout is the documents that a change of other rows touches, so many that they are rendered beside the stream.
type Fanout struct {
	Rows    string    `json:"rows,omitempty"`  // by which the SQL calls the table whose rows changed; "" for one that was emptied
	Version string    `json:"version"`         // of the newest change
	Done    uint64    `json:"done"`            // documents
	Total   uint64    `json:"total"`           // of them in all; 0 while it is not known
	Again   bool      `json:"again,omitempty"` // the same rows changed meanwhile: each document is rendered again, from where it was
	Since   time.Time `json:"since"`
}

// Stuck reports whether something needs a person: a source or duty that does not get on by itself.
func (r Report) Stuck() bool {
	for _, s := range r.Sources {
		if s.State == SourceStopped {
			return true
		}
	}
	for _, d := range r.Duties {
		if d.Stage.Stuck() {
			return true
		}
	}
	return false
}

// Connected reports whether every source that is to be followed is being read.
func (r Report) Connected() bool {
	for _, s := range r.Sources {
		if s.State == SourceConnecting || s.State == SourceStopped {
			return false
		}
	}
	return true
}

// Duty returns the duty with that id.
func (r Report) Duty(id string) (Duty, bool) {
	for _, d := range r.Duties {
		if d.ID == id {
			return d, true
		}
	}
	return Duty{}, false
}
