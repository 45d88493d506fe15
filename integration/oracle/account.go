package oracle

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/big"
	"strconv"
	"strings"
)

// maxText is how long the list in txt becomes; its oldest entries are cut off.
const maxText = 120

// columns of a Workload's table, but the first, which is the key, and crc, which the server computes of all the others that change.
const createTable = ` (
	id BIGINT NOT NULL PRIMARY KEY,
	ver BIGINT NOT NULL,
	writer INT NOT NULL,
	seq BIGINT NOT NULL,
	bal DECIMAL(12,2) NOT NULL,
	name VARCHAR(100) CHARACTER SET utf8mb4 NOT NULL,
	note TEXT CHARACTER SET utf8mb4,
	at DATETIME(3),
	txt VARCHAR(120) CHARACTER SET utf8mb4 NOT NULL,
	crc BIGINT AS (CRC32(CONCAT_WS('|', id, ver, writer, seq, CAST(bal * 100 AS SIGNED), name, IFNULL(note, '-'), txt))) STORED
)`

// A change is one statement of a Workload: the writer's number and its count.
type change struct{ writer, seq int64 }

// account is a document of a Workload's table.
type account struct {
	ID     int64
	Ver    int64
	Writer int64
	Seq    int64
	Bal    json.Number
	Name   string
	Note   *string
	Txt    string
	CRC    *uint32
}

// changes returns the changes that the document says it has gone through, the newest last, or what is torn about it.
func (a account) changes() ([]change, error) {
	if a.CRC == nil {
		return nil, fmt.Errorf("it has no crc")
	}
	bal, ok := new(big.Rat).SetString(a.Bal.String())
	if !ok {
		return nil, fmt.Errorf("bal %q is not a number", a.Bal)
	}
	note := "-"
	if a.Note != nil {
		note = *a.Note
	}
	cents := bal.Mul(bal, big.NewRat(100, 1))
	row := fmt.Sprintf("%d|%d|%d|%d|%s|%s|%s|%s", a.ID, a.Ver, a.Writer, a.Seq, cents.RatString(), a.Name, note, a.Txt)
	if sum := crc32.ChecksumIEEE([]byte(row)); sum != *a.CRC {
		return nil, fmt.Errorf("it is torn: crc %d, its fields have %d", *a.CRC, sum)
	}
	list := strings.Split(a.Txt, ",")
	if len(a.Txt) == maxText {
		list = list[1:] // cut off in its middle
	}
	var changes []change
	newest := make(map[int64]int64)
	for _, entry := range list {
		w, s, ok := strings.Cut(entry, ":")
		writer, err := strconv.ParseInt(w, 10, 64)
		seq, err2 := strconv.ParseInt(s, 10, 64)
		if !ok || err != nil || err2 != nil {
			return nil, fmt.Errorf("txt %q has the entry %q", a.Txt, entry)
		}
		if seq <= newest[writer] {
			return nil, fmt.Errorf("txt %q is out of order at %q", a.Txt, entry)
		}
		newest[writer] = seq
		changes = append(changes, change{writer, seq})
	}
	if len(changes) == 0 || changes[len(changes)-1] != (change{a.Writer, a.Seq}) {
		return nil, fmt.Errorf("txt %q does not end with %d:%d", a.Txt, a.Writer, a.Seq)
	}
	return changes, nil
}
