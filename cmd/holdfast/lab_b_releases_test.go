//go:build lab

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// named is a copy of the environment that differs from it in the app's
// environment alone, and so in one service.
func named(t testing.TB, name string) string {
	t.Helper()
	return variant(t, replace("NEXT_PUBLIC_SITE_NAME: Lab", "NEXT_PUBLIC_SITE_NAME: "+name))
}

// appName is what the running app was told it is called.
func appName(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(on(t, "production", `docker inspect app-app-1 --format '{{range .Config.Env}}{{println .}}{{end}}' | sed -n 's/^NEXT_PUBLIC_SITE_NAME=//p'`))
}

func current(t *testing.T) string {
	t.Helper()
	return strings.TrimPrefix(strings.TrimSpace(on(t, "production", "readlink /opt/holdfast/current")), "releases/")
}

// releasesJSON returns the state of each release on the server, by ID.
func releasesJSON(t *testing.T) map[string]string {
	t.Helper()
	r := holdfast(t, "releases", "-C", stage.dir, "-o", "json")
	r.want(t, 0)
	var list struct {
		Releases []struct {
			ID, State, By string
			Sets          map[string]string
		}
	}
	if err := json.Unmarshal([]byte(r.out), &list); err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, release := range list.Releases {
		states[release.ID] = release.State
		if release.State == "running" && (release.By == "" || release.Sets["supabase"] == "") {
			t.Errorf("of the running release it is not said who started it and what of: %+v", release)
		}
	}
	return states
}

// load is requests to the app through the edge, of which none may fail.
type load struct {
	sent, failed atomic.Int64
	longest      atomic.Int64 // nanoseconds
	first        atomic.Value // what the first failure was
	stop         context.CancelFunc
	done         sync.WaitGroup
}

// apply sends requests to the app from eight clients until it is stopped: pages,
// pages that take two seconds, and, where they are wanted, posts.
func apply(tb testing.TB, posts bool) *load {
	tb.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{stop: stop}
	edge := net.JoinHostPort(stage.lab.Servers["production"].Address, "443")
	for i := range 8 {
		client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, edge)
			},
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the lab's own authority
		}}
		l.done.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				began := time.Now()
				err := request(client, i == 0, posts && n%4 == 0)
				l.longest.Store(max(l.longest.Load(), int64(time.Since(began))))
				l.sent.Add(1)
				if err != nil && l.failed.Add(1) == 1 {
					l.first.Store(err.Error())
				}
				time.Sleep(15 * time.Millisecond)
			}
			client.CloseIdleConnections()
		})
	}
	return l
}

func request(client *http.Client, slow, post bool) error {
	const app = "https://app.lab.test"
	var response *http.Response
	var err error
	switch {
	case slow:
		response, err = client.Get(app + "/api/slow")
	case post:
		response, err = client.Post(app+"/api/echo", "text/plain", strings.NewReader("hello"))
	default:
		response, err = client.Get(app + "/")
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s %.200s", response.Request.Method, response.Request.URL.Path, response.Status, body)
	}
	return nil
}

// redeploy deploys dir under load and goes on until there were 2,000 requests.
func redeploy(tb testing.TB, dir string) *load {
	tb.Helper()
	l := apply(tb, true)
	time.Sleep(200 * time.Millisecond)
	out, err := command(context.Background(), nil, "deploy", "-C", dir, "--yes", "--no-verify").CombinedOutput()
	for deadline := time.Now().Add(time.Minute); l.sent.Load() < 2000 && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	l.stop()
	l.done.Wait()
	if err != nil {
		tb.Fatalf("deploy: %v\n%s", err, out)
	}
	return l
}

// want fails the test when there were fewer requests, or one failed.
func (l *load) want(t *testing.T, requests int64) {
	t.Helper()
	if l.sent.Load() < requests || l.failed.Load() > 0 {
		t.Errorf("%d of %d requests failed, the first with: %v\n%s", l.failed.Load(), l.sent.Load(), l.first.Load(),
			on(t, "production", "docker logs --tail 400 edge-caddy-1 2>&1 | grep -w error | tail -n 5"))
	}
}

func TestB5ARedeployOfTheAppFailsNoRequestAndRestartsNothingElse(t *testing.T) {
	l := redeploy(t, named(t, "Zero"))
	t.Logf("%d requests, %d failed; the longest took %s", l.sent.Load(), l.failed.Load(), time.Duration(l.longest.Load()))
	l.want(t, 2000)
	if got := appName(t); got != "Zero" {
		t.Errorf("the app that runs is called %q", got)
	}
	if got := strings.TrimSpace(on(t, "production", "docker ps -a --format '{{.Names}}' --filter label=com.docker.compose.project=app")); got != "app-app-1" {
		t.Errorf("containers of the app: %q", got)
	}
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0)
}

func TestB6ARollbackStartsTheReleaseBeforeAndSaysWhatStays(t *testing.T) {
	shared := current(t)
	dir := named(t, "Later")
	holdfast(t, "deploy", "-C", dir, "--yes", "--no-verify").want(t, 0)
	later := current(t)
	if states := releasesJSON(t); states[later] != "running" || states[shared] != "last good" {
		t.Errorf("releases: %v", states)
	}
	holdfast(t, "releases", "-C", stage.dir).want(t, 0, later, "last good", "supabase-0.8.1-kong", "the folder renders to "+shared)

	// Something was applied since.
	sql(t, "insert into supabase_migrations.schema_migrations (version) values ('20991231000000')")
	holdfast(t, "rollback", "-C", stage.dir).want(t, 3, "nothing was changed", "--yes")
	r := holdfast(t, "rollback", "-C", dir, "--yes", "--no-verify")
	sql(t, "delete from supabase_migrations.schema_migrations where version = '20991231000000'")
	r.want(t, 0, "done: release "+shared, "+      \"NEXT_PUBLIC_SITE_NAME\": \"Lab\"", "1 migrations were applied since it ran, and stay: 20991231000000", "the folder renders to another release")
	if current(t) != shared || appName(t) != "Lab" {
		t.Errorf("%s runs, and the app is called %s", current(t), appName(t))
	}
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
	holdfast(t, "rollback", shared[:5], "-C", stage.dir, "--yes", "--no-verify").want(t, 0, "runs already")
	holdfast(t, "rollback", "ffffffffffff", "-C", stage.dir, "--yes").want(t, 1, "there is no release ffffffffffff", "holdfast releases")

	// One that was edited is shown, refused, and restored where that can be done.
	on(t, "production", "echo '# edited' >> /opt/holdfast/releases/"+later+"/app/compose.yml")
	holdfast(t, "releases", "-C", stage.dir).want(t, 0, later+" was edited by hand: app/compose.yml")
	holdfast(t, "rollback", later, "-C", stage.dir, "--yes", "--no-verify").want(t, 1, "edited by hand: app/compose.yml")
	holdfast(t, "rollback", later, "-C", dir, "--yes", "--no-verify").want(t, 0, "restore release "+later, "done:")
	holdfast(t, "rollback", "-C", stage.dir, "--yes", "--no-verify").want(t, 0, "done: release "+shared)
}

func TestB7OldReleasesGoTheRunningAndTheLastGoodOneStay(t *testing.T) {
	dir := named(t, "Pruned")
	edit(t, filepath.Join(dir, "holdfast.yml"), func(s string) string { return s + "releases: {keep: 2}\n" })
	before := current(t)
	holdfast(t, "deploy", "-C", dir, "--yes", "--no-verify").want(t, 0, "remove old release")
	states := releasesJSON(t)
	if len(states) != 2 || states[before] != "last good" || states[current(t)] != "running" {
		t.Errorf("releases: %v", states)
	}
	// What is mounted of the two is there, and nothing else.
	mounts := on(t, "production", `cd /opt/holdfast && cat releases/*/release.json | sed -n 's/.*"hash": "\(.*\)".*/\1/p' | sort -u`)
	if content := on(t, "production", "ls -A /opt/holdfast/content | sort"); content != mounts {
		t.Errorf("kept is %q, mounted %q", content, mounts)
	}
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0)
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
}

// begun waits until a run has begun to start a release.
func begun(t *testing.T) {
	t.Helper()
	on(t, "production", "for i in $(seq 300); do [ ! -e /opt/holdfast/starting ] || exit 0; sleep 0.1; done; exit 1")
}

// underWay runs the binary up to where containers are being replaced.
func underWay(t *testing.T, args ...string) (cmd *exec.Cmd, said *strings.Builder) {
	t.Helper()
	cmd, said = command(context.Background(), nil, args...), &strings.Builder{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	begun(t)
	return cmd, said
}

func TestB8ARollbackThatIsKilledIsSeenAndPutRight(t *testing.T) {
	cmd, _ := underWay(t, "rollback", "-C", stage.dir, "--yes", "--no-verify")
	time.Sleep(3 * time.Second)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if r := holdfast(t, "plan", "-C", stage.dir); r.code != 2 || !strings.Contains(r.out, "was cut off") {
		t.Errorf("plan after a killed rollback: exit code %d\n%s%s", r.code, r.out, r.err)
	}
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0, "done:")
	if got := appName(t); got != "Lab" {
		t.Errorf("the app is called %q", got)
	}
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
}

func TestB9AnEngineThatIsKilledInTheMiddleComesBackAndTheRunGoesOn(t *testing.T) {
	sql(t, "create table public.counted as select n from generate_series(1, 42) n")
	defer sql(t, "drop table public.counted")
	// The API, auth and the app change.
	dir := named(t, "Power")
	edit(t, filepath.Join(dir, "holdfast.yml"), replace("    set: supabase-0.8.1-kong\n", "    set: supabase-0.8.1-kong\n    sign-up: true\n"))
	cmd, said := underWay(t, "deploy", "-C", dir, "--yes", "--no-verify")
	on(t, "production", "sleep 1; kill -9 $(cat /run/docker.pid)")
	if err := cmd.Wait(); err != nil {
		// It may give up; then the next one finishes it.
		t.Logf("the run whose engine was killed ended with %v\n%s", err, clip(said.String()))
		holdfast(t, "deploy", "-C", dir, "--yes", "--no-verify").want(t, 0, "done:")
	}
	holdfast(t, "plan", "-C", dir).want(t, 0, "nothing to change")
	if got := appName(t); got != "Power" {
		t.Errorf("the app is called %q", got)
	}
	if got := sql(t, "select count(*) from public.counted"); got != "42" {
		t.Errorf("%s rows, there were 42", got)
	}
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0)
}

// derived makes a new image of one of the lab's, as by a line of a Dockerfile, and
// returns its reference.
func derived(t *testing.T, ref, line string) string {
	t.Helper()
	docker := func(args ...string) string {
		out, err := exec.Command("docker", args...).Output()
		if err != nil {
			t.Fatalf("docker %v: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	container := docker("create", ref)
	id := docker("commit", "--change", line, container)
	docker("rm", container)
	name, _, _ := strings.Cut(ref, ":")
	made := name + ":sha256-" + strings.TrimPrefix(id, "sha256:")
	docker("tag", id, made)
	t.Cleanup(func() { _ = exec.Command("docker", "image", "rm", made).Run() })
	return made
}

// image returns the reference that the shared folder names for a key, as in "app".
func image(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(stage.dir, "holdfast.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, ref, ok := strings.Cut(line, ": holdfast.local/lab-"+name+":"); ok {
			return "holdfast.local/lab-" + name + ":" + strings.TrimSpace(ref)
		}
	}
	t.Fatalf("no image %s", name)
	return ""
}

func TestBA0AnImageThatCanNotBeHadLeavesEverythingAsItWas(t *testing.T) {
	before, app := current(t), image(t, "app")
	left := func() {
		t.Helper()
		if current(t) != before || appName(t) != "Lab" {
			t.Errorf("%s runs, and the app is called %s", current(t), appName(t))
		}
		holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
	}
	// The registry is down.
	nowhere := "127.0.0.1:5999/web:1.0.0@sha256:" + strings.Repeat("5", 64)
	down := variant(t, func(s string) string {
		return strings.Replace(strings.Replace(s, app, nowhere, 1), "delivery: ship", "delivery: registry", 1)
	})
	holdfast(t, "deploy", "-C", down, "--yes", "--no-verify").want(t, 1, "pull 127.0.0.1:5999/web", "refused")
	left()
	// The disk gets full on the way: the engine unpacks here.
	full := variant(t, replace(app, derived(t, app, "LABEL test=full")))
	on(t, "production", "mount -t tmpfs -o size=256k tmpfs /var/lib/docker/tmp")
	r := holdfast(t, "deploy", "-C", full, "--yes", "--no-verify")
	on(t, "production", "umount /var/lib/docker/tmp")
	r.want(t, 1, "no space left on device")
	left()
}

func TestBA1ACrashLoopStopsNothingThatRanAndAFlappingCheckHangsNothing(t *testing.T) {
	before := current(t)
	// Without what it needs, this program ends as soon as it starts.
	crash := variant(t, replace("    image: "+image(t, "app"), "    image: "+image(t, "rest")))
	// Caddy tries a post that could not be connected again without its body
	// (caddyserver/caddy#7546), so of a container that comes and goes one may notice.
	l := apply(t, false)
	r := holdfast(t, "deploy", "-C", crash, "--yes", "--no-verify", "--health-timeout", "20s")
	l.stop()
	l.done.Wait()
	r.want(t, 1, "service app is not healthy", "it last said", "PGRST_DB_URI", "release "+before+" runs again", "no migration was applied")
	l.want(t, 1)
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")

	flap := variant(t, replace("health: /api/health", "health: /api/flap"))
	r = holdfast(t, "deploy", "-C", flap, "--yes", "--no-verify", "--health-timeout", "60s")
	if r.code == 1 && !strings.Contains(r.err, "runs again") || r.code > 1 || r.took > 100*time.Second {
		t.Errorf("a flapping check: exit code %d after %s\n%s", r.code, r.took, r.err)
	}
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0)
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
}

// What a redeploy of the app costs those who use it: the goal is that none of
// 2,000 requests fails.
func BenchmarkAppRedeploy(b *testing.B) {
	if out, err := command(b.Context(), nil, "deploy", "-C", stage.dir, "--yes", "--no-verify").CombinedOutput(); err != nil {
		b.Fatalf("deploy first: %v\n%s", err, out)
	}
	var sent, failed, longest int64
	for i := 0; b.Loop(); i++ {
		l := redeploy(b, named(b, fmt.Sprintf("Bench%d", i)))
		sent, failed = sent+l.sent.Load(), failed+l.failed.Load()
		longest = max(longest, l.longest.Load())
	}
	b.ReportMetric(float64(sent)/float64(b.N), "requests/op")
	b.ReportMetric(float64(failed)/float64(b.N), "failed/op")
	b.ReportMetric(float64(longest)/1e6, "ms-longest")
}
