package component

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ElasticsearchVersion is the release that is installed.
const ElasticsearchVersion = "7.17.29"

// installElasticsearch is the distribution that Elasticsearch publishes for integration tests with the module of join fields, which it
// publishes by itself.
func installElasticsearch(ctx context.Context) (string, error) {
	base, err := installDistribution(ctx)
	if err != nil {
		return "", err
	}
	return installOnce(ctx, "elasticsearch-"+ElasticsearchVersion+"-join", func(ctx context.Context, dir string) error {
		if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
			return err
		}
		module := filepath.Join(elasticsearchHome(dir), "modules", "parent-join")
		_, err := run(ctx, "mvn", "-B", "-ntp", "-q", "dependency:copy",
			"-Dartifact=org.elasticsearch.plugin:parent-join-client:"+ElasticsearchVersion, "-DoutputDirectory="+module)
		if err != nil {
			return err
		}
		descriptor := fmt.Sprintf("name=parent-join\ndescription=join fields\nversion=%[1]s\nelasticsearch.version=%[1]s\njava.version=1.8\n"+
			"classname=org.elasticsearch.join.ParentJoinPlugin\nhas.native.controller=false\n", ElasticsearchVersion)
		return os.WriteFile(filepath.Join(module, "plugin-descriptor.properties"), []byte(descriptor), 0o644)
	})
}

// installDistribution unpacks the distribution: the real server with transport and security, without scripts, ingest and reindex. The
// folder has bin, lib, modules and config.
func installDistribution(ctx context.Context) (string, error) {
	return installOnce(ctx, "elasticsearch-"+ElasticsearchVersion, func(ctx context.Context, dir string) error {
		download := filepath.Join(dir, "download")
		_, err := run(ctx, "mvn", "-B", "-ntp", "-q", "dependency:copy",
			"-Dartifact=org.elasticsearch.distribution.integ-test-zip:elasticsearch:"+ElasticsearchVersion+":zip",
			"-DoutputDirectory="+download)
		if err != nil {
			return err
		}
		if err := unzip(filepath.Join(download, "elasticsearch-"+ElasticsearchVersion+".zip"), dir); err != nil {
			return fmt.Errorf("unzip: %w", err)
		}
		return os.RemoveAll(download)
	})
}

// elasticsearchHome is the distribution's folder inside an install.
func elasticsearchHome(install string) string {
	return filepath.Join(install, "elasticsearch-"+ElasticsearchVersion)
}

// unzip unpacks an archive below dir with the files' modes.
func unzip(archive, dir string) error {
	r, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, f := range r.File {
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("%s: leads out of the folder", f.Name)
		}
		path := filepath.Join(dir, f.Name)
		if f.FileInfo().IsDir() {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
			continue
		}
		if err := unzipFile(f, path); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

func unzipFile(f *zip.File, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, f.Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
