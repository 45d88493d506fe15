// Package event holds what flows from a source to a sink: events as the server sent them, rows as a worker decodes
// them, the tables they belong to, and the positions and versions that order them.
//
// It imports nothing else of canalgo. Values of these types are not changed once they have been handed on; a Table is
// shared by all rows that were decoded with it.
package event

import "time"

// A Batch is one transaction, or a piece of a large one, in binary log order.
type Batch struct {
	Seq    uint64  // the receipt to acknowledge; rises within one feed
	Events []Event // in order; each piece repeats the format description and the table maps that its rows need
	GTID   GTID    // of the transaction, in each of its pieces; zero without GTIDs. It is executed where the transaction Ends
	// End is where to resume after this batch; in a piece that does not end its transaction, still the end of the
	// previous transaction. End.GTIDs is empty here: a cursor fills it in when the position is saved.
	End   Position
	Bytes int // size of the events' raw bytes
}

// Last returns the version of the batch's last event, or of its end when it has none.
func (b Batch) Last() Version {
	v := b.End.Version()
	for i := len(b.Events) - 1; i >= 0; i-- {
		if b.Events[i].Version != 0 {
			return max(v, b.Events[i].Version)
		}
	}
	return v
}

// Ends reports whether the batch ends its transaction.
func (b Batch) Ends() bool { return b.Last() <= b.End.Version() }

// Executed returns the transaction that is executed where the batch ends, none inside of one.
func (b Batch) Executed() GTID {
	if !b.Ends() {
		return GTID{}
	}
	return b.GTID
}

// Kind says what an Event is.
type Kind uint8

// The kinds of Event that travel in a Batch.
const (
	FormatDescription Kind = iota + 1 // Raw only
	TableMap                          // Raw and Table
	Rows                              // Raw, Table and Version
	Statement                         // Statement and Version
	// Defined stands before a table map without the names of columns. In the log of a source it has only Table; in a feed Raw holds
	// the Definition with which the rows that follow were written, as EncodeDefinition writes it.
	Defined

	// What follows is there only for who reads the whole log and asks for it. It travels in no feed, and a cursor of a duty leaves it out.
	Group  // Raw: a GTID, named or anonymous, which heads what the server calls a group
	Begin  // Raw: a query, BEGIN or XA START
	Commit // Raw: an XID, or a query, COMMIT or XA END
	Query  // Raw: a statement, or the text of one whose rows follow; Version of those that count
)

// An Event is one entry of the binary log.
type Event struct {
	Kind      Kind
	Version   Version   // of rows and statement events
	Table     TableName // of table maps and rows
	Raw       []byte    // header and body as sent, without a checksum; plain also when it came compressed
	Statement *Stmt     // of a Statement
	Origin    Origin    // of rows, and of what is only for who reads the whole log; not in a feed
}

// An Origin is where an event stands in the server's log. One that came compressed stands where its transaction does.
type Origin struct {
	File   string
	Offset uint64 // where it begins
	Size   uint32 // bytes, with its checksum
}

// TableName names a table as the server spells it.
type TableName struct{ Schema, Name string }

// String returns schema.table.
func (t TableName) String() string { return t.Schema + "." + t.Name }

// IsZero reports whether the name is unknown.
func (t TableName) IsZero() bool { return t == TableName{} }

// Action says what a statement event does to its tables.
type Action uint8

// The actions that a Stmt can have.
const (
	Truncate Action = iota + 1 // all rows of the tables go (TRUNCATE TABLE)
	Drop                       // the tables go with their rows (DROP TABLE, DROP DATABASE)
	Alter                      // a definition changes; the rows stay (CREATE, ALTER, RENAME)
	Change                     // rows change by a statement that was logged as text
	Missing                    // rows of the tables change, and the log does not give them; Text says why
	Unparsed                   // nobody could say what it does; Tables may be incomplete
)

// String returns the action's name.
func (a Action) String() string {
	switch a {
	case Truncate:
		return "truncate"
	case Drop:
		return "drop"
	case Alter:
		return "alter"
	case Change:
		return "change"
	case Missing:
		return "missing"
	case Unparsed:
		return "unparsed"
	}
	return "unknown"
}

// A Stmt is a statement that stands in the log as text.
type Stmt struct {
	Action Action
	// Tables are the tables it names. A TableName with an empty Name is a whole schema (DROP DATABASE).
	Tables []TableName
	// Text begins the statement, for messages. Statements about users and grants never get here: they hold password hashes.
	Text string
}

// Op says what happened to a row.
type Op uint8

// The operations of a Row.
const (
	Insert     Op = iota + 1 // After
	Update                   // Before and After
	Delete                   // Before
	DeleteAll                // neither: every row of the table is gone (TRUNCATE TABLE)
	DropTable                // neither: the table is gone
	tableOpEnd               // keep last
)

// String returns the operation's name.
func (o Op) String() string {
	return [...]string{"unknown", "insert", "update", "delete", "truncate", "drop", "unknown"}[min(o, tableOpEnd)]
}

// A Row is one changed row. Its values stand in the order of Table.Columns and are, by the column's type:
//
//	nil                               NULL
//	int8..int64, uint8..uint64        integers; YEAR; BIT as unsigned
//	float32, float64                  FLOAT, DOUBLE
//	string                            DECIMAL with all its digits; DATE, TIME, DATETIME as MySQL prints them with the
//	                                  column's fraction width; TIMESTAMP likewise, in UTC; text as UTF-8; ENUM and SET as
//	                                  labels; JSON as text
//	[]byte                            BINARY (padded to its length), VARBINARY, BLOB, GEOMETRY (SRID and WKB), VECTOR;
//	                                  text that is none in its character set
//	Absent                            of a Partial row: the log does not have it
//
// A load and the stream give equal values for equal rows.
type Row struct {
	Table         *Table
	Op            Op
	Version       Version
	Before, After []any
	// Partial rows were written with a row image that leaves columns out. What an update's After lacks is as it was: it has the value
	// of Before, where that is known.
	Partial bool
	Time    time.Time // when the change was committed, on the source's clock, to the second; zero for loads
}

// Absent stands where an image lacks a column's value. It is no value, and nothing that takes one takes it.
var Absent any = absent{}

type absent struct{}

// String returns "absent".
func (absent) String() string { return "absent" }

// Lacks returns the first of some columns whose value an image lacks, or -1.
func Lacks(image []any, columns []int) int {
	for _, i := range columns {
		if image[i] == Absent {
			return i
		}
	}
	return -1
}

// A Table is the definition that a row was written with.
type Table struct {
	Name    TableName
	Columns []Column
	Key     []int // indexes of the primary key's columns, in the key's order; empty without a primary key
}

// Column returns the index of the column with that name in any letter case, or -1.
func (t *Table) Column(name string) int {
	for i := range t.Columns {
		if equalFold(t.Columns[i].Name, name) {
			return i
		}
	}
	return -1
}

// Type is a column's MySQL type.
type Type uint8

// The types of columns.
const (
	TinyInt Type = iota + 1
	SmallInt
	MediumInt
	Int
	BigInt
	Decimal
	Float
	Double
	Bit
	Year
	Date
	Time
	DateTime
	Timestamp
	Char // CHAR and VARCHAR
	Text // TINYTEXT to LONGTEXT
	Binary
	VarBinary
	Blob // TINYBLOB to LONGBLOB
	Enum
	Set
	JSON
	Geometry // all spatial types
	Vector
)

var typeNames = [...]string{"unknown", "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "bit",
	"year", "date", "time", "datetime", "timestamp", "char", "text", "binary", "varbinary", "blob", "enum", "set", "json", "geometry", "vector"}

// String returns the type's name in SQL.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown"
}

// A Column is one column of a Table.
type Column struct {
	Name      string
	Type      Type
	Unsigned  bool
	Length    int      // BINARY(n): bytes; BIT(n): bits; DECIMAL(p,s): p; DATETIME(n), TIMESTAMP(n), TIME(n): n; else 0
	Scale     int      // DECIMAL(p,s): s
	Charset   string   // of text, ENUM and SET: "utf8mb4", "latin1", ...
	Collation string   // of text, ENUM and SET: "utf8mb4_0900_ai_ci", ...
	Labels    []string // of ENUM and SET, UTF-8, in the definition's order
	Declared  string   `json:"-"` // the type as SHOW CREATE TABLE spells it; most have none
}

func equalFold(a, b string) bool {
	if len(a) == len(b) {
		same := true
		for i := 0; i < len(a); i++ {
			if a[i] >= 0x80 || b[i] >= 0x80 {
				same = a == b
				break
			}
			if lower(a[i]) != lower(b[i]) {
				same = false
				break
			}
		}
		return same
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// A StopError ends a duty until a person has acted: trying again would not help, going on would lose or falsify rows.
type StopError struct {
	Reason string // what is wrong, with the table, statement or value it is about
	Fix    string // what would put it right
}

func (e *StopError) Error() string {
	if e.Fix == "" {
		return e.Reason
	}
	return e.Reason + "; " + e.Fix
}
