package cursor_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"canalgo/canal/cursor"
)

var plain = cursor.Cursor{Host: "mysql-a", Port: 3306, File: "mysql-bin.000001", Offset: 1234, ServerID: 1, Time: time.Unix(1665038153, 0).UTC()}

// TestKnownForms reads every form that a version of canal writes: each file of testdata is the same place.
func TestKnownForms(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := cursor.Parse(data)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		got.Time = got.Time.Truncate(time.Second)
		if got != plain {
			t.Errorf("%s: got %+v, want %+v", file, got, plain)
		}
	}
}

// TestEncode wants the plain form, byte for byte.
func TestEncode(t *testing.T) {
	want, err := os.ReadFile("testdata/plain.json")
	if err != nil {
		t.Fatal(err)
	}
	c := plain
	c.Time = c.Time.Add(854 * time.Millisecond) // canal has whole seconds
	if got := string(c.Encode()); got != strings.TrimSuffix(string(want), "\n") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	c.GTIDs = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"
	if got := string(c.Encode()); !strings.Contains(got, `"postion":{"gtid":"3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5",`) {
		t.Errorf("got %s", got)
	}
}

func TestMalformed(t *testing.T) {
	for name, text := range map[string]string{
		"empty":          ``,
		"no object":      `[]`,
		"no position":    `{"identity":{}}`,
		"another class":  `{"@type":"com.alibaba.otter.canal.protocol.position.PositionRange","postion":{"journalName":"a.000001","position":4}}`,
		"nothing in it":  `{"postion":{}}`,
		"negative":       `{"postion":{"journalName":"a.000001","position":-4}}`,
		"text as offset": `{"postion":{"journalName":"a.000001","position":"4"}}`,
		"two":            `{"postion":{"journalName":"a.000001","position":4}}{}`,
		"too large":      `{"postion":{"journalName":"` + strings.Repeat("a", 1<<20) + `","position":4}}`,
	} {
		if c, err := cursor.Parse([]byte(text)); !errors.Is(err, cursor.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

// FuzzParse wants what was read to be the same when it is written and read again.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := cursor.Parse(data)
		if err != nil {
			return
		}
		second, err := cursor.Parse(first.Encode())
		if err != nil {
			t.Fatalf("%+v was written as %s: %v", first, first.Encode(), err)
		}
		first.Time = first.Time.Truncate(time.Second)
		if first != second {
			t.Errorf("got %+v, want %+v", second, first)
		}
	})
}
