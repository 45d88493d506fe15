package component

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// StartMySQLWithKeyring is StartMySQL with a keyring, without which nothing can be encrypted at rest (--binlog-encryption=ON). A server
// reads which components it has beside its program, and their settings beside its plugins: this one has copies of both below dir.
func StartMySQLWithKeyring(ctx context.Context, dir string, args ...string) (*MySQL, error) {
	install, err := installMySQL(ctx)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	const component = "component_keyring_file"
	keyring := filepath.Join(dir, "keyring")
	program, plugins := filepath.Join(keyring, "mysqld"), filepath.Join(keyring, "plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return nil, err
	}
	root := filepath.Join(install, "root")
	for from, to := range map[string]string{
		filepath.Join(root, mysqldProgram):                           program,
		filepath.Join(root, "usr/lib/mysql/plugin", component+".so"): filepath.Join(plugins, component+".so"),
	} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, data, 0o755)
		}
		if err != nil {
			return nil, fmt.Errorf("a mysqld with a keyring: %w", err)
		}
	}
	for file, text := range map[string]string{
		program + ".my":                          fmt.Sprintf(`{"components": "file://%s"}`, component),
		filepath.Join(plugins, component+".cnf"): fmt.Sprintf(`{"path": %q, "read_only": false}`, filepath.Join(keyring, "keys")),
	} {
		if err := os.WriteFile(file, []byte(text), 0o444); err != nil {
			return nil, fmt.Errorf("a mysqld with a keyring: %w", err)
		}
	}
	return startMySQL(ctx, install, dir, program, append([]string{"--plugin-dir=" + plugins}, args...))
}
