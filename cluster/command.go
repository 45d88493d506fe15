package cluster

import (
	"time"

	"canalgo/event"
)

// A Command is one change of the State. Every type below is one; State.Apply says what each does and when it is refused.
type Command interface{ command() }

// The commands. Each is refused with an error, and changes nothing, when what it names does not exist or has moved on.
type (
	// SetConfig replaces the configuration. It is refused when Base is not the present version. The new version is
	// Base + 1, whatever Config.Version says. Duties of mappings that are gone go with their positions and quarantine (a
	// mapping that changed its source is gone from the old one); a new mapping's stream duty appears without a position.
	// Pauses of what is gone end. A load duty stays as long as its mapping, a client as long as its source.
	SetConfig struct {
		Base   uint64
		Config Config
	}

	// OpenEpoch gives a source a new epoch: max(present + 1, AtLeast). Refused when Was is not the present epoch.
	// With a Start, every stream duty and client of the source continues at Start, numbered from event.FirstCount. Without one the
	// server must be the present one, and each position keeps its place in the log: its count is shifted so that the
	// oldest becomes event.FirstCount (the number of events between two places does not change). Loads that are not
	// done begin again, as by StartLoad. Refused without a ServerUUID, and with a Start whose file is another server's.
	OpenEpoch struct {
		Source     string
		Was        uint32
		AtLeast    uint32
		ServerUUID string
		Start      event.Position // its Epoch and Count are set by Apply
		Why        string         // for the log
	}

	// SavePositions saves positions of stream duties. An entry whose Epoch is not the duty's present assignment epoch, or whose
	// position lies before the saved one, or is of another source epoch than the present one, is left out; the others are
	// saved. It is never refused.
	SavePositions struct {
		Saves map[DutyID]Save
	}

	// NoteTables keeps definitions of a source's tables, each from its ordinal on; one that is there from the same ordinal on is
	// replaced, unless it is known and the new one is not. What no position of the source's duties needs any more is left out then.
	// Before that, all that is kept of the tables in Forget goes. Refused when Epoch is not the source's present one or that of each
	// definition.
	NoteTables struct {
		Source      string
		Epoch       uint32
		Forget      []event.TableName  `json:",omitempty"`
		Definitions []event.Definition `json:",omitempty"`
	}

	// Assign gives duties to nodes, as its entries say, ConfigVersion too. An entry whose Epoch is not the present one + 1,
	// or whose duty is gone, is left out.
	Assign struct {
		Assignments map[DutyID]Assignment
	}

	// SetPaused pauses or resumes "source/NAME", "sink/NAME" or "mapping/NAME".
	SetPaused struct {
		What   string
		Paused bool
	}

	// StartLoad begins, or begins again, the load of a mapping, or of a part of its rows: its load duty appears with an empty LoadState
	// of one run more.
	StartLoad struct {
		Source, Mapping string
		Where           string `json:",omitempty"` // as in LoadState
	}

	// SaveLoad saves a load's progress. Refused when Epoch is not the duty's present assignment epoch or Runs is not
	// the present run.
	SaveLoad struct {
		Duty  DutyID
		Epoch Epoch
		Load  LoadState
	}

	// PutFanout adds a change to what is rendered beside a stream: to a Fanout whose Fan covers its own, which then goes round once
	// more, unless it is for a version as new; else as another one. Refused when Epoch is not the duty's present assignment epoch, and when
	// there are MaxFanouts.
	PutFanout struct {
		Duty    DutyID
		Epoch   Epoch
		Fan     Fan
		Version event.Version
		Since   time.Time
	}

	// SaveFanout says that documents of a Fanout are done, up to Key, or to the end of its pass. After the last pass it goes. Refused when
	// Epoch is not the duty's present assignment epoch, the Fanout is not there or not in that pass, or has a change newer than At.
	SaveFanout struct {
		Duty   DutyID
		Epoch  Epoch
		ID     uint64
		Second bool
		At     event.Version // the documents were read at this version
		Key    []string
		End    bool
		Done   uint64 // documents more
		Total  uint64
	}

	// SetIndex records the UUID of the destination's index of a stream duty, "" to forget it. Refused when an Epoch is
	// given that is not the duty's present assignment epoch.
	SetIndex struct {
		Duty  DutyID
		Epoch Epoch `json:",omitempty"` // 0 is not compared
		UUID  string
	}

	// NoteColumns keeps which columns a mapping knows of its tables, in place of what was kept; none forgets them. Refused when an Epoch
	// is given that is not the stream duty's present assignment epoch.
	NoteColumns struct {
		Duty    DutyID
		Epoch   Epoch   `json:",omitempty"` // 0 is not compared
		Columns Columns `json:",omitempty"`
	}

	// SetAside adds documents to the quarantine; an entry for a document (duty, index and _id) that is there already
	// replaces it and keeps its id. Refused as a whole when the duty of one entry is not a present stream, or when an
	// Epoch is given that is not the present assignment epoch of each entry's duty.
	SetAside struct {
		Epoch   Epoch         `json:",omitempty"` // 0 is not compared
		Entries []Quarantined // their ID is set by Apply
	}

	// Release takes entries out of the quarantine; ids that are not there are ignored.
	Release struct {
		IDs []uint64
	}

	// SetNode adds a member, or replaces what is known of the one of that name. Refused for a name that is not
	// ValidNodeName, without server id or address, and for a node that reads a lower version of commands than all the present ones.
	SetNode struct {
		Name string
		Node Node
	}

	// SetClient notes that a client of canal's protocol subscribes. One that is there keeps its position, and its filter unless one is
	// given. Refused for a source that is not there, for one more than MaxClients of it, and for a filter above MaxFilter.
	SetClient struct {
		ID     ClientID
		Filter string `json:",omitempty"`
	}

	// SaveClients saves what clients have acknowledged. An entry of a client that is not there, or whose position lies before the saved one,
	// or is of another source epoch than the present one, is left out; the others are saved. It is never refused.
	SaveClients struct {
		Positions map[ClientID]event.Position
	}

	// RemoveClient forgets a client with its position and filter.
	RemoveClient struct {
		ID ClientID
	}

	// RemoveNode removes a member. Refused when the present one of that name has another server id. What it held is for
	// the leader to assign again.
	RemoveNode struct {
		Name     string
		ServerID string
	}
)

// Save is one duty's new position.
type Save struct {
	Epoch    Epoch
	Position event.Position
}

func (SetConfig) command()     {}
func (OpenEpoch) command()     {}
func (SavePositions) command() {}
func (NoteTables) command()    {}
func (Assign) command()        {}
func (SetPaused) command()     {}
func (StartLoad) command()     {}
func (SaveLoad) command()      {}
func (PutFanout) command()     {}
func (SaveFanout) command()    {}
func (SetIndex) command()      {}
func (NoteColumns) command()   {}
func (SetAside) command()      {}
func (Release) command()       {}
func (SetNode) command()       {}
func (RemoveNode) command()    {}
func (SetClient) command()     {}
func (SaveClients) command()   {}
func (RemoveClient) command()  {}
