package folder

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Found is what a data folder says of its node without being opened. The zero Found is that of a folder that New would make.
type Found struct {
	ClusterID, NodeID, ServerID string
	Secret                      []byte // not to be shown
}

// IsZero reports whether there is no finished data folder.
func (f Found) IsZero() bool { return f.ClusterID == "" }

// Look reads what a data folder says of its node. It changes nothing, and does not care whether a process holds the folder.
func Look(dir string) (Found, error) {
	f := &Folder{Path: dir}
	made, err := f.Has("meta.json")
	if err != nil && errors.Is(err, unix.ENOTDIR) {
		return Found{}, nil // New says what is wrong
	}
	if err != nil || !made {
		return Found{}, err
	}
	m, err := f.ReadMeta()
	if err != nil {
		return Found{}, err
	}
	secret, err := f.ReadSecret()
	return Found{ClusterID: m.ClusterID, NodeID: m.NodeID, ServerID: m.ServerID, Secret: secret}, err
}
