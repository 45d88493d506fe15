// Package golden compares what a program prints with files that hold it: a folder for each case, with what the program is given and,
// in the file want, what it says to that. The flag -update of a test that uses it writes the wants anew.
package golden

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A Case is one folder.
type Case struct {
	Name string
	Dir  string // absolute
}

// Each runs one test for each case below a folder, in order of their names.
func Each(t *testing.T, dir string, run func(t *testing.T, c Case)) {
	t.Helper()
	folders, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if folder.IsDir() {
			t.Run(folder.Name(), func(t *testing.T) { run(t, Case{Name: folder.Name(), Dir: filepath.Join(dir, folder.Name())}) })
		}
	}
}

// Read returns the content of one of the case's files, "" when it is not there.
func (c Case) Read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.Dir, file))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}

// Compare checks what was printed.
func (c Case) Compare(t *testing.T, got string) {
	t.Helper()
	c.CompareFile(t, "want", got)
}

// CompareFile is Compare with a file of another name than want.
func (c Case) CompareFile(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(filepath.Join(c.Dir, file), []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := c.Read(t, file); got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", c.Name, got, want)
	}
}
