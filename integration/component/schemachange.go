package component

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// A SchemaChange is a tool that alters a table while others write to it: it fills an altered copy and exchanges the two in the end.
type SchemaChange func(ctx context.Context, m *MySQL, schema, table, alter string) error

var _, _ SchemaChange = GhOst, PtOnlineSchemaChange

// ghOstVersion is one that speaks to MySQL 9.
const ghOstVersion = "v1.1.8"

// GhOst alters a table as https://github.com/github/gh-ost does, which reads the server's log to follow what is written meanwhile. The
// table as it was is left as _TABLE_del.
func GhOst(ctx context.Context, m *MySQL, schema, table, alter string) error {
	install, err := installGhOst(ctx)
	if err != nil {
		return err
	}
	_, err = run(ctx, filepath.Join(install, "gh-ost"), "--host=127.0.0.1", "--port="+strconv.Itoa(m.Port), "--user=root", "--database="+schema, "--table="+table,
		"--alter="+alter, "--allow-on-master", "--execute", "--initially-drop-ghost-table", "--initially-drop-old-table", "--approve-renamed-columns",
		"--chunk-size=100", "--default-retries=120", "--serve-socket-file="+filepath.Join(m.Dir, "gh-ost.sock"))
	return err
}

// installGhOst builds gh-ost from its module.
func installGhOst(ctx context.Context) (string, error) {
	return installOnce(ctx, "gh-ost-"+ghOstVersion, func(ctx context.Context, dir string) error {
		out, err := run(ctx, "go", "mod", "download", "-json", "github.com/github/gh-ost@"+ghOstVersion)
		if err != nil {
			return err
		}
		var module struct{ Dir string }
		if err := json.Unmarshal([]byte(out), &module); err != nil {
			return fmt.Errorf("go mod download: %w", err)
		}
		// The module has a vendor folder of which only the list is published.
		_, err = run(ctx, "go", "build", "-C", module.Dir, "-mod=readonly", "-o", filepath.Join(dir, "gh-ost"), "./go/cmd/gh-ost")
		return err
	})
}

// PtOnlineSchemaChange alters a table as the one of Debian's percona-toolkit does, by triggers that write to the copy what is written
// meanwhile. The table as it was is dropped.
func PtOnlineSchemaChange(ctx context.Context, m *MySQL, schema, table, alter string) error {
	install, err := installPerconaToolkit(ctx)
	if err != nil {
		return err
	}
	root := filepath.Join(install, "root")
	lib := filepath.Join(root, "usr/lib/x86_64-linux-gnu")
	loader := filepath.Join(root, "lib/x86_64-linux-gnu")
	perl, err := filepath.Glob(filepath.Join(root, "usr/share/perl/5.*.*"))
	if err != nil || len(perl) != 1 {
		return fmt.Errorf("the install of percona-toolkit has %d perls: %v", len(perl), err)
	}
	release := filepath.Base(perl[0]) // 5.36.0
	short := release[:strings.LastIndexByte(release, '.')]
	modules := []string{filepath.Join(lib, "perl5", short), filepath.Join(root, "usr/share/perl5"), filepath.Join(lib, "perl", short),
		filepath.Join(root, "usr/share/perl", short), filepath.Join(lib, "perl-base")}
	_, err = runEnv(ctx, nil, []string{"PERL5LIB=" + strings.Join(modules, ":"), "MARIADB_PLUGIN_DIR=" + filepath.Join(lib, "libmariadb3/plugin")},
		filepath.Join(loader, "ld-linux-x86-64.so.2"), "--library-path", lib+":"+loader, filepath.Join(root, "usr/bin/perl"), filepath.Join(root, "usr/bin/pt-online-schema-change"),
		"--execute", "--recursion-method=none", "--no-version-check", "--no-check-alter", "--chunk-size=100", "--sleep=0.05", "--alter="+alter,
		fmt.Sprintf("h=127.0.0.1,P=%d,u=root,D=%s,t=%s", m.Port, schema, table))
	return err
}

// installPerconaToolkit unpacks Debian's percona-toolkit with the perl that it needs, beside the machine's own.
func installPerconaToolkit(ctx context.Context) (string, error) {
	return installOnce(ctx, "percona-toolkit-bookworm", func(ctx context.Context, dir string) error {
		_, err := unpackDebs(ctx, dir, "bookworm", "percona-toolkit")
		return err
	})
}
