// Package folder is a node's data folder: its lock, its identity in the cluster and the cluster's secret. What else is in it
// belongs to the coordinator that keeps the cluster's state.
package folder

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

// A Folder is the data folder of one node, locked for this process:
//
//	lock       held by the running process, which writes its pid into it
//	raft.db    log, term and vote
//	snapshots/ of the state
//	secret     16 to 256 bytes, readable by the owner alone
//	meta.json  see Meta; written last, so that a folder with it is whole
type Folder struct {
	Path string
	lock *os.File
}

type Meta struct {
	Format    int    `json:"format"`
	ClusterID string `json:"cluster_id"`
	NodeID    string `json:"node_id"`
	ServerID  string `json:"server_id"`           // NodeID@8 hex digits: this folder's identity in Raft
	Joined    bool   `json:"joined,omitempty"`    // the folder did not begin a cluster: its log comes from a leader
	Removed   bool   `json:"removed,omitempty"`   // the node was removed from the cluster
	ZooKeeper bool   `json:"zookeeper,omitempty"` // the cluster's state is in ZooKeeper, and this folder has the identity alone
}

func (f *Folder) File(name string) string { return filepath.Join(f.Path, name) }

// Open makes the folder if it is not there and locks it.
func Open(path string) (*Folder, error) {
	if path == "" {
		return nil, errors.New("data folder: none given")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, Explain(path, err)
		}
		if err := SyncDir(filepath.Dir(path)); err != nil {
			return nil, Explain(path, err)
		}
	case err != nil:
		return nil, Explain(path, err)
	case !info.IsDir():
		return nil, fmt.Errorf("data folder %s: is a file; name a folder, or a path where one can be made", path)
	}
	f := &Folder{Path: path}
	lock, err := os.OpenFile(f.File("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, Explain(path, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer lock.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data folder %s: lock it: %w; it must be on a local file system", path, err)
		}
		holder := "another process"
		if pid, err := os.ReadFile(f.File("lock")); err == nil && len(pid) > 0 {
			holder = "the process with pid " + strings.TrimSpace(string(pid))
		}
		return nil, fmt.Errorf("data folder %s: in use by %s; stop it, or give this one a folder of its own", path, holder)
	}
	f.lock = lock
	if err := writePid(lock); err != nil {
		lock.Close()
		return nil, Explain(path, err)
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

// Close gives the folder free. The lock file stays: removing it would let two processes hold two of them.
func (f *Folder) Close() error {
	// The pid is only for messages; that it cannot be taken out does no harm.
	_ = f.lock.Truncate(0)
	return f.lock.Close()
}

// ReadMeta returns the zero Meta when the folder is new or was never finished.
func (f *Folder) ReadMeta() (Meta, error) {
	var m Meta
	path := f.File("meta.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, Explain(f.Path, err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("data folder %s: meta.json is damaged: %w", f.Path, err)
	}
	if m.Format != formatVersion {
		return m, fmt.Errorf("data folder %s: has format %d, this version of canalgo reads format %d; start the version that made it, or give another folder",
			f.Path, m.Format, formatVersion)
	}
	if m.ClusterID == "" || m.NodeID == "" || m.ServerID == "" {
		return m, fmt.Errorf("data folder %s: meta.json is damaged: cluster_id, node_id or server_id is missing", f.Path)
	}
	if m.Removed {
		return m, fmt.Errorf("data folder %s: %w", f.Path, cluster.ErrRemoved)
	}
	return m, nil
}

// NewMeta makes the identity of a new folder. A clusterID that is given is that of a cluster to join.
func NewMeta(nodeID, clusterID string) (Meta, error) {
	digits := make([]byte, 4)
	rand.Read(digits) // never fails
	m := Meta{Format: formatVersion, ClusterID: clusterID, NodeID: nodeID, ServerID: nodeID + "@" + hex.EncodeToString(digits), Joined: clusterID != ""}
	if clusterID == "" {
		id, err := uuid.NewRandom()
		if err != nil {
			return Meta{}, fmt.Errorf("make a cluster id: %w", err)
		}
		m.ClusterID = id.String()
	}
	return m, nil
}

func (f *Folder) WriteMeta(m Meta) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode meta.json: %w", err)
	}
	return f.Write("meta.json", append(data, '\n'))
}

// ReadSecret reads the cluster secret.
func (f *Folder) ReadSecret() ([]byte, error) {
	secret, err := os.ReadFile(f.File("secret"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("data folder %s: the file secret is missing; put it back, without it no sealed password can be read", f.Path)
	}
	if err != nil {
		return nil, Explain(f.Path, err)
	}
	if err := ValidSecret(secret); err != nil {
		return nil, fmt.Errorf("data folder %s: the file secret %w", f.Path, err)
	}
	return secret, nil
}

// WriteSecret writes the secret that was given, or makes one.
func (f *Folder) WriteSecret(given []byte) error {
	if given == nil {
		random := make([]byte, 32)
		rand.Read(random) // never fails
		given = []byte(base64.RawURLEncoding.EncodeToString(random))
	}
	return f.Write("secret", given)
}

func ValidSecret(secret []byte) error {
	if len(secret) < minSecret || len(secret) > maxSecret {
		return fmt.Errorf("has %d bytes, must have %d to %d", len(secret), minSecret, maxSecret)
	}
	return nil
}

// Belongs compares what was given with what the folder has.
func (f *Folder) Belongs(clusterID string, given []byte, m Meta, secret []byte) error {
	if clusterID != "" && clusterID != m.ClusterID {
		return fmt.Errorf("data folder %s: belongs to cluster %s, not to %s; give another folder, or wipe this one to join", f.Path, m.ClusterID, clusterID)
	}
	if given != nil && !bytes.Equal(given, secret) {
		return fmt.Errorf("data folder %s: was made with another token than the given one; give the cluster's own (canalgo token prints it), or leave it out", f.Path)
	}
	return nil
}

// Write makes a file that is whole or not there, whenever the process or the machine stops.
func (f *Folder) Write(name string, data []byte) error {
	temporary := f.File(name + ".new")
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return Explain(f.Path, err)
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return Explain(f.Path, err)
	}
	return f.Rename(name)
}

// Rename puts NAME.new into NAME's place.
func (f *Folder) Rename(name string) error {
	if err := os.Rename(f.File(name+".new"), f.File(name)); err != nil {
		return Explain(f.Path, err)
	}
	if err := SyncDir(f.Path); err != nil {
		return Explain(f.Path, err)
	}
	return nil
}

func (f *Folder) Has(name string) (bool, error) {
	_, err := os.Stat(f.File(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, Explain(f.Path, err)
	}
	return true, nil
}

func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// Explain says what would put a file system's refusal right.
func Explain(path string, err error) error {
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
