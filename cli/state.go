package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"canalgo/cluster"
)

// Carried is the state of a cluster on its way from one coordinator to another.
type Carried struct {
	ClusterID string
	Mode      string // of coordination: where it comes from, or has gone
	Index     uint64 // of the newest command
	State     cluster.State
	Data      []byte // the file
}

// maxState bounds a file with a state, in bytes.
const maxState = 256 << 20

func (i *invocation) state(ctx context.Context, args []string) error {
	flags := i.flags("state")
	start := startFlags(flags)
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(rest) != 2 || rest[0] != "export" && rest[0] != "import" || *start.config == "" {
		return wrongUse("want canalgo state export STATE -config FILE, or import; STATE is the file with the state")
	}
	what, err := start.read(flags)
	if err != nil {
		return err
	}
	for _, warning := range what.File.Warnings {
		fmt.Fprintln(i.stderr, warning)
	}
	if rest[0] == "export" {
		return i.export(ctx, rest[1], what)
	}
	return i.importState(ctx, rest[1], what)
}

func (i *invocation) export(ctx context.Context, name string, what Start) error {
	c, err := i.program.Export(ctx, what.File)
	if err != nil {
		return &PreconditionError{err}
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // it has sealed passwords
	if err != nil {
		return &PreconditionError{err}
	}
	_, err = f.Write(c.Data)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return &PreconditionError{err}
	}
	fmt.Fprintf(i.stdout, "state of cluster %s (%s), command %d\n", c.ClusterID, c.Mode, c.Index)
	printPositions(i.stdout, c.State)
	fmt.Fprintf(i.stdout, "written to %s; do not start this cluster again once the state has gone elsewhere\n", name)
	return nil
}

func (i *invocation) importState(ctx context.Context, name string, what Start) error {
	f, err := os.Open(name)
	if err != nil {
		return &PreconditionError{err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err != nil {
		return &PreconditionError{err}
	}
	if len(data) > maxState {
		return wrongUse("%s: larger than %d MiB; this is not a state", name, maxState>>20)
	}
	c, err := i.program.Import(ctx, what.File, data)
	if err != nil {
		return &PreconditionError{err}
	}
	fmt.Fprintf(i.stdout, "state of cluster %s, command %d\n", c.ClusterID, c.Index)
	printPositions(i.stdout, c.State)
	fmt.Fprintf(i.stdout, "it is now that of a new cluster (%s): start the nodes, each further one with a new data folder and the same token\n", c.Mode)
	return nil
}

// printPositions prints where each stream resumes.
func printPositions(w io.Writer, s cluster.State) {
	var lines []string
	for id, d := range s.Duties {
		if id.Kind == cluster.Stream {
			lines = append(lines, fmt.Sprintf("position of %s: %s", id, d.Position))
		}
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Fprintln(w, line)
	}
}
