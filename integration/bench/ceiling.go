package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"golang.org/x/sync/errgroup"
)

// A bulkShape is how the bare loader cuts its requests.
type bulkShape struct{ documents, connections int }

func (s bulkShape) String() string {
	return fmt.Sprintf("%d documents a request, %d connections", s.documents, s.connections)
}

// bulkShapes are tried for the best.
var bulkShapes = []bulkShape{{1000, 2}, {1000, 4}, {3000, 2}, {3000, 4}, {6000, 2}, {6000, 4}}

// loadBulk writes the documents of rows 1 to rows straight into an index, with ids and external versions, and returns how
// long that took.
func loadBulk(ctx context.Context, url, index string, w workload, rows int, s bulkShape) (time.Duration, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: s.connections, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var next atomic.Int64
	next.Store(1)
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for range s.connections {
		g.Go(func() error {
			var body []byte
			var answer bytes.Buffer
			for {
				first := int(next.Add(int64(s.documents))) - s.documents
				if first > rows {
					return nil
				}
				body = body[:0]
				for id := first; id < first+s.documents && id <= rows; id++ {
					body = append(body, `{"index":{"_id":"`...)
					body = strconv.AppendInt(body, int64(id), 10)
					body = append(body, `","version":`...)
					body = strconv.AppendUint(body, 1<<62+uint64(id), 10)
					body = append(body, `,"version_type":"external_gte"}}`+"\n"...)
					body = append(w.document(body, id), '\n')
				}
				if err := postBulk(ctx, client, url+"/"+index+"/_bulk", body, &answer); err != nil {
					return err
				}
			}
		})
	}
	err := g.Wait()
	return time.Since(began), err
}

// postBulk sends one _bulk request and checks that every item was taken.
func postBulk(ctx context.Context, client *http.Client, url string, body []byte, answer *bytes.Buffer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer.Reset()
	if _, err := answer.ReadFrom(resp.Body); err != nil {
		return fmt.Errorf("bulk: read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK || !bytes.Contains(answer.Bytes()[:min(answer.Len(), 100)], []byte(`"errors":false`)) {
		return fmt.Errorf("bulk: answered %d: %.300s", resp.StatusCode, answer.Bytes())
	}
	return nil
}

// decodeCommand is the argument with which this program is a decoder; see decodeMain.
const decodeCommand = "decode"

// decode runs go-mysql alone over a backlog, in a process of its own, and returns the CPU time of that.
func decode(ctx context.Context, addr string, log backlog) (time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, decodeCommand, "-addr", addr, "-file", log.file, "-offset", fmt.Sprint(log.offset),
		"-table", log.table, "-rows", fmt.Sprint(log.rows))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("decode: %w", err)
	}
	cpu, err := time.ParseDuration(string(bytes.TrimSpace(out)))
	if err != nil {
		return 0, fmt.Errorf("decode: %w", err)
	}
	return cpu, nil
}

// decodeMain reads the binary log as root until it has decoded the wanted rows of a table, and prints the CPU time spent on
// that.
func decodeMain(args []string) error {
	flags := flag.NewFlagSet(decodeCommand, flag.ContinueOnError)
	addr := flags.String("addr", "", "")
	file := flags.String("file", "", "")
	offset := flags.Uint("offset", 4, "")
	table := flags.String("table", "", "")
	rows := flags.Int("rows", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(*addr)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{ServerID: 4242, Flavor: mysql.MySQLFlavor, Host: host,
		Port: uint16(number), User: "root", Logger: slog.New(slog.DiscardHandler)})
	defer syncer.Close()
	stream, err := syncer.StartSync(mysql.Position{Name: *file, Pos: uint32(*offset)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	before := ownCPU()
	for n := 0; n < *rows; {
		e, err := stream.GetEvent(ctx)
		if err != nil {
			return err
		}
		events := []*replication.BinlogEvent{e}
		if payload, ok := e.Event.(*replication.TransactionPayloadEvent); ok { // a compressed transaction
			events = payload.Events
		}
		for _, e := range events {
			if r, ok := e.Event.(*replication.RowsEvent); ok && string(r.Table.Table) == *table {
				n += len(r.Rows)
			}
		}
	}
	_, err = fmt.Println(ownCPU() - before)
	return err
}

// ownCPU is the CPU time of this process, user and system.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are constants
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// holeCommand is the argument with which this program is a hole; see holeMain.
const holeCommand = "hole"

// holeMain serves a hole on a free port, which it prints, until standard input ends.
func holeMain(handler http.Handler) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Println(listener.Addr()); err != nil {
		return err
	}
	server := &http.Server{Handler: handler}
	go func() {
		io.Copy(io.Discard, os.Stdin) // ends with the process that started us, however that ends
		server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
