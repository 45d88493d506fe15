package oracle

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// verbs are the statements around a transaction.
type verbs struct {
	begin    string
	rollback []string
	prepare  []string
	commit   string
}

// xa names the transaction after the table, the writer and the first change in it.
func (o *writer) xa(first int64) verbs {
	id := "'" + o.prefix() + strconv.FormatInt(first, 10) + "'"
	return verbs{begin: "XA START " + id, rollback: []string{"XA END " + id, "XA ROLLBACK " + id},
		prepare: []string{"XA END " + id, "XA PREPARE " + id}, commit: "XA COMMIT " + id}
}

func (o *writer) prefix() string { return fmt.Sprintf("%s/%d/", o.w.cfg.Table, o.number) }

// recover commits, or takes back, what an earlier connection of this writer left prepared.
func (o *writer) recover() error {
	result, err := o.conn.Execute("XA RECOVER")
	if err != nil {
		return err
	}
	for i := range result.RowNumber() {
		id, err := result.GetString(i, 3)
		if err != nil {
			return err
		}
		number, ours := strings.CutPrefix(id, o.prefix())
		if !ours {
			continue
		}
		first, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return fmt.Errorf("xa %q: %w", id, err)
		}
		verb, outcome := "XA COMMIT", Committed
		if !o.w.cfg.Commits && o.random.IntN(2) == 0 {
			verb, outcome = "XA ROLLBACK", RolledBack
		}
		done, err := o.conn.Execute(verb + " '" + id + "'")
		if err != nil {
			return err
		}
		o.w.ledger.settle(o.number, first, outcome, gtidOf(done))
	}
	return nil
}

// leaveNothingPrepared waits, for a while, for a server on which this writer can end what it left prepared: nobody else would.
func (o *writer) leaveNothingPrepared() error {
	if !o.w.cfg.XA || o.conn != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := o.connect()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("end the XA transactions of writer %d: %w", o.number, err)
		case <-tick.C:
		}
	}
}
