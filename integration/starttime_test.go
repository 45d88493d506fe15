//go:build integration

package integration

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"canalgo/binlog"
	"canalgo/event"
	"canalgo/integration/component"
)

// TestStartTime starts at times: in the middle of a file, before and behind one, and outside of the log.
func TestStartTime(t *testing.T) {
	for name, start := range map[string]func(*testing.T, ...string) *component.MySQL{"MySQL": ownServer, "MariaDB": ownMariaDB} {
		t.Run(name, func(t *testing.T) {
			db := start(t)
			s := newSource(t, db, nil)
			exec(t, db, "CREATE DATABASE at", "CREATE TABLE at.t (id INT PRIMARY KEY)")
			clock := func() time.Time {
				r, err := db.Query("SELECT UNIX_TIMESTAMP(NOW(6))")
				if err != nil {
					t.Fatal(err)
				}
				text, _ := r.GetString(0, 0)
				seconds, err := strconv.ParseFloat(text, 64)
				if err != nil {
					t.Fatal(err)
				}
				return time.UnixMicro(int64(seconds * 1e6)).UTC()
			}
			began := clock()
			// next waits for another second on the server's clock, because MariaDB's log knows seconds only.
			next := func() time.Time {
				from := clock().Unix()
				waitFor(t, func() bool { return clock().Unix() > from })
				return clock().Truncate(time.Second)
			}
			var times []time.Time // of the rows
			for i := range 6 {
				times = append(times, next())
				exec(t, db, fmt.Sprintf("INSERT INTO at.t VALUES (%d)", i))
				if i%2 == 1 {
					exec(t, db, "FLUSH BINARY LOGS")
				}
			}
			exec(t, db, "CREATE DATABASE at_end") // so that the log ends in a transaction
			end := resolve(t, s, "current")
			for i, at := range times {
				p := resolve(t, s, at.Format(time.RFC3339))
				if p.File == "" || p.ServerUUID != end.ServerUUID || !p.Time.Before(at) && !p.Time.Equal(at) {
					t.Errorf("%s: %+v", at, p)
				}
				if same := resolve(t, s, fmt.Sprintf("%s:%d", p.File, p.Offset)); same.GTIDs != p.GTIDs || same.GTIDs == "" {
					t.Errorf("%s: GTIDs %s, want %s", at, p.GTIDs, same.GTIDs)
				}
				var got, want []any
				for _, r := range decode(t, read(t, s, p, end, inSchema("at"))) {
					got = append(got, r.After[0])
				}
				for id := i; id < len(times); id++ {
					want = append(want, int32(id))
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("from %s (%s): rows %v, want %v", at, p, got, want)
				}
			}
			if p := resolve(t, s, next().Format(time.RFC3339)); p.FileBefore(end) {
				t.Errorf("behind everything: %s, want %s", p, end)
			}
			if _, err := s.Resolve(t.Context(), began.Add(-time.Hour).Format(time.RFC3339)); !errors.Is(err, binlog.ErrPurged) || !strings.Contains(err.Error(), "binlog.000001:4") {
				t.Errorf("before the log: %v", err)
			}
			var stop *event.StopError
			if _, err := s.Resolve(t.Context(), clock().Add(time.Hour).Format(time.RFC3339)); !errors.As(err, &stop) {
				t.Errorf("in the future: %v", err)
			}
		})
	}
}
