package oracle

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPositionsAreHeldAgainstTheLog sees two transactions: one of the rows 1 and 2 in two events, one of row 1 in the next file.
func TestPositionsAreHeldAgainstTheLog(t *testing.T) {
	log := []LoggedEvent{{File: "b.000001", End: 100, Tx: true}, {File: "b.000001", End: 200, IDs: []string{"1"}}, {File: "b.000001", End: 300, Tx: true, IDs: []string{"2"}},
		{File: "b.000002", End: 100, Tx: true, IDs: []string{"1"}}}
	type seen struct {
		position string
		count    uint64
	}
	for name, c := range map[string]struct {
		confirm []string // after each position but the last: ID@COUNT
		saves   []seen
		want    []string
	}{
		"all is well":           {[]string{"1@12 2@13", "1@14", ""}, []seen{{"b.000001:110", 11}, {"b.000001:310", 13}, {"b.000002:4", 13}, {"b.000002:110", 14}}, nil},
		"by a later version":    {[]string{"1@14 2@13"}, []seen{{"b.000001:110", 11}, {"b.000001:310", 13}}, nil},
		"not confirmed":         {[]string{"1@12"}, []seen{{"b.000001:110", 11}, {"b.000001:310", 13}}, []string{"confirmed document 2 at version 5.13"}},
		"confirmed too late":    {[]string{"1@12", "2@13"}, []seen{{"b.000001:110", 11}, {"b.000001:310", 13}, {"b.000002:4", 13}}, []string{"confirmed document 2 at version 5.13"}},
		"only the one before":   {[]string{"1@12 2@13", ""}, []seen{{"b.000001:110", 11}, {"b.000001:310", 13}, {"b.000002:110", 14}}, []string{"confirmed document 1 at version 5.14"}},
		"within a transaction":  {[]string{"1@12"}, []seen{{"b.000001:110", 11}, {"b.000001:210", 12}}, []string{"b.000001:210 is within a transaction"}},
		"an event not counted":  {[]string{"1@12 2@13"}, []seen{{"b.000001:110", 11}, {"b.000001:310", 12}}, []string{"count 12, which is -1 off"}},
		"without a file":        {nil, []seen{{"unknown", 11}}, []string{"is not FILE:OFFSET"}},
		"before the first seen": {nil, []seen{{"b.000002:110", 14}}, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			var s Sampler
			var confirmed Confirmations
			for i, p := range c.saves {
				s.saves = append(s.saves, save{duty: "shop/t", seen: time.Now(), reached: reached{version: fmt.Sprintf("5.%d", p.count), position: p.position, epoch: 5, count: p.count}})
				time.Sleep(time.Second)
				if i >= len(c.confirm) {
					continue
				}
				for _, one := range strings.Fields(c.confirm[i]) {
					var count int64
					id, number, _ := strings.Cut(one, "@")
					fmt.Sscan(number, &count)
					confirmed.Note("t", id, 5<<36|count)
				}
				time.Sleep(time.Second)
			}
			got := s.CheckPositions(log, &confirmed)
			if len(got) != len(c.want) {
				t.Fatalf("%s: got %q, want %q", name, got, c.want)
			}
			for i := range got {
				if !strings.Contains(got[i], c.want[i]) {
					t.Errorf("%s: got %q, want %q", name, got[i], c.want[i])
				}
			}
		})
	}
}
