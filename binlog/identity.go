package binlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"canalgo/event"
)

// Identity is who a server is, and the settings that matter here. What it does not know is empty.
type Identity struct {
	ServerUUID string // MariaDB has none: see mariadbServer
	ServerID   uint32
	Version    string // "9.7.4", "10.11.18-MariaDB"
	MariaDB    bool
	LogBin     bool
	GTIDMode   string // "ON", "OFF", "ON_PERMISSIVE", "OFF_PERMISSIVE"
	Executed   event.GTIDSet
	Purged     event.GTIDSet

	BinlogFormat, RowImage, RowMetadata, RowValueOptions string
	LogReplicaUpdates                                    bool
	Retention                                            time.Duration // 0 keeps binary logs for ever
	LowerCaseNames                                       bool          // names in statements and in the log may differ by case
	CascadesLogged                                       bool          // rows that a foreign key changes are in the log
}

// GTIDs reports whether every transaction has a GTID.
func (i Identity) GTIDs() bool { return i.GTIDMode == "ON" }

// NamesColumns reports whether rows that are written now come with the names of their columns.
func (i Identity) NamesColumns() bool { return strings.EqualFold(i.RowMetadata, "FULL") }

// A LogFile is one binary log.
type LogFile struct {
	Name string
	Size uint64
}

// Identify asks who answers: the server that is known, if it does at one of the addresses, else the first one that does.
func (s *Source) Identify(ctx context.Context, known string) (Identity, error) {
	conn, identity, err := s.Connect(ctx, known)
	if errors.Is(err, ErrServerChanged) {
		conn, identity, err = s.Connect(ctx, "")
	}
	if err != nil {
		return Identity{}, err
	}
	conn.Close()
	return identity, nil
}

// variables are read by SHOW, because a server that does not have one of them leaves it out instead of failing.
const variables = `SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_id', 'log_bin', 'gtid_mode', 'binlog_format',
 'binlog_row_image', 'binlog_row_metadata', 'binlog_row_value_options', 'log_replica_updates', 'log_slave_updates',
 'binlog_expire_logs_seconds', 'lower_case_table_names', 'innodb_native_foreign_keys', 'hostname', 'port')`

func identify(conn *client.Conn) (Identity, error) {
	r, err := conn.Execute(variables)
	if err != nil {
		return Identity{}, fmt.Errorf("read the server's variables: %w", err)
	}
	v := map[string]string{}
	for i := range r.Values {
		name, _ := r.GetString(i, 0)
		value, _ := r.GetString(i, 1)
		v[strings.ToLower(name)] = value
	}
	on := func(name string) bool { return v[name] == "ON" || v[name] == "1" }
	number := func(name string) uint64 { n, _ := strconv.ParseUint(v[name], 10, 64); return n }
	identity := Identity{ServerUUID: v["server_uuid"], ServerID: uint32(number("server_id")), Version: serverVersion(conn),
		LogBin: on("log_bin"), GTIDMode: v["gtid_mode"], BinlogFormat: v["binlog_format"], RowImage: v["binlog_row_image"],
		RowMetadata: v["binlog_row_metadata"], RowValueOptions: v["binlog_row_value_options"],
		LogReplicaUpdates: on("log_replica_updates") || on("log_slave_updates"),
		Retention:         time.Duration(number("binlog_expire_logs_seconds")) * time.Second,
		LowerCaseNames:    number("lower_case_table_names") != 0,
		CascadesLogged:    v["innodb_native_foreign_keys"] == "OFF"}
	if isMariaDB(identity.Version) {
		return identifyMariaDB(conn, identity, v["hostname"], v["port"])
	}
	if identity.ServerUUID == "" {
		return Identity{}, &event.StopError{Reason: "the server has no server_uuid; it is " + identity.Version, Fix: "use a MySQL server, 8.0 or later"}
	}
	// SHOW VARIABLES cuts values at 1024 characters.
	if r, err = conn.Execute("SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged"); err != nil {
		return Identity{}, fmt.Errorf("read the server's GTID sets: %w", err)
	}
	for i, set := range []*event.GTIDSet{&identity.Executed, &identity.Purged} {
		text, _ := r.GetString(0, i)
		if *set, err = parseGTIDs(text); err != nil {
			return Identity{}, err
		}
	}
	return identity, nil
}

// serverVersion is what the server says of itself, without the number that MariaDB puts before it for old replicas.
func serverVersion(conn *client.Conn) string {
	return strings.TrimPrefix(conn.GetServerVersion(), "5.5.5-")
}

// scalar returns the one value that a query gives; NULL is "".
func scalar(conn *client.Conn, query string, args ...any) (string, error) {
	r, err := conn.Execute(query, args...)
	if err != nil {
		return "", err
	}
	return r.GetString(0, 0)
}

// parseGTIDs parses a set as the server prints it, with newlines.
func parseGTIDs(text string) (event.GTIDSet, error) {
	return event.ParseGTIDSet(strings.NewReplacer("\n", "", " ", "").Replace(text))
}

// statusStatement returns the statement that tells the end of the log: MySQL renamed it in 8.2 and removed the old one in 8.4.
func statusStatement(version string) string {
	if !isMariaDB(version) && atLeast(version, 8, 2) {
		return "SHOW BINARY LOG STATUS"
	}
	return "SHOW MASTER STATUS"
}

// atLeast compares a version such as "8.0.36-log" by numbers. What is not a number counts as 0.
func atLeast(version string, want ...int) bool {
	var have [3]int
	for i, part := range strings.SplitN(version, ".", len(have)+1) {
		if i < len(have) {
			end := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
			if end < 0 {
				end = len(part)
			}
			have[i], _ = strconv.Atoi(part[:end])
		}
	}
	return slices.Compare(have[:len(want)], want) >= 0
}

// logEnd returns the end of the log and the GTIDs executed, which may lack some that stand before the end.
func logEnd(conn *client.Conn) (event.Position, error) {
	version := serverVersion(conn)
	executed := ""
	if isMariaDB(version) { // its status does not tell; asked for before the end, as MySQL's set may lack some
		var err error
		if executed, err = scalar(conn, "SELECT @@GLOBAL.gtid_binlog_pos"); err != nil {
			return event.Position{}, fmt.Errorf("read the server's GTIDs: %w", err)
		}
	}
	r, err := conn.Execute(statusStatement(version))
	if err != nil {
		return event.Position{}, fmt.Errorf("read the end of the binary log: %w", err)
	}
	if len(r.Values) == 0 {
		return event.Position{}, &event.StopError{Reason: "the server writes no binary log", Fix: "start mysqld with --log-bin"}
	}
	file, _ := r.GetStringByName(0, "File")
	offset, _ := r.GetUintByName(0, "Position")
	if !isMariaDB(version) {
		executed, _ = r.GetStringByName(0, "Executed_Gtid_Set")
	}
	gtids, err := parseGTIDs(executed)
	if err != nil {
		return event.Position{}, err
	}
	return event.Position{File: file, Offset: offset, GTIDs: gtids.String()}, nil
}

// Logs lists the binary logs that the server keeps, the oldest first, and how long it keeps one; 0 is for ever.
func (s *Source) Logs(ctx context.Context) ([]LogFile, time.Duration, error) {
	conn, identity, err := s.Connect(ctx, "")
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	files, err := logFiles(conn)
	return files, identity.Retention, err
}

func logFiles(conn *client.Conn) ([]LogFile, error) {
	r, err := conn.Execute("SHOW BINARY LOGS")
	if err != nil {
		return nil, fmt.Errorf("list the binary logs: %w", err)
	}
	files := make([]LogFile, len(r.Values))
	for i := range files {
		files[i].Name, _ = r.GetString(i, 0)
		files[i].Size, _ = r.GetUint(i, 1)
	}
	return files, nil
}
