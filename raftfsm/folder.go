package raftfsm

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"canalgo/cluster"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// formatVersion is the version of the data folder's layout.
const formatVersion = 2

// The cluster secret is a token that somebody gave, or the text of 32 random bytes.
const (
	minSecret = 16
	maxSecret = 256
)

// A folder is the data folder of one node, locked for this process:
//
//	lock       held by the running process, which writes its pid into it
//	raft.db    log, term and vote
//	snapshots/ of the state
//	secret     16 to 256 bytes, readable by the owner alone
//	meta.json  see meta; written last, so that a folder with it is whole
type folder struct {
	path string
	lock *os.File
}

type meta struct {
	Format    int    `json:"format"`
	ClusterID string `json:"cluster_id"`
	NodeID    string `json:"node_id"`
	ServerID  string `json:"server_id"`         // NodeID@8 hex digits: this folder's identity in Raft
	Joined    bool   `json:"joined,omitempty"`  // the folder did not begin a cluster: its log comes from a leader
	Removed   bool   `json:"removed,omitempty"` // the node was removed from the cluster
}

func (f *folder) file(name string) string { return filepath.Join(f.path, name) }

// openFolder makes the folder if it is not there and locks it.
func openFolder(path string) (*folder, error) {
	if path == "" {
		return nil, errors.New("data folder: none given")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, explain(path, err)
		}
		if err := syncDir(filepath.Dir(path)); err != nil {
			return nil, explain(path, err)
		}
	case err != nil:
		return nil, explain(path, err)
	case !info.IsDir():
		return nil, fmt.Errorf("data folder %s: is a file; name a folder, or a path where one can be made", path)
	}
	f := &folder{path: path}
	lock, err := os.OpenFile(f.file("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, explain(path, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer lock.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data folder %s: lock it: %w; it must be on a local file system", path, err)
		}
		holder := "another process"
		if pid, err := os.ReadFile(f.file("lock")); err == nil && len(pid) > 0 {
			holder = "the process with pid " + strings.TrimSpace(string(pid))
		}
		return nil, fmt.Errorf("data folder %s: in use by %s; stop it, or give this one a folder of its own", path, holder)
	}
	f.lock = lock
	if err := writePid(lock); err != nil {
		lock.Close()
		return nil, explain(path, err)
	}
	return f, nil
}

func writePid(lock *os.File) error {
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err := lock.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

// close gives the folder free. The lock file stays: removing it would let two processes hold two of them.
func (f *folder) close() error {
	// The pid is only for messages; that it cannot be taken out does no harm.
	_ = f.lock.Truncate(0)
	return f.lock.Close()
}

// readMeta returns the zero meta when the folder is new or was never finished.
func (f *folder) readMeta() (meta, error) {
	var m meta
	path := f.file("meta.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, explain(f.path, err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("data folder %s: meta.json is damaged: %w", f.path, err)
	}
	if m.Format != formatVersion {
		return m, fmt.Errorf("data folder %s: has format %d, this version of canalgo reads format %d; start the version that made it, or give another folder",
			f.path, m.Format, formatVersion)
	}
	if m.ClusterID == "" || m.NodeID == "" || m.ServerID == "" {
		return m, fmt.Errorf("data folder %s: meta.json is damaged: cluster_id, node_id or server_id is missing", f.path)
	}
	if m.Removed {
		return m, fmt.Errorf("data folder %s: %w", f.path, cluster.ErrRemoved)
	}
	return m, nil
}

// newMeta makes the identity of a new folder. A clusterID that is given is that of a cluster to join.
func newMeta(nodeID, clusterID string) (meta, error) {
	digits := make([]byte, 4)
	rand.Read(digits) // never fails
	m := meta{Format: formatVersion, ClusterID: clusterID, NodeID: nodeID, ServerID: nodeID + "@" + hex.EncodeToString(digits), Joined: clusterID != ""}
	if clusterID == "" {
		id, err := uuid.NewRandom()
		if err != nil {
			return meta{}, fmt.Errorf("make a cluster id: %w", err)
		}
		m.ClusterID = id.String()
	}
	return m, nil
}

func (f *folder) writeMeta(m meta) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode meta.json: %w", err)
	}
	return f.write("meta.json", append(data, '\n'))
}

// readSecret reads the cluster secret.
func (f *folder) readSecret() ([]byte, error) {
	secret, err := os.ReadFile(f.file("secret"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("data folder %s: the file secret is missing; put it back, without it no sealed password can be read", f.path)
	}
	if err != nil {
		return nil, explain(f.path, err)
	}
	if err := validSecret(secret); err != nil {
		return nil, fmt.Errorf("data folder %s: the file secret %w", f.path, err)
	}
	return secret, nil
}

// writeSecret writes the secret that was given, or makes one.
func (f *folder) writeSecret(given []byte) error {
	if given == nil {
		random := make([]byte, 32)
		rand.Read(random) // never fails
		given = []byte(base64.RawURLEncoding.EncodeToString(random))
	}
	return f.write("secret", given)
}

func validSecret(secret []byte) error {
	if len(secret) < minSecret || len(secret) > maxSecret {
		return fmt.Errorf("has %d bytes, must have %d to %d", len(secret), minSecret, maxSecret)
	}
	return nil
}

// belongs compares what was given with what the folder has.
func (f *folder) belongs(c Config, m meta, secret []byte) error {
	if c.ClusterID != "" && c.ClusterID != m.ClusterID {
		return fmt.Errorf("data folder %s: belongs to cluster %s, not to %s; give another folder, or wipe this one to join", f.path, m.ClusterID, c.ClusterID)
	}
	if c.Secret != nil && !bytes.Equal(c.Secret, secret) {
		return fmt.Errorf("data folder %s: was made with another token than the given one; give the cluster's own (canalgo token prints it), or leave it out", f.path)
	}
	return nil
}

// write makes a file that is whole or not there, whenever the process or the machine stops.
func (f *folder) write(name string, data []byte) error {
	temporary := f.file(name + ".new")
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return explain(f.path, err)
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return explain(f.path, err)
	}
	return f.rename(name)
}

// rename puts NAME.new into NAME's place.
func (f *folder) rename(name string) error {
	if err := os.Rename(f.file(name+".new"), f.file(name)); err != nil {
		return explain(f.path, err)
	}
	if err := syncDir(f.path); err != nil {
		return explain(f.path, err)
	}
	return nil
}

func (f *folder) has(name string) (bool, error) {
	_, err := os.Stat(f.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, explain(f.path, err)
	}
	return true, nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// explain says what would put a file system's refusal right.
func explain(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("data folder %s: %w; uid %d must own it and may read and write it", path, err, os.Getuid())
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("data folder %s: %w; a part of the path is a file", path, err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("data folder %s: %w; it must be on a file system that can be written", path, err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("data folder %s: %w; free some space and start again", path, err)
	}
	return fmt.Errorf("data folder %s: %w", path, err)
}
