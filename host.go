package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

// enoughFiles is the least limit of open files that is no reason for a warning. A node needs some for itself and a few for each source
// and each mapping.
const enoughFiles = 1024

// madeIn is before any moment at which this program can run.
var madeIn = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// checkClock refuses a clock that was never set: the versions of documents begin with the minutes since 2024, and would be below those
// that were written before.
func checkClock(now time.Time) error {
	if now.Before(madeIn) {
		return fmt.Errorf("the clock of this host says %s; set it", now.UTC().Format(time.DateTime))
	}
	return nil
}

// lookAtHost says what about this host will do harm later.
func lookAtHost(data string) (warnings []string) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && files.Cur < enoughFiles {
		warnings = append(warnings, fmt.Sprintf("this process may open %d files (ulimit -n), which is too few for many mappings; want at least %d", files.Cur, enoughFiles))
	}
	if inMemory(data) {
		warnings = append(warnings, fmt.Sprintf("node.data: %s is in memory (tmpfs): positions and configuration are lost at a reboot", data))
	}
	return warnings
}

// inMemory reports whether a folder, or the first above it that there is, is on a tmpfs.
func inMemory(folder string) bool {
	const tmpfs = 0x01021994 // TMPFS_MAGIC of statfs(2)
	folder, err := filepath.Abs(folder)
	if err != nil {
		return false
	}
	for {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(folder, &fs); err == nil {
			return fs.Type == tmpfs
		}
		above := filepath.Dir(folder)
		if above == folder {
			return false
		}
		folder = above
	}
}

// ignoreSignals keeps a node alive when its terminal closes, or whoever reads its log: SIGHUP and SIGPIPE would end it without handing
// over. It returns what ends that.
func ignoreSignals(log hclog.Logger) (stop func()) {
	hangUps, pipes := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	signal.Notify(pipes, syscall.SIGPIPE) // nobody reads it: that it is wanted makes the write fail instead
	go func() {
		for range hangUps {
			log.Info("SIGHUP changes nothing; canalgo apply FILE takes a changed file")
		}
	}()
	return func() {
		signal.Stop(hangUps)
		signal.Stop(pipes)
		close(hangUps)
	}
}

// portHolder names the process that listens on an address's port, for the end of a message: "; pid 812 (canalgo) listens there". It is
// empty when nobody does, or when this user may not know.
func portHolder(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return ""
	}
	sockets := listeners(uint16(number))
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is good
	for _, link := range links {
		if to, err := os.Readlink(link); err != nil || !slices.Contains(sockets, to) {
			continue
		}
		process := filepath.Dir(filepath.Dir(link))
		name, err := os.ReadFile(filepath.Join(process, "comm"))
		if err == nil {
			return fmt.Sprintf("; pid %s (%s) listens there", filepath.Base(process), strings.TrimSpace(string(name)))
		}
	}
	return ""
}

// listeners returns the sockets that listen on a port, as links in /proc name them. proc(5) describes the lines of net/tcp: the local
// address is the second field, the state the fourth, the inode the tenth.
func listeners(port uint16) (sockets []string) {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			const listens = "0A"
			if f := strings.Fields(line); len(f) > 9 && f[3] == listens && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				sockets = append(sockets, "socket:["+f[9]+"]")
			}
		}
	}
	return sockets
}
