package logger_test

import (
	"os"
	"path/filepath"
	"testing"

	"canalgo/mapping"
	"canalgo/sink/logger"
)

func TestLinesAreAppended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "changes")
	for range 2 {
		s, err := logger.New(logger.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Write(t.Context(), []mapping.Change{
			{Op: mapping.Write, Index: "i", ID: "1", Version: 7, Body: []byte(`{"name":"<a>"}`)},
			{Op: mapping.Delete, Index: "i", ID: "2", Version: 8},
			{Op: mapping.Clear, Index: "i", Version: 9},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	once := `{"op":"write","index":"i","id":"1","version":7,"document":{"name":"<a>"}}
{"op":"delete","index":"i","id":"2","version":8}
{"op":"clear","index":"i","version":9}
`
	got, err := os.ReadFile(path)
	if err != nil || string(got) != once+once {
		t.Errorf("got\n%s%v\nwant\n%s", got, err, once+once)
	}
}

func TestFolderIsNoFile(t *testing.T) {
	if _, err := logger.New(logger.Config{Path: t.TempDir()}); err == nil {
		t.Error("a folder was opened for lines")
	}
}
