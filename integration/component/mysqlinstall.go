package component

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// mysqlRelease names the install in the cache; the packages are those that Debian's sid has on the day of the install.
const mysqlRelease = "mysql-sid"

// mysqlAccounts is run once, into the template of all data folders. Root has no password, and none is needed on TCP
// either; canalgo is what an operator would make for it.
const mysqlAccounts = `CREATE USER 'root'@'%' IDENTIFIED BY '';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
CREATE USER 'canalgo'@'%' IDENTIFIED WITH caching_sha2_password BY '` + CanalgoPassword + `';
GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.* TO 'canalgo'@'%';
`

// installMySQL unpacks Debian's MySQL without touching the system's packages: apt works in a folder of its own, and the
// server runs with the loader and libraries that came along. Beside them lies template, an initialized data folder.
func installMySQL(ctx context.Context) (string, error) {
	return installOnce(ctx, mysqlRelease, func(ctx context.Context, dir string) error {
		root, err := unpackDebs(ctx, dir, "sid", "mysql-server-core", "mysql-client-core")
		if err != nil {
			return err
		}
		accounts := filepath.Join(dir, "accounts.sql")
		if err := os.WriteFile(accounts, []byte(mysqlAccounts), 0o644); err != nil {
			return err
		}
		args := mysqldArgs(root, filepath.Join(root, mysqldProgram), filepath.Join(dir, "template"))
		_, err = run(ctx, args[0], append(args[1:], "--initialize-insecure", "--init-file="+accounts)...)
		if err != nil {
			return fmt.Errorf("initialize the data folder: %w", err)
		}
		// Each copy gets a server_uuid of its own.
		return os.RemoveAll(filepath.Join(dir, "template", "auto.cnf"))
	})
}

// unpackDebs unpacks packages of one of Debian's suites, with all that they need, into a folder below dir, and returns its name.
func unpackDebs(ctx context.Context, dir, suite string, packages ...string) (root string, err error) {
	apt := filepath.Join(dir, "apt")
	debs, err := downloadDebs(ctx, apt, suite, packages...)
	if err != nil {
		return "", err
	}
	root = filepath.Join(dir, "root")
	for _, deb := range debs {
		if _, err := run(ctx, "dpkg", "-x", deb, root); err != nil {
			return "", err
		}
	}
	return root, os.RemoveAll(apt)
}

// downloadDebs fetches packages of a suite, with all that they need, from the mirror that the machine already uses.
func downloadDebs(ctx context.Context, dir, suite string, packages ...string) ([]string, error) {
	mirror, err := debianMirror(ctx)
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	source := fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", mirror, suite)
	if err := os.WriteFile(filepath.Join(dir, "etc/sources.list"), []byte(source), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "state/status"), nil, 0o644); err != nil {
		return nil, err
	}
	// The sources and the list of installed packages are private; the machine's apt.conf, with its proxy, still holds.
	apt := []string{"-q",
		"-o", "Dir::Etc::sourcelist=" + filepath.Join(dir, "etc/sources.list"),
		"-o", "Dir::Etc::sourceparts=" + filepath.Join(dir, "etc/sources.list.d"),
		"-o", "Dir::Etc::preferences=" + filepath.Join(dir, "etc/preferences"),
		"-o", "Dir::Etc::preferencesparts=" + filepath.Join(dir, "etc/preferences.d"),
		"-o", "Dir::State=" + filepath.Join(dir, "state"),
		"-o", "Dir::State::Lists=" + filepath.Join(dir, "state/lists"),
		"-o", "Dir::State::status=" + filepath.Join(dir, "state/status"),
		"-o", "Dir::Cache=" + filepath.Join(dir, "cache"),
		"-o", "APT::Install-Recommends=false",
		"-o", "APT::Sandbox::User=root",
		"-o", "Acquire::Languages=none",
		"-o", "Acquire::Retries=3",
	}
	if _, err := run(ctx, "apt-get", append(apt, "update")...); err != nil {
		return nil, err
	}
	install := append(apt, "install", "-y", "--download-only")
	if _, err := run(ctx, "apt-get", append(install, packages...)...); err != nil {
		return nil, err
	}
	debs, err := filepath.Glob(filepath.Join(dir, "cache/archives/*.deb"))
	if err != nil {
		return nil, err
	}
	if len(debs) == 0 {
		return nil, errors.New("apt-get downloaded no package")
	}
	return debs, nil
}

// debianMirror returns the address that the machine's apt takes Debian from.
func debianMirror(ctx context.Context) (string, error) {
	for attempt := range 2 {
		if attempt == 1 { // a machine whose lists were never fetched names no target
			if _, err := run(ctx, "apt-get", "-q", "update"); err != nil {
				return "", err
			}
		}
		out, err := run(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
		if err != nil {
			return "", err
		}
		for _, uri := range strings.Fields(out) {
			if strings.HasSuffix(strings.TrimRight(uri, "/"), "/debian") {
				return uri, nil
			}
		}
	}
	return "", errors.New("apt knows no Debian mirror: its sources name none that ends in /debian")
}

// run runs a program and returns its standard output; an error carries what it printed. The program does not outlive us:
// it would go on in a folder that the next installer clears.
func run(ctx context.Context, name string, args ...string) (string, error) {
	return runWith(ctx, nil, name, args...)
}

// runWith is run with a standard input.
func runWith(ctx context.Context, input io.Reader, name string, args ...string) (string, error) {
	return runEnv(ctx, input, nil, name, args...)
}

// runEnv is runWith with more variables in the environment, each NAME=VALUE.
func runEnv(ctx context.Context, input io.Reader, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"), env...)
	cmd.Stdin = input
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig is sent when this thread ends
	defer runtime.UnlockOSThread()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", filepath.Base(name), err, out, stderr.String())
	}
	return string(out), nil
}
