package binlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"canalgo/event"
	"canalgo/sqltext"
)

// lockPatience is how many seconds a statement that has the table to itself may take to let others look at it.
const lockPatience = 5

// Define returns the definition that a table has behind a position: the one that the server has now, if no statement that
// follows in the log concerns the table. Else it is unknown, and says why. What lies between is read once more for that.
func (s *Source) Define(ctx context.Context, table event.TableName, at event.Position) (event.Definition, error) {
	return s.define(ctx, table, at, awaited{gtids: at.GTIDs})
}

// awaited says by what a server shows that what stands before a position has its effect: MySQL writes a statement to its log first.
type awaited struct {
	gtids   string // it has executed them; "" when there are none
	settled bool   // it must have: rows that follow the statement are in the log, too
}

// define is Define. What is awaited has its effect before the server is asked.
func (s *Source) define(ctx context.Context, table event.TableName, at event.Position, await awaited) (event.Definition, error) {
	fail := func(err error) (event.Definition, error) {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return event.Definition{}, fmt.Errorf("define %s at %s: %w", table, at, err)
	}
	conn, identity, err := s.Connect(ctx, at.ServerUUID)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	switch {
	case at.File == "" || !await.settled && (await.gtids == "" || !identity.GTIDs() || identity.MariaDB):
		err = settle(conn, table)
	case !await.settled:
		err = ExecutedWait(ctx, conn, await.gtids, executedPatience)
	}
	if err != nil {
		return fail(err)
	}
	d, err := present(conn, table)
	if err != nil {
		return fail(err)
	}
	end, err := logEnd(conn) // what the definition holds stands before it
	if err != nil {
		return fail(err)
	}
	end.ServerUUID = identity.ServerUUID
	later, err := s.concerning(ctx, table, at, end)
	if err != nil {
		return fail(err)
	}
	if later != "" {
		return event.Definition{Table: event.Table{Name: table}, Unknown: "the server has the definition after a later statement: " + later}, nil
	}
	return d, nil
}

// settle makes sure that a statement about a table that is in the log has its effect, and that none is on its way into the log: the
// server lets go of the table behind that. The lock that the transaction takes lasts as long as the connection.
func settle(conn *client.Conn, table event.TableName) error {
	for _, statement := range []string{fmt.Sprintf("SET SESSION lock_wait_timeout = %d", lockPatience), "START TRANSACTION"} {
		if _, err := conn.Execute(statement); err != nil {
			return err
		}
	}
	_, err := conn.Execute("SELECT 1 FROM " + sqltext.Table(table) + " LIMIT 0")
	if missing := (*mysql.MyError)(nil); errors.As(err, &missing) && (missing.Code == mysql.ER_NO_SUCH_TABLE || missing.Code == mysql.ER_BAD_DB_ERROR) {
		return nil // that is a definition, too
	}
	return err
}

// present asks for the definition that a table has now.
func present(conn *client.Conn, table event.TableName) (event.Definition, error) {
	d := event.Definition{Table: event.Table{Name: table}}
	r, err := conn.Execute("SELECT COALESCE(table_collation, '') FROM information_schema.tables WHERE table_schema = ? AND table_name = ?", table.Schema, table.Name)
	if err != nil {
		return d, err
	}
	if len(r.Values) == 0 {
		return d, nil
	}
	collation, err := r.GetString(0, 0)
	if err != nil {
		return d, err
	}
	t, err := describe(conn, table)
	if stop := (*event.StopError)(nil); errors.As(err, &stop) {
		d.Unknown = stop.Error()
		return d, nil
	}
	if err != nil {
		return d, err
	}
	d.Collation = mb3(collation)
	d.Table.Columns, d.Table.Key = t.Columns, t.Key
	return d, nil
}

// concerning returns a statement between two places of the log that concerns a table, "" when there is none.
func (s *Source) concerning(ctx context.Context, table event.TableName, from, to event.Position) (string, error) {
	if from.File != "" && !positionBefore(from, to) {
		return "", nil
	}
	executed, err := event.ParseGTIDSet(from.GTIDs)
	if err != nil {
		return "", err
	}
	t := newTracker(from, func(event.TableName) bool { return false }, func(_ context.Context, b event.Batch) error {
		executed.Add(b.Executed().Run())
		return nil
	})
	found := ""
	t.seen = func(statement *event.Stmt) {
		if found == "" && concerns(statement, table) {
			found = fmt.Sprintf("%s (before %s:%d)", statement.Text, t.file, t.offset)
		}
	}
	err = s.readUntil(ctx, "define "+table.String(), from, nil, t, func() bool { return found != "" || hasReached(t, &executed, to) })
	return found, err
}
