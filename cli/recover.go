package cli

import (
	"context"
	"fmt"
	"io"

	"canalgo/cluster"
	"canalgo/config"
)

// A Remnant is what a data folder has of a cluster that lost its majority.
type Remnant struct {
	ClusterID, Node, ServerID string
	Servers                   []cluster.Server
	Term, Index               uint64 // of the newest log entry
	State                     cluster.State
}

func (i *invocation) recover(_ context.Context, args []string) error {
	flags := i.flags("recover")
	data := flags.String("data", config.DefaultNode().Data, "")
	path := flags.String("config", "", "")
	yes := flags.Bool("yes", false, "")
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return wrongUse("recover takes no %q, only -data FOLDER or -config FILE, and -yes", rest[0])
	}
	if err := dataOf(*path, data); err != nil {
		return err
	}
	r, err := i.program.Recover(*data, *yes)
	if err != nil {
		return &PreconditionError{err}
	}
	r.render(i.stdout)
	if *yes {
		fmt.Fprintf(i.stdout, recovered, r.Node)
		return nil
	}
	fmt.Fprintf(i.stdout, toRecover, r.majority())
	return wrongUse("nothing was changed; copy the folder (cp -a), then canalgo recover -data %s -yes", *data)
}

const toRecover = `
With -yes this node becomes a cluster of its own, which the others join anew. That is only right when
  - the folders of a majority (%s) are gone for good. Nodes that can be started, start instead: nothing is lost then;
  - no other node of this cluster runs, or will with its old folder: wipe those;
  - no other folder that is left has a newer entry. Compare by this command: the higher term is newer, then the higher index.
What is kept: the configuration, the positions, the quarantine, as of the entry above. What the others confirmed after it is lost
here: positions (that part is read and written again), and configurations, loads and pauses that were asked for since.
Every source gets a new epoch, above what the lost nodes have written.
`

const recovered = `
node %s is a cluster of its own now: start it. Each further node joins with an empty folder and the token.
Then look at canalgo status and canalgo diff FILE, and load what you do not trust.
`

// majority says how many folders are one.
func (r Remnant) majority() string {
	votes := 0
	for _, s := range r.Servers {
		if s.Voter {
			votes++
		}
	}
	return fmt.Sprintf("%d of %d", votes/2+1, votes)
}

func (r Remnant) render(w io.Writer) {
	fmt.Fprintf(w, "node %s (%s) of cluster %s\nnewest entry: term %d, index %d\nconfiguration %d, %d documents set aside\n",
		r.Node, r.ServerID, r.ClusterID, r.Term, r.Index, r.State.Config.Version, len(r.State.Quarantine))
	for _, s := range r.Servers {
		note := ""
		switch {
		case s.ID == r.ServerID:
			note = ", this folder's"
		case !s.Voter:
			note = ", without a vote"
		}
		fmt.Fprintf(w, "member %s at %s%s\n", s.ID, s.Address, note)
	}
	printPositions(w, r.State)
}
