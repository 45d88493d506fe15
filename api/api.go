// Package api is a node's HTTP interface: the Server that answers and the Client that the commands use.
//
//	GET  /status               the report as JSON; ?format=text as the table for people
//	GET  /health               200 while nothing is wrong, else 503 with a line for each problem
//	GET  /healthz              200 while the process works
//	GET  /readyz               200 while every source is read and nothing is stuck, else 503 with the reasons
//	GET  /metrics              for Prometheus
//	POST /v1/pause             {"what": "source/NAME" | "sink/NAME" | "mapping/NAME"}
//	POST /v1/resume            the same
//	POST /v1/apply             {"key": ..., "config": ..., "dry_run": bool}, see Client.Apply
//	POST /v1/load              {"duty": "SOURCE/MAPPING"}, with {"part": {"params": ["PARAM"]}} of the rows of its etlCondition
//	GET  /v1/load?duty=ID      the load's line of the report
//	POST /v1/verify            {"duty": "SOURCE/MAPPING", "values": bool}; a line of JSON now and then, the last with the result
//	GET  /v1/quarantine        what is set aside
//	GET  /v1/quarantine/ID
//	POST /v1/quarantine/retry  {"ids": [1, 2]} or {"all": true}
//	POST /v1/quarantine/drop   the same
//	POST /v1/rewind            {"source": NAME, "start": PLACE}
//	POST /v1/remove            {"node": NAME}
//	POST /v1/leave             {}
//
// Any node answers. What begins with /v1/, but for leave and verify, it passes on to the leader.
//
// Every answer but the table, /health and the metrics is JSON; an error is {"error": TEXT}. What begins with /v1/ is answered only
// over loopback, and to no page of a browser: it can hold keys of rows, or change the state.
package api

import (
	"context"
	"errors"

	"canalgo/cluster"
	"canalgo/config"
	"canalgo/status"
	"canalgo/verify"
)

// Errors of a Control that say whose fault it is. Wrapped, their text is what the user reads.
var (
	// ErrNotFound is returned for a name or id that there is not.
	ErrNotFound = errors.New("not found")
	// ErrRefused is returned for what cannot be done as things stand, for example the load of a mapping that is loading.
	ErrRefused = errors.New("refused")
)

// A Part says which rows a load is of: those of the mapping's etlCondition with these parameters.
type Part struct {
	Params []string `json:"params"`
}

// Control is what a node lets the API do. It is used by several goroutines. Errors that are neither ErrNotFound nor
// ErrRefused, nor of cluster.ErrNotLeader, count as the node's own.
type Control interface {
	// Report returns what the cluster does now.
	Report(ctx context.Context) status.Report
	// Leader returns the node port of the leader, "" while there is none, and whether this node is it.
	Leader() (address string, here bool)
	// SetPaused pauses or resumes "source/NAME", "sink/NAME" or "mapping/NAME" and returns when it is replicated.
	SetPaused(ctx context.Context, what string, paused bool) error
	// Apply replaces the configuration by file, which is valid by itself; with dryRun it only says what would change.
	Apply(ctx context.Context, file config.File, dryRun bool) (Applied, error)
	// StartLoad begins, or begins again, the load of a mapping; of the rows of its etlCondition when there is a part.
	StartLoad(ctx context.Context, source, mapping string, part *Part) error
	// Verify compares the rows of a mapping with its documents and calls progress now and then; values says whether the result
	// tells what differing fields hold.
	Verify(ctx context.Context, source, mapping string, values bool, progress func(verify.Result)) (verify.Result, error)
	// Quarantine returns what is set aside, ordered by id.
	Quarantine(ctx context.Context) ([]cluster.Quarantined, error)
	// RetryQuarantine writes the documents again from their rows as they are now. It returns how many are no longer set aside,
	// and why the others are, joined by errors.Join.
	RetryQuarantine(ctx context.Context, ids []uint64) (int, error)
	// DropQuarantine forgets entries and returns how many there were.
	DropQuarantine(ctx context.Context, ids []uint64) (int, error)
	// Rewind starts a source again from a place, and returns the place in the log.
	Rewind(ctx context.Context, source, start string) (string, error)
	// Remove takes a node out of the cluster.
	Remove(ctx context.Context, node string) error
	// Leave has this node hand over, leave the cluster and stop. It returns at once.
	Leave()
}

// Applied says what Apply changed, or would change.
type Applied struct {
	Version uint64   `json:"version"` // of the configuration now in use
	Changes []string `json:"changes"` // in words; none when there is no difference
	// NeedLoad are the "SOURCE/MAPPING" whose documents were written by an older rule and stay until a load.
	NeedLoad []string `json:"need_load,omitempty"`
}

// The bodies of requests and answers.
type (
	pauseBody struct {
		What string `json:"what"`
	}
	applyBody struct {
		Key    []byte         `json:"key"` // that the secrets in Config are sealed with; made for this one request
		Config cluster.Config `json:"config"`
		DryRun bool           `json:"dry_run"`
	}
	loadBody struct {
		Duty string `json:"duty"`
		Part *Part  `json:"part,omitempty"`
	}
	rewindBody struct {
		Source string `json:"source"`
		Start  string `json:"start"`
	}
	rewoundBody struct {
		Position string `json:"position"`
	}
	removeBody struct {
		Node string `json:"node"`
	}
	idsBody struct {
		IDs []uint64 `json:"ids,omitempty"`
		All bool     `json:"all,omitempty"`
	}
	countBody struct {
		Count  int      `json:"count"`
		Failed []string `json:"failed,omitempty"` // why the others are as they were
	}
	doneBody struct {
		Done string `json:"done"`
	}
	errorBody struct {
		Error   string   `json:"error"`
		Reasons []string `json:"reasons,omitempty"`
	}
)
