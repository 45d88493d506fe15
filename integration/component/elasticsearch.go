package component

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"canalgo/integration/process"
)

// ElasticsearchOptions change how a server is started; the zero value has no security and a heap of 1 GiB.
type ElasticsearchOptions struct {
	// User and Password, when set, switch security on and make this user.
	User, Password string
	// Role is what the user may do, written as PUT _security/role takes it; "" lets it do everything.
	Role string
	// Heap is the size of the heap, as Java writes it: "512m", "1g".
	Heap string
	// Settings go into elasticsearch.yml.
	Settings map[string]string
}

// Elasticsearch is one server with its data folder. Its methods may be called from several goroutines.
type Elasticsearch struct {
	Dir  string // holds config, data, logs and tmp
	Port int    // of HTTP, on 127.0.0.1, the same over restarts

	user, password string
	client         *http.Client
	process        process.Process
}

// StartElasticsearch starts a single node on the data folder below dir, which may be there from an earlier start, and
// returns once it takes writes; ctx bounds only that.
func StartElasticsearch(ctx context.Context, dir string, o ElasticsearchOptions) (*Elasticsearch, error) {
	install, err := installElasticsearch(ctx)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	e := &Elasticsearch{Dir: dir, user: o.User, password: o.Password, client: &http.Client{Transport: &http.Transport{}}}
	if err := e.configure(ctx, elasticsearchHome(install), o); err != nil {
		return nil, fmt.Errorf("configure elasticsearch: %w", err)
	}
	if o.Heap == "" {
		o.Heap = "1g"
	}
	e.process = process.Process{
		Name:    "elasticsearch",
		Log:     filepath.Join(dir, "elasticsearch.log"),
		Command: func() *exec.Cmd { return e.command(elasticsearchHome(install), o.Heap) },
		Ready: func(ctx context.Context) error {
			_, err := e.Request(ctx, http.MethodGet, "/_cluster/health?wait_for_status=yellow&timeout=20s", nil)
			return err
		},
	}
	if err := e.Start(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// configure writes the node's own config folder.
func (e *Elasticsearch) configure(ctx context.Context, home string, o ElasticsearchOptions) error {
	config := filepath.Join(e.Dir, "config")
	for _, sub := range []string{"data", "logs", "tmp"} {
		if err := os.MkdirAll(filepath.Join(e.Dir, sub), 0o755); err != nil {
			return err
		}
	}
	if _, err := os.Stat(config); errors.Is(err, os.ErrNotExist) {
		if err := os.CopyFS(config, os.DirFS(filepath.Join(home, "config"))); err != nil {
			return err
		}
	}
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	transport, err := process.FreePort()
	if err != nil {
		return err
	}
	e.Port = port
	settings := map[string]string{
		"node.name":              "test",
		"network.host":           "127.0.0.1",
		"http.port":              fmt.Sprint(port),
		"transport.port":         fmt.Sprint(transport),
		"discovery.type":         "single-node",
		"path.data":              filepath.Join(e.Dir, "data"),
		"path.logs":              filepath.Join(e.Dir, "logs"),
		"xpack.security.enabled": fmt.Sprint(o.User != ""),
		// A nearly full disk must not make indices read-only in the middle of a test.
		"cluster.routing.allocation.disk.threshold_enabled": "false",
	}
	maps.Copy(settings, o.Settings)
	var yml strings.Builder
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&yml, "%s: %s\n", key, settings[key])
	}
	if err := os.WriteFile(filepath.Join(config, "elasticsearch.yml"), []byte(yml.String()), 0o644); err != nil {
		return err
	}
	if o.User == "" {
		return nil
	}
	users, err := os.ReadFile(filepath.Join(config, "users"))
	if err == nil && strings.Contains("\n"+string(users), "\n"+o.User+":") {
		return nil
	}
	role := "superuser"
	if o.Role != "" {
		role = "limited"
		// JSON is YAML.
		if err := os.WriteFile(filepath.Join(config, "roles.yml"), []byte(role+": "+strings.ReplaceAll(o.Role, "\n", " ")+"\n"), 0o644); err != nil {
			return err
		}
	}
	useradd := exec.CommandContext(ctx, filepath.Join(home, "bin/elasticsearch-users"),
		"useradd", o.User, "-p", o.Password, "-r", role)
	useradd.Env = append(os.Environ(), "ES_PATH_CONF="+config, "ES_JAVA_HOME="+javaHome(), "ES_TMPDIR="+filepath.Join(e.Dir, "tmp"))
	if out, err := useradd.CombinedOutput(); err != nil {
		return fmt.Errorf("add user %s: %w\n%s", o.User, err, out)
	}
	return nil
}

// command runs the server's JVM directly, with the options that bin/elasticsearch would work out by starting two more.
func (e *Elasticsearch) command(home, heap string) *exec.Cmd {
	tmp := filepath.Join(e.Dir, "tmp")
	cmd := exec.Command(filepath.Join(javaHome(), "bin/java"),
		"-Xshare:auto", "-Xms"+heap, "-Xmx"+heap, "-Xss1m", "-XX:+UseG1GC", "-XX:G1HeapRegionSize=4m",
		"-XX:InitiatingHeapOccupancyPercent=30", "-XX:G1ReservePercent=15", "-XX:MaxDirectMemorySize=512m",
		"-XX:+ExitOnOutOfMemoryError", "-XX:ErrorFile="+filepath.Join(e.Dir, "logs", "hs_err.log"),
		"-Djava.io.tmpdir="+tmp, "-Des.networkaddress.cache.ttl=60", "-Des.networkaddress.cache.negative.ttl=10",
		"-Djava.security.manager=allow", "-Djava.awt.headless=true", "-Dfile.encoding=UTF-8", "-Djna.nosys=true",
		"-Dio.netty.noUnsafe=true", "-Dio.netty.noKeySetOptimization=true",
		"-Dio.netty.recycler.maxCapacityPerThread=0", "-Dio.netty.allocator.numDirectArenas=0",
		"-Dlog4j.shutdownHookEnabled=false", "-Dlog4j2.disable.jmx=true", "-Dlog4j2.formatMsgNoLookups=true",
		"-Djava.locale.providers=SPI,COMPAT", "--add-opens=java.base/java.io=ALL-UNNAMED",
		"-Des.path.home="+home, "-Des.path.conf="+filepath.Join(e.Dir, "config"),
		"-Des.distribution.flavor=default", "-Des.distribution.type=zip", "-Des.bundled_jdk=false",
		"-cp", filepath.Join(home, "lib")+"/*", "org.elasticsearch.bootstrap.Elasticsearch")
	cmd.Dir = e.Dir
	cmd.Env = append(os.Environ(), "LIBFFI_TMPDIR="+tmp)
	if os.Geteuid() == 0 {
		// Elasticsearch refuses to run as root. In a user namespace of its own it sees itself as user 1000, and yet it
		// may use root's folders, a test's and the cache, which another user could not even enter.
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}},
		}
	}
	return cmd
}

// javaHome is JAVA_HOME, or the folder that the java on the path really lies in.
func javaHome() string {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		return home
	}
	path, err := exec.LookPath("java")
	if err != nil {
		return "/usr"
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "/usr"
	}
	return filepath.Dir(filepath.Dir(path))
}

// URL is http://host:port without credentials.
func (e *Elasticsearch) URL() string { return fmt.Sprintf("http://%s", e.Addr()) }

// Addr is host:port.
func (e *Elasticsearch) Addr() string { return fmt.Sprintf("127.0.0.1:%d", e.Port) }

// LogFile names the file with the server's output.
func (e *Elasticsearch) LogFile() string { return e.process.Log }

// PID is the server's process id, 0 while it does not run.
func (e *Elasticsearch) PID() int { return e.process.PID() }

// Start starts the server again on the same data and port.
func (e *Elasticsearch) Start(ctx context.Context) error { return e.process.Start(ctx) }

// Stop shuts the server down in order and waits.
func (e *Elasticsearch) Stop() error { return e.process.Stop() }

// Kill ends the server at once, as a crash would. A server that does not run is no error.
func (e *Elasticsearch) Kill() error { return e.process.Kill() }

// Pause freezes the server: it keeps its connections and answers nothing until Continue.
func (e *Elasticsearch) Pause() error { return e.process.Signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (e *Elasticsearch) Continue() error { return e.process.Signal(syscall.SIGCONT) }
