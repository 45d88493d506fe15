// Package instrument builds canalgo with failpoints and with bugs that are in it on purpose, for the tests of its tests.
//
// The product holds none of it but comments: a line that is //failpoint NAME marks an edge at which a process may be killed, or be
// made to fail, wait or block; //failpoint NAME VARIABLE also says which error a failing one sets. bugs/NAME.txt says what one bug
// changes. Here both are written into copies of the files, which go build -overlay puts in the place of the real ones. So one
// program, or one test binary, has all of them, and the environment says which act: CANALGO_FAILPOINTS (package failpoint) and
// CANALGO_BUG (package seeded).
package instrument

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// module is what the packages of the product are imported by.
const module = "canalgo"

// Build builds the instrumented program in dir and returns its path. What has not changed since the last call is not built again,
// because the go command sees so.
func Build(ctx context.Context, dir string) (string, error) {
	overlay, err := Overlay(dir)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "canalgo-instrumented")
	if err := Go(ctx, "build", "-overlay", overlay, "-trimpath", "-ldflags", "-X main.version=instrumented", "-o", binary, "."); err != nil {
		return "", fmt.Errorf("build the instrumented program: %w", err)
	}
	return binary, nil
}

// BuildTest builds the instrumented tests of a package, named as in ./sink, in dir and returns the test binary's path. It is to be
// run in the package's folder.
func BuildTest(ctx context.Context, dir, pkg string) (string, error) {
	overlay, err := Overlay(dir)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(pkg, "./"), "/", "-")+".test")
	if err := Go(ctx, "test", "-overlay", overlay, "-vet", "off", "-c", "-o", binary, pkg); err != nil {
		return "", fmt.Errorf("build the instrumented tests of %s: %w", pkg, err)
	}
	return binary, nil
}

// Go runs the go command at the module's root.
func Go(ctx context.Context, args ...string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// Root returns the folder of the module that the working directory lies in.
func Root() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			err = errors.New("there is no go.mod here or above")
		}
		dir = parent
	}
	return "", fmt.Errorf("find the module: %w", err)
}

// Overlay writes the changed files below dir, and returns the path of the file that go build -overlay takes.
func Overlay(dir string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	bugs, err := Bugs()
	if err != nil {
		return "", err
	}
	changed, points, err := change(os.DirFS(root), bugs)
	if err != nil {
		return "", err
	}
	changed["integration/instrument/failpoint/names.go"] = namesFile("failpoint", points)
	changed["integration/instrument/seeded/names.go"] = namesFile("seeded", slices.Sorted(maps.Keys(bugs)))

	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	replace := make(map[string]string, len(changed))
	for path, text := range changed {
		to := filepath.Join(dir, "overlay", path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return "", err
		}
		replace[filepath.Join(root, path)] = to
	}
	data, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, data, 0o644)
}

func namesFile(pkg string, names []string) string {
	return fmt.Sprintf("package %s\n\nvar names = %#v\n", pkg, names)
}

// Points returns the names of the product's failpoints, sorted.
func Points() ([]string, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	_, points, err := change(os.DirFS(root), nil)
	return points, err
}

// change returns the product's files that bugs or failpoints change, as they are then, and the names of the failpoints, sorted.
func change(product fs.FS, bugs map[string]Bug) (changed map[string]string, points []string, err error) {
	edits := make(map[string][]edit)
	for _, name := range slices.Sorted(maps.Keys(bugs)) {
		for _, e := range bugs[name].edits {
			edits[e.file] = append(edits[e.file], e)
		}
	}
	changed = make(map[string]string)
	err = fs.WalkDir(product, ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (path == "integration" || entry.Name() == "testdata" || path != "." && strings.HasPrefix(entry.Name(), ".")):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		data, err := fs.ReadFile(product, path)
		if err != nil {
			return err
		}
		text, seeds, err := seed(string(data), edits[path])
		if err != nil {
			return err
		}
		delete(edits, path)
		text, marks := mark(text)
		if len(marks) > 0 {
			text = imports(text, "failpoint")
		}
		if seeds {
			text = imports(text, "seeded")
		}
		if len(marks) > 0 || seeds {
			changed[path] = text
		}
		points = append(points, marks...)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for path, left := range edits {
		return nil, nil, fmt.Errorf("bug %s: there is no file %s", left[0].bug, path)
	}
	slices.Sort(points)
	return changed, slices.Compact(points), nil
}
