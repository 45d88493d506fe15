package binlog_test

import (
	"net"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/server"
	"github.com/hashicorp/go-hclog"

	"canalgo/binlog"
)

// other answers as a server that is not MySQL.
type other struct{ server.EmptyHandler }

func (other) HandleQuery(query string) (*mysql.Result, error) {
	if !strings.HasPrefix(query, "SHOW") {
		return mysql.NewResult(nil), nil
	}
	set, err := mysql.BuildSimpleTextResultset([]string{"Variable_name", "Value"}, [][]any{{"log_bin", "ON"}})
	return mysql.NewResult(set), err
}

// TestMariaDBIsRefused connects to what says that it is one of a series that was never tried: B34.
func TestMariaDBIsRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		s := server.NewServer("11.4.2-MariaDB", mysql.DEFAULT_COLLATION_ID, mysql.AUTH_NATIVE_PASSWORD, nil, nil)
		c, err := s.NewConn(conn, "canal", "", other{})
		for err == nil {
			err = c.HandleCommand()
		}
	}()
	cfg := binlog.Defaults()
	cfg.Addr, cfg.User = l.Addr().String(), "canal"
	source, err := binlog.New(cfg, "c", "shop", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	_, err = source.Check(t.Context())
	if err == nil || !strings.Contains(err.Error(), "this is 11.4.2-MariaDB; use MariaDB 10.5 to 10.11, or a MySQL server, 8.0 or later") {
		t.Errorf("got %v", err)
	}
}
