package binlog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"canalgo/event"
)

// A MariaDB that crashes between writing XA COMMIT into its log and committing has the transaction prepared again, and whoever ends it
// then writes a second end. The second one counts: an XA COMMIT hands the rows on again, with its own version; an XA ROLLBACK takes back
// what was handed on, which only a load can.

// A sought is the transaction that a look back is for.
type sought struct {
	xid       string
	prepared  *prepared // its newest, whether it ended or not
	committed bool      // behind that
}

// findEnded looks back for a transaction that is not prepared any more as far as the log says, nil if the log does not hold it.
func (t *tracker) findEnded(ctx context.Context, xid string) (sought, error) {
	files, err := t.log.logNames(ctx)
	if err != nil {
		return sought{}, err
	}
	found := sought{xid: xid}
	for _, file := range slices.Backward(files) {
		if fileBefore(t.file, file) {
			continue
		}
		from := event.Position{ServerUUID: t.boundary.ServerUUID, File: file, Offset: firstEvent}
		sub := newTracker(from, t.want, func(context.Context, event.Batch) error { return nil })
		sub.lowerCase, sub.xa.sought = t.lowerCase, sought{xid: xid}
		err := t.log.reread(ctx, sub, func() bool {
			return sub.boundary.File != file || file == t.tx.at.file && sub.boundary.Offset >= t.tx.at.offset
		})
		switch {
		case errors.Is(err, ErrPurged):
			return sought{}, nil
		case err != nil:
			return sought{}, fmt.Errorf("look for the PREPARE of the XA transaction %s in %s: %w", clip(xid), file, err)
		}
		found.committed = found.committed || sub.xa.sought.committed
		if found.prepared = sub.xa.sought.prepared; found.prepared != nil {
			return found, nil
		}
	}
	return sought{}, nil
}

// rollbackXA ends a prepared transaction without its rows.
func (t *tracker) rollbackXA(ctx context.Context, xid string) error {
	if t.mariadb && t.log != nil && t.xa.open[xid] == nil {
		found, err := t.findEnded(ctx, xid)
		if err != nil {
			return err
		}
		if found.committed && found.prepared.work {
			t.statement(&event.Stmt{Action: event.Missing, Tables: found.prepared.tables,
				Text: fmt.Sprintf("the XA transaction %s was committed, and after a crash of the server rolled back", clip(xid))})
		}
	}
	return t.endXA(ctx, xid)
}
