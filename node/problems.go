package node

import (
	"fmt"

	"canalgo/sink"
	"canalgo/snapshot"
	"canalgo/status"
)

// problems says in sentences what is wrong and what to do.
func problems(r status.Report) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if r.Leader == "" {
		say("there is no leader: nothing is read or written")
	}
	for _, s := range r.Sources {
		switch {
		case (s.State == status.SourceStopped || s.State == status.SourceConnecting) && s.LastError != "":
			say("source %s is %s: %s", s.Name, s.State, s.LastError)
		case s.Stall != nil:
			say("source %s does not get on: %s", s.Name, stallText(s.Stall))
		}
		if text := purgeText(s); text != "" {
			say("%s", text)
		}
	}
	for _, node := range r.Nodes {
		switch {
		case node.State == status.NodeUnreachable:
			say("node %s does not answer: %s; start it again, or canalgo remove %s", node.Name, node.LastError, node.Name)
		case node.State == status.NodeNoLease && r.Leader != "":
			say("node %s has no lease: the leader does not hear it; it begins no write", node.Name)
		}
		if node.Stall != nil {
			say("leader %s does not get on: %s", node.Name, stallText(node.Stall))
		}
	}
	for _, d := range r.Duties {
		switch {
		case d.Stage.Stuck():
			say("%s is %s: %s", d.ID, d.Stage, d.LastError)
		case d.Stage == status.Waiting && d.LastError != "":
			say("%s waits for %s: %s", d.ID, d.WaitingFor, d.LastError)
		case d.Stall != nil && d.Load != nil && d.LastError != "":
			say("%s does not get on: %s: %s", d.ID, stallText(d.Stall), d.LastError)
		case d.Stall != nil:
			say("%s does not get on: %s", d.ID, stallText(d.Stall))
		}
		if d.Later > 0 {
			say("%s: %d documents have versions of a later epoch than the source: the data folders are older than the index, or another canalgo writes to it; stop that one, or canalgo load %s", d.ID, d.Later, d.ID)
		}
		if d.QuarantineLimit > 0 && d.Quarantine >= d.QuarantineLimit/2 {
			say("%s has %d documents set aside, and stops when more than %d would be: mend the cause, then canalgo quarantine retry all", d.ID, d.Quarantine, d.QuarantineLimit)
		}
	}
	if r.Quarantine > 0 {
		say("%d documents are set aside: canalgo quarantine ls", r.Quarantine)
	}
	return out
}

// hints say what a step waits for.
var hints = map[string]string{
	"source":                   "the server has not answered",
	stepRead:                   "the server has more, and nothing of it comes",
	stepFeed:                   "what was read does not get to the node that writes it, or its acknowledgement not back",
	snapshot.Reading:           "the server has not given them",
	string(sink.Mapping):       "a batch is still decoded and mapped",
	string(sink.LookingUp):     "the source has not answered what documents have become",
	string(sink.Writing):       "the destination has not answered",
	string(sink.Acknowledging): "what was written is not acknowledged",
	stepSave:                   "the disk of this node, or those of a majority, take no entry",
}

func stallText(s *status.Stall) string {
	hint, ok := hints[s.Step]
	if !ok {
		hint = "it waits for that"
	}
	return fmt.Sprintf("%s, %s for %s", s.Step, hint, status.Seconds(s.Seconds))
}

// purgeText warns while the server still keeps what is needed, in three degrees.
func purgeText(s status.Source) string {
	const fix = "let what holds it catch up (canalgo status), or raise binlog_expire_logs_seconds"
	left := 1.0
	if s.SecondsUntilPurge != nil && s.RetentionSeconds != nil {
		left = *s.SecondsUntilPurge / *s.RetentionSeconds
	}
	switch {
	case left < 0.2:
		return fmt.Sprintf("source %s loses rows soon: it needs %s, and the server deletes that in %s; %s", s.Name, s.Needed, status.Seconds(*s.SecondsUntilPurge), fix)
	case s.PurgeNear:
		return fmt.Sprintf("source %s may lose rows: it needs %s, one of the server's two oldest logs, and others were deleted lately; %s, and let nobody purge", s.Name, s.Needed, fix)
	case left < 0.5:
		return fmt.Sprintf("source %s needs %s, which the server deletes in %s, of the %s that it keeps one; %s", s.Name, s.Needed,
			status.Seconds(*s.SecondsUntilPurge), status.Seconds(*s.RetentionSeconds), fix)
	}
	return ""
}
