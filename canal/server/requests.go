package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"canalgo/canal/filter"
	"canalgo/canal/wire"
	"canalgo/cluster"
)

// handle does what a request asks for and reports whether it was answered. An error ends the connection.
func (c *conn) handle(r request) (answered bool, err error) {
	switch r.kind {
	case wire.Subscription, wire.Unsubscription, wire.Get, wire.ClientAck, wire.ClientRollback:
	default:
		return true, c.refuse(codeFailed, "packet type: %s is NOT supported!", r.kind)
	}
	if r.Client.Destination == "" || r.Client.ID == "" {
		return true, c.refuse(codeNoName, "destination or clientId is null")
	}
	switch r.kind {
	case wire.Subscription:
		if err := c.subscribe(r.Client); err != nil {
			return true, c.refuse(codeFailed, "subscribe: %s", err)
		}
		return true, c.write(wire.AckFrame(0, ""))
	case wire.Unsubscription:
		if err := c.unsubscribe(r.Client); err != nil {
			return true, c.refuse(codeFailed, "unsubscribe: %s", err)
		}
		return true, c.write(wire.AckFrame(0, ""))
	case wire.Get:
		return true, c.get(r)
	case wire.ClientAck:
		return false, c.acknowledge(r)
	}
	return false, c.rollback(r)
}

// clientID reads whom a request is for.
func clientID(c wire.Client) (cluster.ClientID, error) {
	number, err := strconv.ParseInt(c.ID, 10, 16)
	if err != nil {
		return cluster.ClientID{}, fmt.Errorf("clientId %q: want a number from -32768 to 32767", printable(c.ID))
	}
	if !cluster.ValidName(c.Destination) {
		return cluster.ClientID{}, fmt.Errorf("destination %q is not known; it is the name of a source", printable(c.Destination))
	}
	return cluster.ClientID{Source: c.Destination, Number: int16(number)}, nil
}

// elsewhere says to a client what a Java server says whose instance does not run.
func elsewhere(id cluster.ClientID, err error) error {
	if errors.Is(err, cluster.ErrNotLeader) {
		return fmt.Errorf("destination:%s should start first: this node does not lead, ask another one", id.Source)
	}
	return err
}

func (c *conn) subscribe(client wire.Client) error {
	id, err := clientID(client)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(strings.ToValidUTF8(client.Filter, "\uFFFD"))
	if _, err := filter.Parse(text); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, startTime)
	defer cancel()
	if err := c.server.leader.Subscribe(ctx, id, text); err != nil {
		return elsewhere(id, err)
	}
	x, err := c.server.session(c, id)
	if err != nil {
		return elsewhere(id, err)
	}
	if err := x.filterBy(x.client.Filter()); err != nil {
		return err
	}
	x.note(c.address, "")
	return nil
}

func (c *conn) unsubscribe(client wire.Client) error {
	id, err := clientID(client)
	if err != nil {
		return err
	}
	if x, err := c.server.session(c, id); err == nil { // nobody else speaks for it meanwhile
		x.rest()
	}
	if err := c.server.leader.Unsubscribe(c.ctx, id); err != nil {
		return elsewhere(id, err)
	}
	c.server.drop(id)
	return nil
}

// acknowledge takes a batch off. Success is not answered; an error is, and the client takes it for the answer of its next request, after which
// no answer would fit its question: so the connection ends.
func (c *conn) acknowledge(r request) error {
	switch r.BatchID {
	case -1: // of an answer without entries
		return nil
	case 0:
		return c.end(codeNoBatch, errors.New("batchId should assign value"))
	}
	id, err := clientID(r.Client)
	if err != nil {
		return c.end(codeFailed, err)
	}
	x, err := c.server.session(c, id)
	if err != nil {
		return c.end(codeFailed, elsewhere(id, err))
	}
	if err := x.acknowledge(r.BatchID); err != nil {
		x.note(c.address, err.Error())
		return c.end(codeFailed, err)
	}
	x.note(c.address, x.told)
	return nil
}

// rollback has what is not acknowledged given again. It is not answered, see acknowledge; clients send it before they subscribe, too.
func (c *conn) rollback(r request) error {
	id, err := clientID(r.Client)
	if err != nil {
		return c.end(codeFailed, err)
	}
	x, err := c.server.session(c, id)
	if err != nil { // whatever it is, there is nothing to give again, and the next request says so
		return nil
	}
	if r.BatchID != 0 && (len(x.out) == 0 || x.out[0].id != r.BatchID) {
		err := fmt.Errorf("rollback error, clientId:%d batchId:%d is not exist , please check", id.Number, r.BatchID)
		if len(x.out) > 0 {
			err = fmt.Errorf("batchId:%d is not the firstly:%d", r.BatchID, x.out[0].id)
		}
		x.note(c.address, err.Error())
		return c.end(codeFailed, err)
	}
	x.rollback()
	x.note(c.address, x.told)
	return nil
}

// end answers with an error and has the connection end.
func (c *conn) end(code int32, err error) error {
	if err := c.refuse(code, "%s", err); err != nil {
		return err
	}
	return &refusal{err.Error()}
}
