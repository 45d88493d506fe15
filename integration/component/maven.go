package component

import (
	"context"
	"os"
	"path/filepath"
)

// installJars puts the jars that a POM names, with what they want at run time, into the folder lib of an install.
func installJars(ctx context.Context, name, pom string) (string, error) {
	return installOnce(ctx, name, func(ctx context.Context, dir string) error {
		file := filepath.Join(dir, "pom.xml")
		if err := os.WriteFile(file, []byte(pom), 0o644); err != nil {
			return err
		}
		_, err := run(ctx, "mvn", "-B", "-ntp", "-q", "-f", file, "dependency:copy-dependencies", "-DincludeScope=runtime",
			"-DoutputDirectory="+filepath.Join(dir, "lib"))
		return err
	})
}
