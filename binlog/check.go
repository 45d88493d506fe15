package binlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// A Finding is one thing that Check looked at.
type Finding struct {
	What   string
	OK     bool
	Warn   bool // it works, but not as well as it could
	Detail string
	Fix    string // the statement that would put it right
}

// leastRetention is how long a server must keep its binary logs at least: an outage of canalgo may last as long.
const leastRetention = time.Hour

// Check looks at everything that following the server needs. The error says why that was not possible at all.
func (s *Source) Check(ctx context.Context) ([]Finding, error) {
	conn, identity, err := s.Connect(ctx, "")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	c := checker{conn: conn, identity: identity}
	c.replica, _ = s.replicaID("check", identity.ServerID)
	c.server()
	c.grants()
	c.settings()
	c.start(ctx, s)
	if s.cfg.ServerID != 0 && s.cfg.ServerID == identity.ServerID {
		c.wrong("server_id", fmt.Sprintf("%d is the server's own id (@@server_id = %d)", s.cfg.ServerID, identity.ServerID), "choose another, or 0")
	}
	c.cascades()
	for _, addr := range s.addrs[1:] {
		c.standby(ctx, s, addr)
	}
	if len(s.cfg.Tables) > 0 {
		tables, err := s.Tables(ctx)
		switch {
		case err != nil:
			c.wrong("tables", err.Error(), "")
		case len(tables) == 0:
			c.warn("tables", "no table that the user can see matches "+strings.Join(s.cfg.Tables, ", "), "")
		default:
			c.ok("tables", fmt.Sprintf("%d match: %s", len(tables), tableList(tables)))
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return c.findings, nil
}

type checker struct {
	conn     *client.Conn
	identity Identity
	replica  uint32 // the id to register with
	findings []Finding
}

func (c *checker) ok(what, detail string) {
	c.findings = append(c.findings, Finding{What: what, OK: true, Detail: detail})
}

func (c *checker) warn(what, detail, fix string) {
	c.findings = append(c.findings, Finding{What: what, OK: true, Warn: true, Detail: detail, Fix: fix})
}

func (c *checker) wrong(what, detail, fix string) {
	c.findings = append(c.findings, Finding{What: what, Detail: detail, Fix: fix})
}

// is expects a variable to have a value.
func (c *checker) is(name, have, want, why string) {
	if strings.EqualFold(have, want) {
		c.ok(name, want)
		return
	}
	c.wrong(name, fmt.Sprintf("is %q: %s", have, why), c.set(name, quoteText(want)))
}

// set is the statement that sets a variable for good.
func (c *checker) set(name, value string) string {
	if c.identity.MariaDB { // it has no SET PERSIST
		return fmt.Sprintf("SET GLOBAL %s = %s, and the same in the server's my.cnf", name, value)
	}
	return fmt.Sprintf("SET PERSIST %s = %s", name, value)
}

func quoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(text) + "'"
}

// standby looks at a server that may take over. It must have what the first one has, and GTIDs.
func (c *checker) standby(ctx context.Context, s *Source, addr string) {
	what := "standby " + addr
	conn, identity, err := s.ask(ctx, addr, queryTimeout, session)
	if err != nil {
		c.wrong(what, err.Error(), "")
		return
	}
	defer conn.Close()
	other := checker{conn: conn, identity: identity, replica: c.replica}
	other.server()
	other.grants()
	other.settings()
	switch {
	case identity.ServerUUID == c.identity.ServerUUID:
		other.wrong("server", "is the same server as "+s.addrs[0], "name another one, or none")
	case identity.MariaDB != c.identity.MariaDB:
		other.wrong("server", "is "+identity.Version+", the first one "+c.identity.Version+": their GTIDs differ", "name one that replicates from it")
	case !identity.GTIDs():
		other.wrong("gtid_mode", "is "+identity.GTIDMode+": nobody knows where to go on there", "SET PERSIST gtid_mode = ON, on all servers")
	}
	for _, f := range other.findings {
		f.What = what + ": " + f.What
		c.findings = append(c.findings, f)
	}
}

func (c *checker) server() {
	if c.identity.MariaDB {
		c.ok("server", fmt.Sprintf("%s, known as %s", c.identity.Version, c.identity.ServerUUID))
		return
	}
	detail := fmt.Sprintf("MySQL %s, server_uuid %s", c.identity.Version, c.identity.ServerUUID)
	if !atLeast(c.identity.Version, 8, 0) {
		c.wrong("server", detail, "use a MySQL server, 8.0 or later")
		return
	}
	c.ok("server", detail)
}

// grants tries what the stream does. SELECT shows when a table is described.
func (c *checker) grants() {
	user := "CURRENT_USER()"
	if r, err := c.conn.Execute("SELECT CURRENT_USER()"); err == nil {
		name, _ := r.GetString(0, 0)
		if at := strings.LastIndexByte(name, '@'); at >= 0 {
			user = quoteText(name[:at]) + "@" + quoteText(name[at+1:])
		}
	}
	try := func(privilege string, err error) {
		refused := (*mysql.MyError)(nil)
		if errors.As(err, &refused) && (refused.Code == mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR || refused.Code == mysql.ER_ACCESS_DENIED_ERROR) {
			c.wrong("grant "+privilege, "missing", "GRANT "+privilege+" ON *.* TO "+user)
			return
		}
		if err != nil {
			c.wrong("grant "+privilege, err.Error(), "")
			return
		}
		c.ok("grant "+privilege, "given")
	}
	_, err := c.conn.Execute(statusStatement(c.identity.Version))
	if c.identity.MariaDB {
		try("BINLOG MONITOR", err)
		try("REPLICATION SLAVE", register(c.conn, c.replica)) // its list of replicas wants another privilege
		return
	}
	try("REPLICATION CLIENT", err)
	replicas := "SHOW REPLICAS"
	if !atLeast(c.identity.Version, 8, 1) { // 8.0.22 renamed it; 8.0 keeps the old name
		replicas = "SHOW SLAVE HOSTS"
	}
	_, err = c.conn.Execute(replicas)
	try("REPLICATION SLAVE", err)
}

func (c *checker) settings() {
	i := c.identity
	if !i.LogBin {
		c.wrong("log_bin", "is OFF: the server writes no binary log", "start mysqld with --log-bin")
		return
	}
	c.ok("log_bin", "ON")
	if i.BinlogFormat != "" { // gone once ROW is all there is
		c.is("binlog_format", i.BinlogFormat, "ROW", "statements do not say which rows change")
	}
	if strings.EqualFold(i.RowImage, "FULL") {
		c.ok("binlog_row_image", "FULL")
	} else {
		c.warn("binlog_row_image", "is "+i.RowImage+": rows lack columns; what a document needs of them is read from the server, and a row that does not say which document it is about stops its mapping",
			c.set("binlog_row_image", "'FULL'"))
	}
	if i.NamesColumns() {
		c.ok("binlog_row_metadata", "FULL")
	} else {
		c.warn("binlog_row_metadata", "is "+i.RowMetadata+": rows come without the names of their columns; the definitions of mapped tables are kept beside them, and a change of one that cannot be followed needs a load",
			c.set("binlog_row_metadata", "'FULL'"))
	}
	switch {
	case strings.EqualFold(i.RowValueOptions, "PARTIAL_JSON") && strings.EqualFold(i.RowImage, "FULL"):
		c.ok("binlog_row_value_options", "PARTIAL_JSON: changes of JSON documents are made to the documents that rows had before")
	case strings.EqualFold(i.RowValueOptions, "PARTIAL_JSON"):
		c.warn("binlog_row_value_options", "is PARTIAL_JSON beside binlog_row_image = "+i.RowImage+": a JSON document that changes is read from the server, by the row's key",
			c.set("binlog_row_value_options", "''"))
	default:
		c.is("binlog_row_value_options", i.RowValueOptions, "", "JSON documents come in parts")
	}
	if i.MariaDB {
		c.ok("GTIDs", "every transaction has one")
	} else if i.GTIDs() {
		c.ok("gtid_mode", "ON")
	} else {
		c.warn("gtid_mode", "is "+i.GTIDMode+": loads lock the rows that they read, and no other server can take over",
			"SET PERSIST enforce_gtid_consistency = ON; SET PERSIST gtid_mode = OFF_PERMISSIVE; SET PERSIST gtid_mode = ON_PERMISSIVE; SET PERSIST gtid_mode = ON")
	}
	switch {
	case i.Retention == 0:
		c.ok("binlog_expire_logs_seconds", "0: binary logs are kept for ever")
	case i.Retention < leastRetention:
		c.wrong("binlog_expire_logs_seconds", fmt.Sprintf("binary logs are kept for %s only: a longer outage loses the position", i.Retention),
			c.set("binlog_expire_logs_seconds", "604800"))
	default:
		c.ok("binlog_expire_logs_seconds", fmt.Sprintf("binary logs are kept for %s", i.Retention))
	}
	c.filters()
	c.follows()
}

// filters looks for databases whose changes the server leaves out of its log.
func (c *checker) filters() {
	r, err := c.conn.Execute(statusStatement(c.identity.Version))
	if err != nil || len(r.Values) == 0 {
		return // grants has said it
	}
	only, _ := r.GetStringByName(0, "Binlog_Do_DB")
	without, _ := r.GetStringByName(0, "Binlog_Ignore_DB")
	if only != "" {
		c.warn("binlog-do-db", "only changes of "+only+" are logged", "start mysqld without --binlog-do-db")
	}
	if without != "" {
		c.warn("binlog-ignore-db", "changes of "+without+" are not logged", "start mysqld without --binlog-ignore-db")
	}
}

// follows checks that a server that replicates from another one logs what it gets.
func (c *checker) follows() {
	statement := "SHOW REPLICA STATUS"
	if !c.identity.MariaDB && !atLeast(c.identity.Version, 8, 1) {
		statement = "SHOW SLAVE STATUS"
	}
	r, err := c.conn.Execute(statement)
	if err != nil || len(r.Values) == 0 {
		return
	}
	if !c.identity.LogReplicaUpdates {
		c.wrong("log_replica_updates", "is OFF, and this server is a replica: it does not log what it replicates", "start mysqld with --log-replica-updates")
		return
	}
	c.ok("log_replica_updates", "ON")
}

func (c *checker) start(ctx context.Context, s *Source) {
	start := s.cfg.Start
	p, err := parseStart(start)
	switch {
	case err != nil:
	case p.File != "":
		err = checkFile(c.conn, p)
	case p.GTIDs != "":
		err = checkGTIDs(c.identity, p.GTIDs)
	case !p.Time.IsZero():
		_, err = s.fileAt(ctx, c.conn, c.identity, p.Time)
	}
	if err != nil {
		c.wrong("start", strings.TrimPrefix(err.Error(), ErrReset.Error()+": "), "") // nothing was read yet
		return
	}
	c.ok("start", start)
}

// cascades names tables whose rows a foreign key changes without a trace in the log.
func (c *checker) cascades() {
	if c.identity.CascadesLogged {
		return
	}
	r, err := c.conn.Execute("SELECT DISTINCT CONCAT(constraint_schema, '.', table_name) FROM information_schema.referential_constraints " +
		"WHERE delete_rule IN ('CASCADE', 'SET NULL') OR update_rule IN ('CASCADE', 'SET NULL') ORDER BY 1 LIMIT 20")
	if err != nil || len(r.Values) == 0 {
		return
	}
	var tables []string
	for i := range r.Values {
		name, _ := r.GetString(i, 0)
		tables = append(tables, name)
	}
	c.warn("foreign keys", "this server does not log rows that a foreign key changes by CASCADE or SET NULL, in "+strings.Join(tables, ", "),
		"delete and update those rows by statements of their own")
}
