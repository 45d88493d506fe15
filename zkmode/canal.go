package zkmode

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

// What canal's servers, clients and adapters have in the ensemble, below otter/canal:
//
//	cluster/ADDRESS                        a server, ephemeral
//	destinations/D/cluster/ADDRESS         a server that has destination D, ephemeral
//	destinations/D/running                 the one that reads it, ephemeral, as runningNode
//	destinations/D/CLIENT/cursor, filter   how far a client has come, see canal/cursor, and which tables it wants
//	destinations/D/canalgo                 canalgo's own beside them, as mark; canal skips what is no number
//
// A destination is a source of that name. All of it is open to everybody: canal's programs have no login.

// Canal is what a node is among canal's servers.
type Canal struct {
	Address string // host:port that it registers
	Client  int16  // whose cursor is that of the source's duties
	Serves  bool   // it answers canal's clients: those that have a cursor are taken over with the source
}

func (n *Node) canal(s *session, parts ...string) string {
	return s.path(append([]string{"otter", "canal"}, parts...)...)
}

func (n *Node) destination(s *session, source string, parts ...string) string {
	return n.canal(s, append([]string{"destinations", source}, parts...)...)
}

var openToAll = zk.WorldACL(zk.PermAll)

// registerEvery is how often what is registered is looked after: a server that was started again within its former session loses its
// znodes with that.
const registerEvery = 2 * time.Second

// register shows this node among canal's servers, for each source.
func (n *Node) register(ctx context.Context, s *session) error {
	tick := time.NewTicker(registerEvery)
	defer tick.Stop()
	var was []string
	for {
		v, _ := n.View()
		wanted := slices.Sorted(maps.Keys(v.Config.Sources))
		paths := []string{n.canal(s, "cluster", n.cfg.Canal.Address)}
		for _, source := range wanted {
			paths = append(paths, n.destination(s, source, "cluster", n.cfg.Canal.Address))
		}
		for _, path := range paths {
			if err := n.beThere(ctx, s, path); err != nil {
				return err
			}
		}
		for _, source := range was {
			if !slices.Contains(wanted, source) {
				if err := s.remove(ctx, n.destination(s, source, "cluster", n.cfg.Canal.Address)); err != nil {
					return err
				}
			}
		}
		was = wanted
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.over:
			return errOver
		}
	}
}

// beThere makes an ephemeral znode of this session, in place of one of another.
func (n *Node) beThere(ctx context.Context, s *session, path string) error {
	for {
		found, err := s.get(ctx, path, false)
		switch {
		case err == nil && found.owner == s.id:
			return nil
		case err == nil:
			if err := s.remove(ctx, path); err != nil {
				return err
			}
		case !errors.Is(err, zk.ErrNoNode):
			return err
		}
		if err := s.create(ctx, path[:strings.LastIndexByte(path, '/')], openToAll); err != nil {
			return err
		}
		_, err = s.multi(ctx, &zk.CreateRequest{Path: path, Acl: openToAll, Flags: zk.FlagEphemeral})
		if err != nil && answered(err) && !errors.Is(err, zk.ErrNodeExists) && !errors.Is(err, zk.ErrNoNode) {
			return fmt.Errorf("register %s: %w", path, err)
		}
		if errors.Is(err, errOver) || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}
