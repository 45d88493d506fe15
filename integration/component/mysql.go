package component

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"canalgo/integration/process"
)

// MySQL is one server, a MySQL or a MariaDB, with its data folder. Its methods may be called from several goroutines.
type MySQL struct {
	Dir    string // holds data, log and socket
	Port   int    // on 127.0.0.1, the same over restarts
	Socket string
	Client string // the shell command that starts MySQL's own client as root; "" of a MariaDB

	logStatus string // the statement that tells the end of the binary log
	process   process.Process
}

// StartMySQL starts a server on a fresh data folder below dir, or on the one that dir has from an earlier start, and
// returns once it answers; ctx bounds only that. The server has a binary log, GTIDs, full row metadata and no password
// for root; later args win, such as "--gtid-mode=OFF".
func StartMySQL(ctx context.Context, dir string, args ...string) (*MySQL, error) {
	install, err := installMySQL(ctx)
	if err != nil {
		return nil, err
	}
	m, err := startMySQL(ctx, install, dir, filepath.Join(install, "root", mysqldProgram), args)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(install, "root")
	m.Client = fmt.Sprintf("%s --no-defaults -h 127.0.0.1 -P %d -u root", strings.Join(inRoot(root, filepath.Join(root, "usr/bin/mysql")), " "), m.Port)
	return m, nil
}

// startMySQL is StartMySQL of a program that may be a copy of the installed one.
func startMySQL(ctx context.Context, install, dir, program string, args []string) (*MySQL, error) {
	return startServer(ctx, "mysqld", "SHOW BINARY LOG STATUS", install, dir, func(root, data string) []string {
		return append(mysqldArgs(root, program, data), "--mysqlx=OFF", "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--innodb-redo-log-capacity=1G")
	}, args)
}

// startServer starts the server of an install on a copy of its template below dir, or on the data that dir has. command runs it on
// a data folder.
func startServer(ctx context.Context, name, logStatus, install, dir string, command func(root, data string) []string, args []string) (*MySQL, error) {
	port, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	data := filepath.Join(dir, "data")
	if _, err := os.Stat(data); errors.Is(err, os.ErrNotExist) {
		if err := os.CopyFS(data, os.DirFS(filepath.Join(install, "template"))); err != nil {
			return nil, fmt.Errorf("copy the data folder: %w", err)
		}
	}
	m := &MySQL{Dir: dir, Port: port, Socket: socketPath(dir, port), logStatus: logStatus}
	argv := append(command(filepath.Join(install, "root"), data),
		"--bind-address=127.0.0.1", "--port="+strconv.Itoa(port), "--socket="+m.Socket,
		"--pid-file="+filepath.Join(dir, "mysqld.pid"), "--secure-file-priv=", "--skip-name-resolve",
		"--server-id=1", "--log-bin=binlog", "--binlog-row-metadata=FULL", "--innodb-buffer-pool-size=512M", "--max-allowed-packet=1G")
	argv = append(argv, args...)
	m.process = process.Process{
		Name:    name,
		Log:     filepath.Join(dir, name+".log"),
		Command: func() *exec.Cmd { return exec.Command(argv[0], argv[1:]...) },
		Ready: func(ctx context.Context) error {
			c, err := m.ConnectAs(ctx, "root", "")
			if err != nil {
				return err
			}
			return c.Close()
		},
	}
	if err := m.Start(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// mysqldProgram is where the server is below an install's root.
const mysqldProgram = "usr/sbin/mysqld"

// mysqldArgs is the command that runs a mysqld, that of the install's root or a copy, on a data folder.
func mysqldArgs(root, program, data string) []string {
	return append(inRoot(root, program), "--no-defaults", "--user=root",
		"--basedir="+filepath.Join(root, "usr"),
		"--lc-messages-dir="+filepath.Join(root, "usr/share/mysql"),
		"--character-sets-dir="+filepath.Join(root, "usr/share/mysql/charsets"),
		"--plugin-dir="+filepath.Join(root, "usr/lib/mysql/plugin"),
		"--datadir="+data)
}

// inRoot is the command that runs a program with the libraries of an install's root.
func inRoot(root, program string) []string {
	lib := filepath.Join(root, "usr/lib/x86_64-linux-gnu")
	return []string{filepath.Join(lib, "ld-linux-x86-64.so.2"), "--library-path", lib, program}
}

// socketPath keeps below the 107 bytes that a socket's address can have; a test's folder may be deeper.
func socketPath(dir string, port int) string {
	path := filepath.Join(dir, "mysqld.sock")
	if len(path) <= 100 {
		return path
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("canalgo-mysqld-%d.sock", port))
}

// Addr is host:port.
func (m *MySQL) Addr() string { return fmt.Sprintf("127.0.0.1:%d", m.Port) }

// CAFile names the certificate of the authority that signed the server's own certificate.
func (m *MySQL) CAFile() string { return filepath.Join(m.Dir, "data", "ca.pem") }

// LogFile names the file with the server's error log.
func (m *MySQL) LogFile() string { return m.process.Log }

// PID is the server's process id, 0 while it does not run.
func (m *MySQL) PID() int { return m.process.PID() }

// Start starts the server again on the same data and port.
func (m *MySQL) Start(ctx context.Context) error { return m.process.Start(ctx) }

// Stop shuts the server down in order and waits.
func (m *MySQL) Stop() error { return m.process.Stop() }

// Kill ends the server at once, as a crash would. A server that does not run is no error.
func (m *MySQL) Kill() error { return m.process.Kill() }

// Pause stops the server's clock: it keeps its connections and answers nothing until Continue.
func (m *MySQL) Pause() error { return m.process.Signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (m *MySQL) Continue() error { return m.process.Signal(syscall.SIGCONT) }

// Connect opens a connection as root, with utf8mb4 and without a database. The caller closes it.
func (m *MySQL) Connect() (*client.Conn, error) {
	return m.ConnectAs(context.Background(), "root", "")
}

// ConnectAs is Connect for another account. It fails after 5 s without a greeting, as of a paused server, or when ctx
// ends; afterwards the connection has no deadline.
func (m *MySQL) ConnectAs(ctx context.Context, user, password string) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stop := func() bool { return true }
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			stop = context.AfterFunc(ctx, func() { conn.Close() }) // the client reads the greeting without a deadline
		}
		return conn, err
	}
	c, err := client.ConnectWithDialer(ctx, "tcp", m.Addr(), user, password, "", dial)
	if err == nil {
		err = c.SetCharset("utf8mb4")
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if c != nil {
			c.Close()
		}
		return nil, fmt.Errorf("connect to mysql as %s: %w", user, err)
	}
	return c, nil
}

// Exec runs statements in order on one new connection as root; it stops at the first that fails.
func (m *MySQL) Exec(statements ...string) error {
	c, err := m.Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	for _, s := range statements {
		if _, err := c.Execute(s); err != nil {
			return fmt.Errorf("%.200s: %w", s, err)
		}
	}
	return nil
}

// Query runs one statement on a new connection as root and returns all its rows.
func (m *MySQL) Query(statement string, args ...any) (*mysql.Result, error) {
	c, err := m.Connect()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r, err := c.Execute(statement, args...)
	if err != nil {
		return nil, fmt.Errorf("%.200s: %w", statement, err)
	}
	return r, nil
}

// LogEnd returns the end of the binary log as FILE:OFFSET.
func (m *MySQL) LogEnd() (string, error) {
	r, err := m.Query(m.logStatus)
	if err != nil {
		return "", err
	}
	file, err := r.GetString(0, 0)
	if err != nil {
		return "", err
	}
	offset, err := r.GetUint(0, 1)
	return fmt.Sprintf("%s:%d", file, offset), err
}
