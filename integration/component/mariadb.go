package component

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mariadbRelease names the install in the cache; the packages are those of Debian bookworm, the last with a 10.11.
const mariadbRelease = "mariadb-bookworm"

// mariadbAccounts are those of mysqlAccounts. The tables of grants are read first: bootstrap goes without them.
const mariadbAccounts = `FLUSH PRIVILEGES;
CREATE USER 'root'@'%' IDENTIFIED BY '';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
CREATE USER 'canalgo'@'%' IDENTIFIED BY '` + CanalgoPassword + `';
GRANT REPLICATION SLAVE, BINLOG MONITOR, SELECT ON *.* TO 'canalgo'@'%';
`

// StartMariaDB is StartMySQL for a MariaDB 10.11: in ROW format, with its binary log compressed by none and full row metadata.
func StartMariaDB(ctx context.Context, dir string, args ...string) (*MySQL, error) {
	install, err := installMariaDB(ctx)
	if err != nil {
		return nil, err
	}
	return startServer(ctx, "mariadbd", "SHOW MASTER STATUS", install, dir, func(root, data string) []string {
		return append(mariadbdArgs(root, data), "--binlog-format=ROW", "--character-set-server=utf8mb4")
	}, args)
}

// mariadbdArgs is the command that runs the installed mariadbd on a data folder.
func mariadbdArgs(root, data string) []string {
	lib := filepath.Join(root, "usr/lib/x86_64-linux-gnu")
	share := filepath.Join(root, "usr/share/mysql")
	loader := filepath.Join(root, "lib/x86_64-linux-gnu")
	return []string{filepath.Join(loader, "ld-linux-x86-64.so.2"), "--library-path", lib + ":" + loader,
		filepath.Join(root, "usr/sbin/mariadbd"), "--no-defaults", "--user=root", "--basedir=" + filepath.Join(root, "usr"),
		"--lc-messages-dir=" + share, "--character-sets-dir=" + filepath.Join(share, "charsets"),
		"--plugin-dir=" + filepath.Join(root, "usr/lib/mysql/plugin"), "--datadir=" + data}
}

// installMariaDB is installMySQL for MariaDB. What mariadb-install-db does is done here: it is a script that runs the server by its
// path, and so by the machine's own libraries.
func installMariaDB(ctx context.Context) (string, error) {
	return installOnce(ctx, mariadbRelease, func(ctx context.Context, dir string) error {
		root, err := unpackDebs(ctx, dir, "bookworm", "mariadb-server-core")
		if err != nil {
			return err
		}
		template := filepath.Join(dir, "template")
		if err := os.MkdirAll(filepath.Join(template, "mysql"), 0o755); err != nil {
			return err
		}
		script := bytes.NewBufferString("USE mysql;\nSET @auth_root_socket = NULL;\n")
		for _, name := range []string{"mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data"} {
			part, err := os.ReadFile(filepath.Join(root, "usr/share/mysql", name+".sql"))
			if err != nil {
				return err
			}
			script.Write(part)
		}
		script.WriteString(mariadbAccounts)
		args := mariadbdArgs(root, template)
		if _, err := runWith(ctx, strings.NewReader(script.String()), args[0], append(args[1:], "--bootstrap")...); err != nil {
			return fmt.Errorf("initialize the data folder: %w", err)
		}
		return nil
	})
}
