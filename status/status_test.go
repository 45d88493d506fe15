package status_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"canalgo/status"
)

func pointer[T any](v T) *T { return &v }

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func report() status.Report {
	return status.Report{
		Time: now, Node: "n1", Version: "0.1.0", Started: now.Add(-26 * time.Hour), Leader: "n1", Term: 3, Applied: 812,
		ConfigVersion: 2, Quarantine: 4,
		ConfigDiffers: []string{"source.shop.password: changed"},
		Problems: []string{"shop/orders is stuck for 2m5s: " + strings.Repeat("the destination does not answer ", 6) +
			"- start Elasticsearch at http://127.0.0.1:9200 or name another address"},
		Sources: []status.Source{{
			Name: "shop", State: status.SourceStreaming, Since: now.Add(-90 * time.Second), Newest: "binlog.000042:1190",
			LagSeconds: pointer(0.4), LagBytes: pointer(uint64(5 << 20)), EventsRead: 7, FilesUntilPurge: pointer(3),
		}},
		Duties: []status.Duty{{
			ID: "shop/orders", Kind: "stream", Stage: status.Stuck, Since: now.Add(-125 * time.Second),
			Position: "binlog.000041:4", LagSeconds: pointer(125.0), LastError: "write orders: " + strings.Repeat("connection refused\n", 20),
			Counters: status.Counters{Read: 10, Account: status.Account{Changes: 10, Applied: 9, Older: 1}},
		}, {
			ID: "shop/orders#load", Kind: "load", Stage: status.Working, Since: now.Add(-5 * time.Second),
			Load: &status.Load{Phase: "copying", Rows: 1234567, Total: 2469134, RowsPerSecond: 40000, SecondsLeft: pointer(31.0)},
		}, {
			ID: "shop/items", Kind: "stream", Stage: status.Working, Fanouts: []status.Fanout{{Rows: "c", Done: 1200, Total: 100000}, {Total: 5000}},
		}},
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	if err := report().Table(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > 120 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, want := range []string{
		"node n1 · stuck · leads in term 3 · up 1d2h · configuration 2 · canalgo 0.1.0",
		"shop    streaming  1m30s  0.4s 5.0MiB  binlog.000042:1190",
		"shop/orders       stuck    2m5s   2m5s  binlog.000041:4",
		"1,234,567/2,469,134 50% 40,000/s 31s left",
		"write orders: connection refused",
		"renders 1,200/100,000 of changed c",
		"4 documents are set aside: canalgo quarantine ls",
		"source.shop.password: changed",
		"or name another address",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("missing %q in\n%s", want, out.String())
		}
	}
	duty := func(id string) (found int) {
		for _, line := range lines {
			if strings.HasPrefix(line, id+" ") {
				found++
			}
		}
		return found
	}
	if duty("shop/orders") != 1 || duty("shop/orders#load") != 1 {
		t.Errorf("not one line per duty:\n%s", out.String())
	}
}

func TestTableFitsLongNames(t *testing.T) {
	r := report()
	r.Duties[0].ID = strings.Repeat("long", 40)
	r.Duties[0].Position = strings.Repeat("8e2f8d60-9af9-11ec-b909-0242ac120002:1-500,", 30)
	r.Duties[0].LastError = "escape \x1b[2J sequences are not passed on"
	var out strings.Builder
	if err := r.Table(&out); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if n := utf8.RuneCountInString(line); n > 120 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("a control character reached the terminal")
	}
}

func TestStuck(t *testing.T) {
	cases := map[status.Stage]bool{
		status.Idle: false, status.Reading: false, status.Working: false, status.Waiting: false, status.Paused: false, status.Done: false,
		status.Stuck: true, status.NeedsLoad: true, status.Stopped: true,
	}
	for stage, want := range cases {
		r := status.Report{Duties: []status.Duty{{Stage: status.Idle}, {Stage: stage}}}
		if got := r.Stuck(); got != want {
			t.Errorf("%s: got %v", stage, got)
		}
	}
	stopped := status.Report{Sources: []status.Source{{State: status.SourceStopped}}}
	if !stopped.Stuck() || stopped.Connected() {
		t.Error("a stopped source is neither stuck nor disconnected")
	}
	if (status.Report{Sources: []status.Source{{State: status.SourceConnecting}}}).Connected() {
		t.Error("a connecting source is connected")
	}
	if !(status.Report{Sources: []status.Source{{State: status.SourceHeld}}}).Connected() {
		t.Error("a held source is not connected")
	}
}

func TestJSONKeepsEverything(t *testing.T) {
	want := report()
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got status.Report
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestSeconds(t *testing.T) {
	for s, want := range map[float64]string{0: "0s", -3: "0s", 0.42: "0.4s", 9.96: "9.9s", 10: "10s", 59.9: "59s", 200: "3m20s", 18600: "5h10m", 356400: "4d3h"} {
		if got := status.Seconds(s); got != want {
			t.Errorf("%v: got %s, want %s", s, got, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	r := report()
	r.Nodes = append(r.Nodes, status.Node{Name: "n9", Stall: &status.Stall{Step: "save position", Seconds: 7}})
	r.Sources[0].Stall = &status.Stall{Step: "read", Seconds: 8}
	r.Duties[0].Stall = &status.Stall{Step: "write", Seconds: 9}
	r.Duties[0].Quarantine, r.Duties[0].QuarantineLimit = 3, 4
	families, err := status.NewRegistry(func() status.Report { return r }).Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				if strings.HasPrefix(name, "canalgo_") {
					name += "|" + l.GetValue()
				}
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"canalgo_info|n1|0.1.0":                       1,
		"canalgo_healthy":                             0,
		"canalgo_leader":                              1,
		"canalgo_applied_index":                       812,
		"canalgo_quarantine_documents":                4,
		"canalgo_source_state|shop|streaming":         1,
		"canalgo_source_lag_seconds|shop":             0.4,
		"canalgo_source_events_total|shop":            7,
		"canalgo_source_files_until_purge|shop":       3,
		"canalgo_duty_stage|shop/orders|stuck":        1,
		"canalgo_duty_lag_seconds|shop/orders":        125,
		"canalgo_duty_applied_total|shop/orders":      9,
		"canalgo_duty_older_total|shop/orders":        1,
		"canalgo_duty_changes_total|shop/orders":      10,
		"canalgo_node_stall_seconds|n9|save position": 7,
		"canalgo_source_stall_seconds|shop|read":      8,
		"canalgo_load_rows|shop/orders#load":          1234567,
		"canalgo_load_rows_estimate|shop/orders#load": 2469134,
	} {
		if got, ok := values[name]; !ok || got != want {
			t.Errorf("%s: got %v (there: %v), want %v", name, got, ok, want)
		}
	}
	for metric, want := range map[string]float64{"canalgo_duty_stall_seconds|%s|write": 9, "canalgo_duty_quarantine_documents|%s": 3, "canalgo_duty_quarantine_limit|%s": 4} {
		if name := fmt.Sprintf(metric, r.Duties[0].ID); values[name] != want {
			t.Errorf("%s: got %v, want %v", name, values[name], want)
		}
	}
	if _, ok := values["canalgo_source_seconds_until_purge|shop"]; ok {
		t.Error("an unknown value has a metric")
	}
	if values["go_goroutines"] == 0 {
		t.Error("the runtime's metrics are missing")
	}
}
