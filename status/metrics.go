package status

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewRegistry returns a registry with the metrics of the reports that read returns, and those of the Go runtime and the
// process. read is called at each scrape, from several goroutines.
func NewRegistry(read func() Report) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{read: read}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// collector turns a Report into metrics at scrape time, so that both always say the same.
type collector struct{ read func() Report }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("canalgo_"+name, help, labels, nil)
}

var (
	descInfo       = describe("info", "Always 1; the labels say who this is.", "node", "version")
	descStart      = describe("start_time_seconds", "When the process started, in Unix time.")
	descHealthy    = describe("healthy", "1 while nothing is wrong, else 0.")
	descProblems   = describe("problems", "Problems that the status lists.")
	descTerm       = describe("term", "Term of the leader.")
	descLeader     = describe("leader", "1 while this node leads, else 0.")
	descApplied    = describe("applied_index", "Index of the newest applied log entry.")
	descConfig     = describe("config_version", "Version of the configuration in use.")
	descQuarantine = describe("quarantine_documents", "Documents that are set aside.")

	descSourceState   = describe("source_state", "1 for the state that the source is in.", "source", "state")
	descSourceLag     = describe("source_lag_seconds", "How far reading is behind the server.", "source")
	descSourceBytes   = describe("source_lag_bytes", "Bytes of the server's log that are not yet read.", "source")
	descSourceFiles   = describe("source_files_until_purge", "Files between the oldest on the server and the oldest needed.", "source")
	descSourcePurge   = describe("source_seconds_until_purge", "Time until the server deletes a file that is needed.", "source")
	descSourceKeeps   = describe("source_retention_seconds", "How long the server keeps a file that it has ended.", "source")
	descSourceEvents  = describe("source_events_total", "Rows and statement events that were read.", "source")
	descSourceRead    = describe("source_read_bytes_total", "Bytes that were read.", "source")
	descSourceFilter  = describe("source_filtered_events_total", "Rows events of tables that nobody wants.", "source")
	descSourceConnect = describe("source_reconnects_total", "Connections that were opened again.", "source")
	descSourceRing    = describe("source_ring_bytes", "Bytes of events held in memory.", "source")
	descSourceCatchUp = describe("source_catch_ups", "Private streams of duties that fell behind.", "source")

	descSourceStall = describe("source_stall_seconds", "For how long a step of reading that is due has not got on.", "source", "step")

	descSourceCaught = describe("source_catch_ups_ended_total", "Catch-ups that have ended.", "source")

	descSourceXA = describe("source_xa_open", "XA transactions with rows of mapped tables that are prepared and not ended.", "source")

	descNodeState   = describe("node_state", "1 for the state that the node is in.", "node", "state")
	descNodeApplied = describe("node_applied_index", "Index of the newest log entry that the node has applied.", "node")
	descNodeLease   = describe("node_lease_seconds", "How much of the node's lease is left.", "node")
	descNodeDuties  = describe("node_duties", "Duties that the node does.", "node")
	descNodeStall   = describe("node_stall_seconds", "For how long a step of the leader that is due has not got on.", "node", "step")
	descTolerates   = describe("tolerates_failures", "How many nodes can fail before there is no majority left.")

	descDutyStage    = describe("duty_stage", "1 for the stage that the duty is in.", "duty", "stage")
	descDutyLag      = describe("duty_lag_seconds", "How far the destination is behind the source.", "duty")
	descDutyBytes    = describe("duty_lag_bytes", "Bytes of the source's log that the destination does not have.", "duty")
	descDutyRead     = describe("duty_rows_total", "Rows that were read.", "duty")
	descDutyFiltered = describe("duty_filtered_rows_total", "Rows that no document is made of.", "duty")
	descDutyChanges  = describe("duty_changes_total", "Changes of documents; the sum of those that are merged, applied, older, set aside and held.", "duty")
	descDutyMerged   = describe("duty_merged_total", "Changes that a later one of the same document replaced before they were sent.", "duty")
	descDutyHeld     = describe("duty_held", "Changes of documents that the destination has not answered for.", "duty")
	descDutyApplied  = describe("duty_applied_total", "Documents that the destination confirmed.", "duty")
	descDutyOlder    = describe("duty_older_total", "Documents that the destination had already, at the same version or a newer one.", "duty")
	descDutySetAside = describe("duty_set_aside_total", "Documents that were set aside.", "duty")
	descDutyRetries  = describe("duty_retries_total", "Requests that were sent again.", "duty")
	descDutyNulled   = describe("duty_nulled_values_total", "Dates of no calendar, and other values by on_overflow and on_invalid, that were written as null.", "duty")
	descDutyClipped  = describe("duty_clipped_values_total", "Values that on_overflow or on_invalid had clipped.", "duty")
	descDutyInFlight = describe("duty_in_flight", "Requests on the way to the destination.", "duty")
	descDutyStall    = describe("duty_stall_seconds", "For how long a step of the duty that is due has not got on.", "duty", "step")
	descDutyAside    = describe("duty_quarantine_documents", "Documents of the mapping that are set aside.", "duty")
	descDutyMaxAside = describe("duty_quarantine_limit", "Documents of the mapping that may be set aside before it stops.", "duty")
	descDutyFanouts  = describe("duty_fanouts", "Changes of other rows whose documents are rendered beside the stream.", "duty")
	descDutyFanLeft  = describe("duty_fanout_documents_left", "Documents that are still to be rendered beside the stream, as far as they are counted.", "duty")
	descLoadRows     = describe("load_rows", "Rows that the load has written.", "duty")
	descLoadTotal    = describe("load_rows_estimate", "Estimate of the rows that the load will write.", "duty")
	descLoadSwept    = describe("load_swept_documents", "Documents that the load's sweep deleted.", "duty")

	descClientLag       = describe("client_lag_seconds", "How far what a client of canal's protocol has acknowledged is behind the source.", "client")
	descClientBytes     = describe("client_lag_bytes", "Bytes of the source's log that the client has not acknowledged.", "client")
	descClientGiven     = describe("client_unacknowledged_bytes", "Bytes that the client was given and has not acknowledged.", "client")
	descClientBatches   = describe("client_unacknowledged_batches", "Batches that the client was given and has not acknowledged.", "client")
	descClientConnected = describe("client_connected", "1 while the client is connected, else 0.", "client")
)

// Describe sends nothing: which metrics there are depends on what is known.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	r := c.read()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	gauge(descInfo, 1, r.Node, r.Version)
	if !r.Started.IsZero() {
		gauge(descStart, float64(r.Started.UnixNano())/float64(time.Second))
	}
	gauge(descHealthy, number(r.Healthy))
	gauge(descProblems, float64(len(r.Problems)))
	gauge(descTerm, float64(r.Term))
	gauge(descLeader, number(r.Leader != "" && r.Leader == r.Node))
	gauge(descApplied, float64(r.Applied))
	gauge(descConfig, float64(r.ConfigVersion))
	gauge(descQuarantine, float64(r.Quarantine))
	if r.Tolerates != nil {
		gauge(descTolerates, float64(*r.Tolerates))
	}
	duties := make(map[string]int)
	for _, d := range r.Duties {
		duties[d.Node]++
	}
	stall := func(d *prometheus.Desc, s *Stall, of string) {
		if s != nil {
			gauge(d, s.Seconds, of, s.Step)
		}
	}
	for _, n := range r.Nodes {
		stall(descNodeStall, n.Stall, n.Name)
		gauge(descNodeState, 1, n.Name, string(n.State))
		gauge(descNodeDuties, float64(duties[n.Name]), n.Name)
		if n.State != NodeUnreachable {
			gauge(descNodeApplied, float64(n.Applied), n.Name)
			gauge(descNodeLease, n.LeaseSeconds, n.Name)
		}
	}
	for _, s := range r.Sources {
		stall(descSourceStall, s.Stall, s.Name)
		gauge(descSourceState, 1, s.Name, string(s.State))
		if s.LagSeconds != nil {
			gauge(descSourceLag, *s.LagSeconds, s.Name)
		}
		if s.LagBytes != nil {
			gauge(descSourceBytes, float64(*s.LagBytes), s.Name)
		}
		if s.FilesUntilPurge != nil {
			gauge(descSourceFiles, float64(*s.FilesUntilPurge), s.Name)
		}
		if s.SecondsUntilPurge != nil {
			gauge(descSourcePurge, *s.SecondsUntilPurge, s.Name)
		}
		if s.RetentionSeconds != nil {
			gauge(descSourceKeeps, *s.RetentionSeconds, s.Name)
		}
		counter(descSourceEvents, s.EventsRead, s.Name)
		counter(descSourceRead, s.BytesRead, s.Name)
		counter(descSourceFilter, s.RowsFiltered, s.Name)
		counter(descSourceConnect, s.Reconnects, s.Name)
		gauge(descSourceRing, float64(s.RingBytes), s.Name)
		gauge(descSourceCatchUp, float64(len(s.CatchUps)), s.Name)
		counter(descSourceCaught, s.CaughtUp, s.Name)
		open := 0
		if s.XA != nil {
			open = s.XA.Open
		}
		gauge(descSourceXA, float64(open), s.Name)
	}
	for _, c := range r.Clients {
		if c.LagSeconds != nil {
			gauge(descClientLag, *c.LagSeconds, c.ID)
		}
		if c.LagBytes != nil {
			gauge(descClientBytes, float64(*c.LagBytes), c.ID)
		}
		gauge(descClientGiven, float64(c.Bytes), c.ID)
		gauge(descClientBatches, float64(c.Batches), c.ID)
		gauge(descClientConnected, number(c.Address != ""), c.ID)
	}
	for _, d := range r.Duties {
		stall(descDutyStall, d.Stall, d.ID)
		gauge(descDutyStage, 1, d.ID, string(d.Stage))
		if d.LagSeconds != nil {
			gauge(descDutyLag, *d.LagSeconds, d.ID)
		}
		if d.LagBytes != nil {
			gauge(descDutyBytes, float64(*d.LagBytes), d.ID)
		}
		counter(descDutyRead, d.Counters.Read, d.ID)
		counter(descDutyApplied, d.Counters.Applied, d.ID)
		counter(descDutyFiltered, d.Counters.Filtered, d.ID)
		counter(descDutyChanges, d.Counters.Changes, d.ID)
		counter(descDutyMerged, d.Counters.Merged, d.ID)
		gauge(descDutyHeld, float64(d.Counters.Held), d.ID)
		counter(descDutyOlder, d.Counters.Older, d.ID)
		counter(descDutySetAside, d.Counters.SetAside, d.ID)
		counter(descDutyRetries, d.Counters.Retries, d.ID)
		counter(descDutyNulled, d.Counters.NulledValues, d.ID)
		counter(descDutyClipped, d.Counters.ClippedValues, d.ID)
		gauge(descDutyInFlight, float64(d.Counters.InFlight), d.ID)
		gauge(descDutyFanouts, float64(len(d.Fanouts)), d.ID)
		var left uint64
		for _, f := range d.Fanouts {
			left += f.Total - min(f.Total, f.Done)
		}
		gauge(descDutyFanLeft, float64(left), d.ID)
		if d.QuarantineLimit > 0 {
			gauge(descDutyAside, float64(d.Quarantine), d.ID)
			gauge(descDutyMaxAside, float64(d.QuarantineLimit), d.ID)
		}
		if d.Load != nil {
			gauge(descLoadRows, float64(d.Load.Rows), d.ID)
			gauge(descLoadTotal, float64(d.Load.Total), d.ID)
			gauge(descLoadSwept, float64(d.Load.Swept), d.ID)
		}
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
