package event

import (
	"fmt"
	"maps"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/google/uuid"
)

// A GTID names one transaction. The zero GTID is none.
type GTID struct {
	UUID uuid.UUID // zero in MariaDB
	Tag  string    // MySQL 8.3 and later, usually ""; in MariaDB DOMAIN-SERVER
	N    int64
}

// IsZero reports whether it names no transaction.
func (g GTID) IsZero() bool { return g.N == 0 }

// String prints uuid:n or uuid:tag:n, for MariaDB domain-server-n.
func (g GTID) String() string {
	switch {
	case g.IsZero():
		return ""
	case g.isMariaDB():
		return fmt.Sprintf("%s-%d", g.Tag, g.N)
	case g.Tag != "":
		return fmt.Sprintf("%s:%s:%d", g.UUID, g.Tag, g.N)
	}
	return fmt.Sprintf("%s:%d", g.UUID, g.N)
}

// A GTIDRun is a run of consecutive GTIDs, First.N to Last.
type GTIDRun struct {
	First GTID
	Last  int64
}

// Run returns the run of this transaction alone; of the zero GTID, one that is none.
func (g GTID) Run() GTIDRun { return GTIDRun{First: g, Last: g.N} }

// A GTIDSet is a set of executed transactions: of MySQL with its gaps; of MariaDB the last one of each domain, with all before it. The
// zero value is empty. It is not safe for several goroutines.
type GTIDSet struct {
	set     mysql.MysqlGTIDSet
	domains mariadbSet
}

// ParseGTIDSet parses the server's text form; "" is the empty set.
func ParseGTIDSet(s string) (GTIDSet, error) {
	if s == "" {
		return GTIDSet{}, nil
	}
	if likeMariaDB(s) {
		domains, err := parseMariaDB(s)
		return GTIDSet{domains: domains}, err
	}
	parsed, err := mysql.ParseMysqlGTIDSet(s)
	if err != nil {
		return GTIDSet{}, malformedSet(s)
	}
	set := *parsed.(*mysql.MysqlGTIDSet)
	for _, tags := range set {
		for _, intervals := range tags {
			for _, i := range intervals {
				if i.Start < 1 || i.Stop <= i.Start {
					return GTIDSet{}, malformedSet(s)
				}
			}
		}
	}
	return GTIDSet{set: set}, nil
}

func malformedSet(s string) error {
	return fmt.Errorf("GTID set %q is malformed: want UUID:FIRST-LAST, for example 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5, with numbers from 1 on and FIRST not above LAST", s)
}

// Add adds the transactions of a run.
func (s *GTIDSet) Add(r GTIDRun) {
	if r.First.IsZero() {
		return
	}
	if r.First.isMariaDB() {
		s.domains.add(GTID{Tag: r.First.Tag, N: r.Last})
		return
	}
	if s.set == nil {
		s.set = mysql.NewMysqlGTIDSet()
	}
	tag := mysql.NewTag(r.First.Tag)
	tags := s.set[r.First.UUID]
	if tags == nil {
		tags = map[mysql.Tag]mysql.IntervalSlice{}
		s.set[r.First.UUID] = tags
	}
	intervals := tags[tag]
	// The common case: the run continues the last interval.
	if n := len(intervals); n > 0 && intervals[n-1].Stop == r.First.N {
		intervals[n-1].Stop = r.Last + 1
		return
	}
	tags[tag] = append(intervals, mysql.Interval{Start: r.First.N, Stop: r.Last + 1}).Normalize()
}

// Contains reports whether every transaction of o is in s.
func (s GTIDSet) Contains(o GTIDSet) bool {
	if !s.domains.contains(o.domains) {
		return false
	}
	if len(o.set) == 0 {
		return true
	}
	if s.set == nil {
		return false
	}
	return s.set.Contain(&o.set)
}

// IsEmpty reports whether the set holds no transaction.
func (s GTIDSet) IsEmpty() bool { return len(s.set) == 0 && len(s.domains) == 0 }

// Clone returns an independent copy.
func (s GTIDSet) Clone() GTIDSet {
	c := GTIDSet{domains: maps.Clone(s.domains)}
	if s.set != nil {
		c.set = *s.set.Clone().(*mysql.MysqlGTIDSet)
	}
	return c
}

// Encode returns the binary form of COM_BINLOG_DUMP_GTID, which MariaDB does not have.
func (s GTIDSet) Encode() []byte {
	if s.set == nil {
		empty := mysql.NewMysqlGTIDSet()
		return empty.Encode()
	}
	return s.set.Encode()
}

// String prints the server's text form, sorted.
func (s GTIDSet) String() string {
	if s.set == nil {
		return s.domains.String()
	}
	return s.set.String()
}

// AddSet adds the transactions of o.
func (s *GTIDSet) AddSet(o GTIDSet) {
	for domain, last := range o.domains {
		if !s.domains.contains(mariadbSet{domain: last}) {
			s.domains.add(last)
		}
	}
	for sid, tags := range o.set {
		for tag, intervals := range tags {
			for _, i := range intervals {
				s.Add(GTIDRun{First: GTID{UUID: sid, Tag: tag.String(), N: i.Start}, Last: i.Stop - 1})
			}
		}
	}
}
