package node_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton/caxton/api"
)

// variant returns the module with a section of its own: another module, which does the same.
func variant(module []byte, n, padding int) []byte {
	name := fmt.Sprintf("variant %d", n)
	payload := append([]byte{byte(len(name))}, name...)
	payload = append(payload, make([]byte, padding)...)
	section := []byte{0}
	for size := len(payload); ; size >>= 7 {
		if size < 0x80 {
			section = append(section, byte(size))
			break
		}
		section = append(section, byte(size)|0x80)
	}
	return slices.Concat(module, section, payload)
}

// shelved returns the names of the modules in a data directory, and fails when one is not what
// its name says.
func shelved(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "data", "modules", "*.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if os.IsNotExist(err) {
			continue // just collected
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		name := strings.TrimSuffix(filepath.Base(f), ".wasm")
		if hex.EncodeToString(sum[:]) != name {
			t.Errorf("the module %s is damaged", name)
		}
		all[name] = true
	}
	return all
}

// TestCrashDeploy kills a server with kill -9 at random points of deployments of modules,
// again and again. After each, every version's module is there and whole, every agent answers,
// and what was acknowledged is in force; in the end nothing but what versions refer to is kept.
func TestCrashDeploy(t *testing.T) {
	kills, rnd := crashes(t, 10, 200, 4)
	dir := t.TempDir()
	echo := guestModule(t, "echo")
	var deployed, inForce atomic.Int64
	acked := map[string]int{} // version by agent
	orphans := 0
	for range kills {
		v := start(t, dir)
		checkModules(t, v.client, dir, acked)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var mu sync.Mutex
		for agent := range 3 {
			base := int(deployed.Add(1_000))
			wg.Go(func() {
				for n := base; ctx.Err() == nil; n++ {
					name := fmt.Sprintf("parrot-%d", agent)
					d, err := v.client.Deploy(ctx, api.Deploy{
						Text: []byte("---\nname: " + name + "\ntype: wasm\n---\n"), Module: variant(echo, n*3+agent, 1000*(n%200)),
					})
					if err != nil {
						return // killed
					}
					mu.Lock()
					acked[name] = d.Version
					mu.Unlock()
					inForce.Add(1)
				}
			})
		}
		pause := time.NewTimer(time.Duration(rnd.Int64N(int64(120 * time.Millisecond))))
		<-pause.C
		v.kill(t)
		cancel()
		wg.Wait()
		orphans = max(orphans, len(shelved(t, dir)))
	}
	if inForce.Load() == 0 {
		t.Error("no deployment came through")
	}
	old := time.Now().Add(-2 * time.Hour)
	for name := range shelved(t, dir) {
		path := filepath.Join(dir, "data", "modules", name+".wasm")
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	c, _, stop := run(t, dir)
	used := checkModules(t, c, dir, acked)
	kept := shelved(t, dir)
	for deadline := time.Now().Add(10 * time.Second); len(kept) > len(used) && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond) // the collection begins with the server
		kept = shelved(t, dir)
	}
	for name := range kept {
		if !used[name] {
			t.Errorf("the module %s is kept, and no version refers to it", name)
		}
	}
	t.Logf("%d deployments came through, %d modules are in use, up to %d files were there", inForce.Load(), len(used), orphans)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// checkModules holds that registry and modules agree, and returns the modules in use.
func checkModules(t *testing.T, c *api.Client, dir string, acked map[string]int) map[string]bool {
	t.Helper()
	there := shelved(t, dir)
	used := map[string]bool{}
	l, err := c.Agents(t.Context(), api.AgentFilter{Type: "wasm"})
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]int{}
	for _, a := range l.Items {
		versions[a.Slug] = a.Version
		vs, err := c.Versions(t.Context(), a.Slug)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range vs.Items {
			if v.Module == nil || !there[v.Module.SHA256] {
				t.Errorf("version %d of %s refers to a module that is not there: %+v", v.Number, a.Slug, v.Module)
				continue
			}
			used[v.Module.SHA256] = true
		}
		if got := said(t, c, a.Slug, "hello"); got != `inform "hello"` {
			t.Errorf("%s answers %s", a.Slug, got)
		}
	}
	for name, version := range acked {
		if versions[name] < version {
			t.Errorf("version %d of %s was acknowledged, and version %d is in force", version, name, versions[name])
		}
	}
	return used
}
