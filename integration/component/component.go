// Package component installs and starts real MySQL, MariaDB, Elasticsearch, ZooKeeper and canal servers for tests, the demo and benchmarks, runs
// the tools that alter tables under way, and makes networks of several hosts that can be cut.
//
// Nothing needs to be on the machine but Go, a JDK, Maven and apt. An install goes into a cache folder outside the
// checkout, CANALGO_CACHE or canalgo below the user's cache folder, and is done once; the first start does it when nobody
// has done it before. Servers listen on loopback ports that were free when they were first started and keep them over
// restarts. They write only below the folder that they are given, and die with the process that started them.
//
// To have MySQL and Elasticsearch by hand, with their addresses printed, until the interrupt key is pressed:
//
//	go run ./integration/component/cmd install   # only fills the cache
//	go run ./integration/component/cmd up        # -dir keeps the data there, else it is thrown away
//
// In a test:
//
//	db, err := component.StartMySQL(ctx, t.TempDir())
//	t.Cleanup(func() { db.Kill() })
//	es, err := component.StartElasticsearch(ctx, t.TempDir(), component.ElasticsearchOptions{})
//	t.Cleanup(func() { es.Kill() })
package component

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// CacheDir names the folder that holds the installs; it need not exist.
func CacheDir() (string, error) {
	if dir := os.Getenv("CANALGO_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(dir, "canalgo"), nil
}

// Install makes sure that all servers and tools are in the cache, and ip where the machine has none.
func Install(ctx context.Context) error {
	if _, err := installMySQL(ctx); err != nil {
		return err
	}
	if _, err := installMariaDB(ctx); err != nil {
		return err
	}
	if _, err := installElasticsearch(ctx); err != nil {
		return err
	}
	if _, err := installZooKeeper(ctx); err != nil {
		return err
	}
	if _, err := installCanal(ctx); err != nil {
		return err
	}
	if _, err := installGhOst(ctx); err != nil {
		return err
	}
	if _, err := installPerconaToolkit(ctx); err != nil {
		return err
	}
	if _, err := installCanalClient(ctx); err != nil {
		return err
	}
	_, err := ipCommand(ctx)
	return err
}

// installOnce returns the folder of a finished install, making it by fill if there is none. Fill works in a scratch
// folder beside it, which takes the final name only when fill is done, so that an install that was interrupted starts
// again. A second installer, also of another process, waits for the first.
func installOnce(ctx context.Context, name string, fill func(ctx context.Context, dir string) error) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	final := filepath.Join(cache, name)
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	lock, err := os.OpenFile(final+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", fmt.Errorf("lock the install of %s: %w", name, err)
	}
	defer lock.Close() // ends the lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock the install of %s: %w", name, err)
	}
	if _, err := os.Stat(final); err == nil {
		return final, nil // somebody else was first
	}
	scratch := final + ".part"
	if err := os.RemoveAll(scratch); err != nil {
		return "", fmt.Errorf("clear an interrupted install of %s: %w", name, err)
	}
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	fmt.Fprintf(os.Stderr, "installing %s into %s\n", name, cache)
	if err := fill(ctx, scratch); err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	if err := os.Rename(scratch, final); err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	return final, nil
}
