package event

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// A MariaDB server numbers the transactions of each domain in the order of its log, so the last one of each stands for all before
// it: 0-1-100,1-2-5 is DOMAIN-SERVER-NUMBER, once for each domain.

// MariaDBGTID returns the GTID of a transaction of MariaDB.
func MariaDBGTID(domain, server uint32, n int64) GTID {
	return GTID{Tag: fmt.Sprintf("%d-%d", domain, server), N: n}
}

func (g GTID) isMariaDB() bool { return g.UUID == uuid.Nil && g.Tag != "" }

// domain returns the domain of a GTID of MariaDB.
func (g GTID) domain() uint32 {
	text, _, _ := strings.Cut(g.Tag, "-")
	n, _ := strconv.ParseUint(text, 10, 32)
	return uint32(n)
}

// A mariadbSet has the last transaction of each domain.
type mariadbSet map[uint32]GTID

var oneMariaDB = regexp.MustCompile(`^(\d+)-(\d+)-(\d+)$`)

// likeMariaDB tells the text of a MariaDB's set from that of a MySQL's, which begins with a UUID.
func likeMariaDB(text string) bool {
	first, _, _ := strings.Cut(text, ",")
	return oneMariaDB.MatchString(first)
}

func parseMariaDB(text string) (mariadbSet, error) {
	set := mariadbSet{}
	for _, part := range strings.Split(text, ",") {
		m := oneMariaDB.FindStringSubmatch(part)
		if m == nil {
			return nil, malformedMariaDB(text)
		}
		domain, errD := strconv.ParseUint(m[1], 10, 32)
		server, errS := strconv.ParseUint(m[2], 10, 32)
		n, errN := strconv.ParseInt(m[3], 10, 64)
		if errD != nil || errS != nil || errN != nil || n < 1 {
			return nil, malformedMariaDB(text)
		}
		if _, twice := set[uint32(domain)]; twice {
			return nil, malformedMariaDB(text)
		}
		set[uint32(domain)] = MariaDBGTID(uint32(domain), uint32(server), n)
	}
	return set, nil
}

func malformedMariaDB(text string) error {
	return fmt.Errorf("GTID set %q is malformed: want DOMAIN-SERVER-NUMBER once for each domain, for example 0-1-100,1-2-5, with numbers from 1 on", text)
}

// add makes a transaction the last one of its domain: what comes later in the log, whatever its number.
func (s *mariadbSet) add(g GTID) {
	if *s == nil {
		*s = mariadbSet{}
	}
	(*s)[g.domain()] = g
}

// contains compares numbers: in a domain they rise with the order of the log, whichever server gave them.
func (s mariadbSet) contains(o mariadbSet) bool {
	for domain, last := range o {
		if s[domain].N < last.N {
			return false
		}
	}
	return true
}

func (s mariadbSet) String() string {
	var parts []string
	for _, domain := range slices.Sorted(maps.Keys(s)) {
		parts = append(parts, s[domain].String())
	}
	return strings.Join(parts, ",")
}
