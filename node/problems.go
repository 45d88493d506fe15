package node

import (
	"fmt"

	"canalgo/status"
)

// problems says in sentences what is wrong and what to do.
func problems(r status.Report) []string {
	var out []string
	if r.Leader == "" {
		out = append(out, "there is no leader: nothing is read or written")
	}
	for _, s := range r.Sources {
		switch s.State {
		case status.SourceStopped, status.SourceConnecting:
			if s.LastError != "" {
				out = append(out, fmt.Sprintf("source %s is %s: %s", s.Name, s.State, s.LastError))
			}
		}
		if s.SecondsUntilPurge != nil && *s.SecondsUntilPurge < 3600 {
			out = append(out, fmt.Sprintf("source %s deletes a binary log that is still needed within %.0f minutes: raise binlog_expire_logs_seconds", s.Name, *s.SecondsUntilPurge/60))
		}
	}
	for _, node := range r.Nodes {
		switch node.State {
		case status.NodeUnreachable:
			out = append(out, fmt.Sprintf("node %s does not answer: %s; start it again, or canalgo remove %s", node.Name, node.LastError, node.Name))
		case status.NodeNoLease:
			if r.Leader != "" {
				out = append(out, fmt.Sprintf("node %s has no lease: the leader does not hear it; it begins no write", node.Name))
			}
		}
	}
	for _, d := range r.Duties {
		switch {
		case d.Stage.Stuck():
			out = append(out, fmt.Sprintf("%s is %s: %s", d.ID, d.Stage, d.LastError))
		case d.Stage == status.Waiting && d.LastError != "":
			out = append(out, fmt.Sprintf("%s waits for %s: %s", d.ID, d.WaitingFor, d.LastError))
		}
		if d.QuarantineLimit > 0 && d.Quarantine >= d.QuarantineLimit/2 {
			out = append(out, fmt.Sprintf("%s has %d documents set aside, and stops when more than %d would be: mend the cause, then canalgo quarantine retry all", d.ID, d.Quarantine, d.QuarantineLimit))
		}
	}
	if r.Quarantine > 0 {
		out = append(out, fmt.Sprintf("%d documents are set aside: canalgo quarantine ls", r.Quarantine))
	}
	return out
}
