package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// Covers reports whether all documents of another fan are among these.
func (f Fan) Covers(other Fan) bool {
	if f.Element == "" {
		return true
	}
	if f.Element != other.Element || !slices.Equal(f.Columns, other.Columns) {
		return false
	}
	has := make(map[string]bool, len(f.Links))
	for _, link := range f.Links {
		has[strings.Join(link, ",")] = true
	}
	return !slices.ContainsFunc(other.Links, func(link []string) bool { return !has[strings.Join(link, ",")] })
}

func (s State) putFanout(c PutFanout) (State, error) {
	duty, err := s.fansOut(c.Duty, c.Epoch)
	if err != nil {
		return s, err
	}
	fanouts := slices.Clone(duty.Fanouts)
	i := slices.IndexFunc(fanouts, func(f Fanout) bool { return f.Fan.Covers(c.Fan) })
	switch {
	case i >= 0 && fanouts[i].Version >= c.Version:
		return s, nil // what is done was rendered behind this change, what is not will be
	case i >= 0: // it goes on from where it is, and once round up to there
		f := &fanouts[i]
		f.Version, f.Until, f.Second = c.Version, f.Key, false
	case len(fanouts) >= MaxFanouts:
		return s, fmt.Errorf("%s renders %d changes beside the stream, no more than %d: %w", c.Duty, len(fanouts), MaxFanouts, ErrInvalid)
	default:
		f := Fanout{ID: 1, Fan: c.Fan, Version: c.Version, Since: c.Since}
		if n := len(fanouts); n > 0 {
			f.ID = fanouts[n-1].ID + 1
		}
		fanouts = append(fanouts, f)
	}
	duty.Fanouts = fanouts
	s.Duties = with(s.Duties, c.Duty, duty)
	return s, nil
}

func (s State) saveFanout(c SaveFanout) (State, error) {
	duty, err := s.fansOut(c.Duty, c.Epoch)
	if err != nil {
		return s, err
	}
	fanouts := slices.Clone(duty.Fanouts)
	i := slices.IndexFunc(fanouts, func(f Fanout) bool { return f.ID == c.ID && f.Second == c.Second && f.Version <= c.At })
	if i < 0 {
		return s, fmt.Errorf("save what %s renders beside the stream: %d at %s, second pass %t: %w", c.Duty, c.ID, c.At, c.Second, ErrStale)
	}
	f := &fanouts[i]
	f.Key, f.Done, f.Total = c.Key, f.Done+c.Done, max(f.Total, c.Total)
	switch {
	case c.End && !f.Second && len(f.Until) > 0:
		f.Key, f.Second = nil, true
	case c.End:
		fanouts = slices.Delete(fanouts, i, i+1)
	}
	if len(fanouts) == 0 {
		fanouts = nil
	}
	duty.Fanouts = fanouts
	s.Duties = with(s.Duties, c.Duty, duty)
	return s, nil
}

// fansOut returns a stream duty that is in an epoch.
func (s State) fansOut(id DutyID, epoch Epoch) (Duty, error) {
	duty, ok := s.Duties[id]
	if !ok || id.Kind != Stream {
		return duty, fmt.Errorf("fan-out of %s: %w", id, ErrUnknown)
	}
	if epoch != duty.Assignment.Epoch {
		return duty, fmt.Errorf("fan-out of %s in epoch %d, now %d: %w", id, epoch, duty.Assignment.Epoch, ErrStale)
	}
	return duty, nil
}
