package lab

import (
	"context"
	"fmt"

	"canalgo/integration/harness"
	"canalgo/integration/proxy"
)

func mysqlFreeze(_ context.Context, f *fault) error {
	f.heal(f.lab.db.Continue)
	return f.lab.db.Pause()
}

// mysqlKill is a crash of the server.
func mysqlKill(_ context.Context, f *fault) error {
	f.healWithin(patience, f.lab.db.Start)
	return f.lab.db.Kill()
}

// dumpKills ends the threads that send the binary log, five times a second.
func dumpKills(ctx context.Context, f *fault) error {
	f.repeat(ctx, 200*ms, func() error {
		result, err := f.lab.db.Query("SELECT id FROM performance_schema.processlist WHERE command LIKE 'Binlog Dump%'")
		if err != nil {
			return nil // the server is away
		}
		for i := range result.RowNumber() {
			id, err := result.GetInt(i, 0)
			if err != nil {
				return err
			}
			_ = f.lab.db.Exec(fmt.Sprintf("KILL %d", id)) // it may have gone by itself
		}
		return nil
	})
	return nil
}

// logRotation makes the binary log's files tiny, and begins further ones all the time.
func logRotation(ctx context.Context, f *fault) error {
	f.whileUp("SET GLOBAL max_binlog_size = 4096", "SET GLOBAL max_binlog_size = 16777216")
	f.repeat(ctx, 30*ms, func() error {
		_ = f.lab.db.Exec("FLUSH BINARY LOGS") // the server may be away
		return nil
	})
	return nil
}

// whileUp runs a statement, and another when the fault is over. A server that is away does neither, and has forgotten the first
// when it comes back.
func (f *fault) whileUp(now, later string) {
	_ = f.lab.db.Exec(now)
	f.healWithin(patience, func(ctx context.Context) error {
		return harness.Poll(ctx, func() error { return f.lab.db.Exec(later) })
	})
}

func mysqlReadOnly(_ context.Context, f *fault) error {
	f.whileUp("SET GLOBAL super_read_only = ON", "SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF")
	return nil
}

// mysqlOffline has the server send everybody away but its administrator.
func mysqlOffline(_ context.Context, f *fault) error {
	f.whileUp("SET GLOBAL offline_mode = ON", "SET GLOBAL offline_mode = OFF")
	return nil
}

// spoilMySQL does something to what the server sends.
func (f *fault) spoilMySQL(what proxy.Spoil) error {
	f.mysql.Spoil(proxy.FromTarget, what)
	f.heal(func() error { f.mysql.Heal(); return nil })
	return nil
}

func mysqlStall(_ context.Context, f *fault) error { return f.spoilMySQL(proxy.Spoil{Stall: true}) }

func mysqlDelay(_ context.Context, f *fault) error {
	return f.spoilMySQL(proxy.Spoil{Delay: 100 * ms, Jitter: 200 * ms})
}

func mysqlTruncates(_ context.Context, f *fault) error {
	return f.spoilMySQL(proxy.Spoil{Budget: 100_000, Reset: f.chance(50)})
}

// mysqlFlips flips bits of what the server sends. Only TLS protects that.
func mysqlFlips(_ context.Context, f *fault) error {
	if !f.tls {
		return errTaken
	}
	return f.spoilMySQL(proxy.Spoil{Flip: 50_000})
}

func mysqlResets(ctx context.Context, f *fault) error {
	f.repeat(ctx, 300*ms, func() error { f.mysql.Break(); return nil })
	return nil
}
