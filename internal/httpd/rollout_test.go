package httpd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/httpd"
)

// rollouts are what the deployer of the tests knows of rollouts.
type rollouts struct {
	plans []*caxton.RolloutPlan // that were asked for
	asked []string
}

func (r *rollouts) status(state caxton.RolloutState) caxton.RolloutStatus {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ro, _ := (&caxton.RolloutPlan{Strategy: caxton.RolloutCanary}).Rollout()
	ro.State, ro.From, ro.To, ro.Stage, ro.StartedAt, ro.StageAt = state, 1, 2, 1, at, at
	if state.Over() {
		ro.EndedAt = at
	}
	return caxton.RolloutStatus{
		Agent: greeter(), Rollout: ro, At: at.Add(150 * time.Second),
		From: caxton.VersionCounts{Version: 1, Handled: 95, Failed: 5, AllHandled: 95, AllFailed: 5, P99: 20 * time.Millisecond},
		To:   caxton.VersionCounts{Version: 2, Handled: 3, Failed: 1, AllHandled: 3, AllFailed: 1},
	}
}

func (r *rollouts) Rollout(caxton.AgentID) (caxton.RolloutStatus, error) {
	return r.status(caxton.RolloutRunning), nil
}

func (r *rollouts) Rollouts(open bool) []caxton.RolloutStatus {
	all := []caxton.RolloutStatus{r.status(caxton.RolloutRunning)}
	all[0].Rollout.Strategy, all[0].Shadow.Different = caxton.RolloutShadow, []caxton.ShadowDifference{{Answer: "long"}}
	if !open {
		all = append(all, r.status(caxton.RolloutCompleted), r.status(caxton.RolloutAborted))
	}
	return all
}

func (r *rollouts) Promote(_ context.Context, _ caxton.AgentID, next bool) (caxton.RolloutStatus, error) {
	r.asked = append(r.asked, fmt.Sprint("promote ", next))
	return r.status(caxton.RolloutCompleted), nil
}

func (r *rollouts) Abort(_ context.Context, _ caxton.AgentID, reason string) (caxton.RolloutStatus, error) {
	r.asked = append(r.asked, "abort "+reason)
	return r.status(caxton.RolloutAborted), nil
}

func TestRolloutList(t *testing.T) {
	s, _, _ := newServer(t, httpd.Config{})
	for _, tt := range []struct {
		query  string
		states []string
		total  int
	}{
		{"", []string{"running", "completed", "aborted"}, 3},
		{"?open=true", []string{"running"}, 1},
		{"?limit=2", []string{"running", "completed"}, 3},
	} {
		w := call(s, "GET", "/api/v1/rollouts"+tt.query, "")
		var l api.RolloutList
		if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s, %v", tt.query, w.Code, w.Body, err)
		}
		var states []string
		for _, ro := range l.Items {
			states = append(states, ro.State)
		}
		if !slices.Equal(states, tt.states) || l.Total != tt.total || strings.Contains(w.Body.String(), "long") {
			t.Errorf("%q: %s, want the states %v of %d", tt.query, w.Body, tt.states, tt.total)
		}
	}
	if w := call(s, "GET", "/api/v1/rollouts?limit=0", ""); w.Code != 422 {
		t.Errorf("limit 0: %d %s", w.Code, w.Body)
	}
}

func TestRolloutRoutes(t *testing.T) {
	s, _, o := newServer(t, httpd.Config{})
	for _, tt := range []struct{ method, path, body, state string }{
		{"GET", "/rollout", "", "running"},
		{"POST", "/promote", "", "completed"},
		{"POST", "/promote", `{"next": true}`, "completed"},
		{"POST", "/abort", `{"reason": "no more"}`, "aborted"},
		{"POST", "/abort", "", "aborted"},
	} {
		w := call(s, tt.method, "/api/v1/agents/greeter"+tt.path, tt.body)
		var ro api.Rollout
		if err := json.Unmarshal(w.Body.Bytes(), &ro); err != nil || w.Code != 200 || ro.State != tt.state || ro.Status != tt.state || len(ro.Versions) != 2 {
			t.Errorf("%s %s: %d %s, %v", tt.method, tt.path, w.Code, w.Body, err)
		}
		if open := tt.state == "running"; ro.EndedAt == nil != open || open && (ro.Percent != 5 || ro.Progress != 10 || ro.StageEnds == nil || ro.Versions[1].ErrorRate != 0.25) {
			t.Errorf("%s: %+v", tt.path, ro)
		}
		if w := call(s, tt.method, "/api/v1/agents/nobody"+tt.path, tt.body); w.Code != 404 {
			t.Errorf("%s of nobody: %d", tt.path, w.Code)
		}
	}
	if got := strings.Join(o.asked, ", "); got != "promote false, promote true, abort no more, abort " {
		t.Errorf("asked for %q", got)
	}
}

// A plan comes in the query, beside the text of a definition, or in the body of a deployment.
func TestRolloutPlans(t *testing.T) {
	query := "?" + url.Values{"strategy": {"canary"}, "canary_stages": {"10:1m"}, "rollback_on": {"error_rate>1%"}, "min_messages": {"0"}}.Encode()
	beside := `"strategy": "canary", "canary_stages": "10:1m", "rollback_on": "error_rate>1%", "min_messages": 0}`
	for _, tt := range []struct {
		name, method, path, body string
		code                     int
	}{
		{"a definition, in the query", "PUT", "/greeter" + query, `{"name": "x", "strategy": "of its own"}`, 200},
		{"a new agent, in the query", "POST", query, `{"name": "x"}`, 201},
		{"beside a text", "PUT", "/greeter", `{"definition": "text", ` + beside, 200},
		{"a deployment", "POST", "/deploy", `{"definition": "text", ` + beside, 200},
	} {
		s, _, o := newServer(t, httpd.Config{})
		w := call(s, tt.method, "/api/v1/agents"+tt.path, tt.body)
		if w.Code != tt.code || len(o.plans) != 1 || o.plans[0] == nil {
			t.Errorf("%s: %d %s, %v", tt.name, w.Code, w.Body, o.plans)
			continue
		}
		p := o.plans[0]
		if p.Strategy != caxton.RolloutCanary || caxton.RolloutStagesText(p.Stages) != "10:1m0s" || caxton.RolloutGatesText(p.Gates) != "error_rate>1%" || p.MinMessages != -1 {
			t.Errorf("%s: plan %+v", tt.name, p)
		}
	}
	s, _, o := newServer(t, httpd.Config{})
	for _, tt := range []struct{ path, body string }{
		{"/deploy", `{"definition": "text", "strategy": "canary", "canary_stages": "much"}`},
		{"/deploy", `{"definition": "text", "strategy": "canary", "rollback_on": "mood>5"}`},
		{"/deploy", `{"definition": "text", "strategy": "rolling", "canary_stages": "5:5m"}`},
		{"/deploy", `{"definition": "text", "strategy": "rolling", "hold": "long"}`},
		{"/deploy", `{"definition": "text", "rollback_on": "none"}`},
		{"?strategy=yolo", `{"name": "x"}`},
	} {
		if w := call(s, "POST", "/api/v1/agents"+tt.path, tt.body); w.Code != 422 && w.Code != 400 {
			t.Errorf("%s %s: %d %s", tt.path, tt.body, w.Code, w.Body)
		}
	}
	if o.deployed != 0 {
		t.Errorf("%d deployments of what cannot be", o.deployed)
	}
	for _, body := range []string{`{"name": "x", "strategy": "of its own"}`, `{"definition": "text"}`, `{"definition": "text", "strategy": "immediate"}`} {
		if w := call(s, "PUT", "/api/v1/agents/greeter", body); w.Code != 200 || o.plans[len(o.plans)-1] != nil {
			t.Errorf("%s: %d %s, plan %v", body, w.Code, w.Body, o.plans)
		}
	}
}
