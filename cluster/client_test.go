package cluster_test

import (
	"errors"
	"strings"
	"testing"

	"canalgo/cluster"
	"canalgo/event"
)

var reader = cluster.ClientID{Source: "shop", Number: 1001}

// following returns a state whose source is open in epoch 1.
func following(t *testing.T) cluster.State {
	t.Helper()
	return after(t, cluster.State{}, cluster.SetConfig{Config: shop("orders")},
		cluster.OpenEpoch{Source: "shop", ServerUUID: "s1", Start: event.Position{File: "f", Offset: 4}})
}

func TestClientKeepsFilterAndPosition(t *testing.T) {
	s := after(t, following(t), cluster.SetClient{ID: reader, Filter: "shop.*"},
		cluster.SaveClients{Positions: map[cluster.ClientID]event.Position{reader: at(1, 9, 30)}})
	want := cluster.Client{Filter: "shop.*", Position: at(1, 9, 30)}
	for name, cmd := range map[string]cluster.Command{
		"subscribed again": cluster.SetClient{ID: reader},
		"an older one":     cluster.SaveClients{Positions: map[cluster.ClientID]event.Position{reader: at(1, 8, 20)}},
		"another epoch":    cluster.SaveClients{Positions: map[cluster.ClientID]event.Position{reader: at(2, 10, 40)}},
	} {
		if got := after(t, s, cmd).Clients[reader]; got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if got := after(t, s, cluster.SetClient{ID: reader, Filter: "a.b"}).Clients[reader]; got.Filter != "a.b" || got.Position != want.Position {
		t.Errorf("with another filter: %+v", got)
	}
	if got := after(t, s, cluster.RemoveClient{ID: reader}); len(got.Clients) != 0 {
		t.Errorf("removed: %+v", got.Clients)
	}
	if got := after(t, s, cluster.SetConfig{Base: 1, Config: cluster.Config{}}); len(got.Clients) != 0 {
		t.Errorf("without its source: %+v", got.Clients)
	}
}

func TestNewEpochMovesClients(t *testing.T) {
	s := after(t, following(t), cluster.SetClient{ID: reader}, save(orders, 0, at(1, event.FirstCount+7, 70)),
		cluster.SaveClients{Positions: map[cluster.ClientID]event.Position{reader: at(1, event.FirstCount+5, 50)}})
	same := after(t, s, cluster.OpenEpoch{Source: "shop", Was: 1, ServerUUID: "s1"})
	client, duty := same.Clients[reader].Position, same.Duties[orders].Position
	if client.Epoch != 2 || client.Count != event.FirstCount || client.Offset != 50 || duty.Count != event.FirstCount+2 {
		t.Errorf("renumbered: client at %+v, duty at %+v", client, duty)
	}
	other := after(t, s, cluster.OpenEpoch{Source: "shop", Was: 1, ServerUUID: "s2", Start: event.Position{GTIDs: "g:1-5"}})
	if got := other.Clients[reader].Position; got != other.Sources["shop"].Start {
		t.Errorf("on another server: %+v, want %+v", got, other.Sources["shop"].Start)
	}
}

func TestClientsAreBounded(t *testing.T) {
	s := following(t)
	for n := range int16(cluster.MaxClients) {
		s = after(t, s, cluster.SetClient{ID: cluster.ClientID{Source: "shop", Number: n}})
	}
	for name, test := range map[string]struct {
		cmd  cluster.Command
		want error
	}{
		"one too many":   {cluster.SetClient{ID: reader}, cluster.ErrInvalid},
		"a long filter":  {cluster.SetClient{ID: cluster.ClientID{Source: "shop"}, Filter: strings.Repeat("a", cluster.MaxFilter+1)}, cluster.ErrInvalid},
		"another source": {cluster.SetClient{ID: cluster.ClientID{Source: "crm"}}, cluster.ErrUnknown},
		"nobody":         {cluster.RemoveClient{ID: reader}, cluster.ErrUnknown},
	} {
		if _, err := s.Apply(test.cmd); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestClientIDAsText(t *testing.T) {
	for _, id := range []cluster.ClientID{reader, {Source: "a-b_1", Number: -32768}} {
		if got, err := cluster.ParseClientID(id.String()); err != nil || got != id {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
	for _, text := range []string{"", "shop", "shop/", "shop/01", "shop/+1", "shop/32768", "Shop/1", "/1", "shop/1/2"} {
		if got, err := cluster.ParseClientID(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}
