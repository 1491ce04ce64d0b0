package builtin_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/tool/builtin"
)

// serve runs a server on loopback until the test ends.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// respond answers every request with a body of a content type; "" leaves the type out.
func respond(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if contentType == "" {
			w.Header()["Content-Type"] = nil
		} else {
			w.Header().Set("Content-Type", contentType)
		}
		_, _ = io.WriteString(w, body)
	}
}

// onLoopback returns a set whose http_client may reach loopback.
func onLoopback(t *testing.T, cfg builtin.HTTPConfig) *tool.Set {
	t.Helper()
	cfg.AllowedHosts = append(cfg.AllowedHosts, "127.0.0.1")
	return newSet(t, builtin.Config{HTTP: cfg})
}

// A resolver knows some names and counts how often it is asked.
type resolver struct {
	hosts map[string][]string
	asked atomic.Int64
}

func (r *resolver) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	r.asked.Add(1)
	var addrs []netip.Addr
	for _, a := range r.hosts[host] {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, nil
}

func portOf(t *testing.T, s *httptest.Server) string {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func TestHTTPGet(t *testing.T) {
	const body = `{"a":1}`
	asked := ""
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.RequestURI
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Etag", `"v1"`)
		w.Header()["Date"] = nil
		w.Header().Set("X-Secret", "internal")
		_, _ = io.WriteString(w, body)
	})
	s := onLoopback(t, builtin.HTTPConfig{})
	res := must(t, s, "http_client", args{"url": server.URL + "/a?x=1", "query": map[string]string{"q": "a b&c"}}, tool.Call{})
	final := server.URL + "/a?q=a+b%26c&x=1"
	if asked != "/a?q=a+b%26c&x=1" {
		t.Errorf("the server was asked for %s", asked)
	}
	want := fmt.Sprintf("HTTP 200 OK\nurl: %s\ncontent-type: application/json\nsize: %d bytes\n\n%s", final, len(body), body)
	if res.Text != want || string(res.Body) != body || res.MediaType != "application/json" {
		t.Errorf("http_client = %q, body %q, %s; want %q", res.Text, res.Body, res.MediaType, want)
	}
	var got map[string]any
	if err := json.Unmarshal(res.Data, &got); err != nil {
		t.Fatal(err)
	}
	wantData := map[string]any{
		"status": 200.0, "url": final, "content_type": "application/json", "size": float64(len(body)),
		"headers": map[string]any{"etag": `"v1"`},
	}
	if diff := cmp.Diff(wantData, got); diff != "" {
		t.Errorf("Data (-want +got):\n%s", diff)
	}
}

func TestHTTPRequests(t *testing.T) {
	var got *http.Request
	var gotBody string
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading the body: %v", err)
		}
		got, gotBody = r, string(b)
	})
	s := onLoopback(t, builtin.HTTPConfig{})
	tests := []struct {
		name                        string
		args                        args
		method, body, sort, key, ua string
	}{
		{"nothing said", args{}, "GET", "", "", "", "caxton"},
		{"HEAD", args{"method": "HEAD"}, "HEAD", "", "", "", "caxton"},
		{"a text", args{"method": "POST", "body": "hello"}, "POST", "hello", "text/plain; charset=utf-8", "key-1", "caxton"},
		{"JSON as a text", args{"method": "POST", "body": `{"a":1}`}, "POST", `{"a":1}`, "application/json", "key-1", "caxton"},
		{"JSON as a value", args{"method": "PUT", "body": args{"a": []int{1}}}, "PUT", `{"a":[1]}`, "application/json", "key-1", "caxton"},
		{"DELETE", args{"method": "DELETE"}, "DELETE", "", "", "key-1", "caxton"},
		{
			"headers",
			args{"method": "PATCH", "body": "a=1", "headers": map[string]string{"content-type": "application/x-www-form-urlencoded", "User-Agent": "me", "Idempotency-Key": "mine"}},
			"PATCH", "a=1", "application/x-www-form-urlencoded", "mine", "me",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := args{"url": server.URL}
			maps.Copy(a, tt.args)
			must(t, s, "http_client", a, tool.Call{Key: "key-1"})
			if got.Method != tt.method || gotBody != tt.body || got.Header.Get("Content-Type") != tt.sort ||
				got.Header.Get("Idempotency-Key") != tt.key || got.UserAgent() != tt.ua {
				t.Errorf("the server got %s %q %q, want %+v", got.Method, gotBody, got.Header, tt)
			}
		})
	}
}

func TestHTTPRefusesArguments(t *testing.T) {
	s := onLoopback(t, builtin.HTTPConfig{MaxRequest: 10})
	const u = "http://127.0.0.1:1/"
	tests := []struct {
		name string
		args args
		kind caxton.Kind
		code string
	}{
		{"no URL", args{}, caxton.Invalid, "arguments_invalid"},
		{"no scheme", args{"url": "example.com/a"}, caxton.Invalid, "url_invalid"},
		{"a file", args{"url": "file:///etc/passwd"}, caxton.Invalid, "url_invalid"},
		{"gopher", args{"url": "gopher://127.0.0.1:70/"}, caxton.Invalid, "url_invalid"},
		{"no host", args{"url": "http:///a"}, caxton.Invalid, "url_invalid"},
		{"a space in the host", args{"url": "http://a b/"}, caxton.Invalid, "url_invalid"},
		{"a broken address", args{"url": "http://[::1"}, caxton.Invalid, "url_invalid"},
		{"a host of no letters", args{"url": "http://%00/"}, caxton.Invalid, "url_invalid"},
		{"an unknown method", args{"url": u, "method": "TRACE"}, caxton.Invalid, "arguments_invalid"},
		{"a body for GET", args{"url": u, "body": "x"}, caxton.Invalid, "arguments_invalid"},
		{"a body too large", args{"url": u, "method": "POST", "body": "01234567890"}, caxton.TooLarge, "input_too_large"},
		{"a value too large", args{"url": u, "method": "POST", "body": []string{"01234567890"}}, caxton.TooLarge, "input_too_large"},
		{"the Host header", args{"url": u, "headers": map[string]string{"host": "other"}}, caxton.Invalid, "header_invalid"},
		{"a hop-by-hop header", args{"url": u, "headers": map[string]string{"Transfer-Encoding": "chunked"}}, caxton.Invalid, "header_invalid"},
		{"a newline in a header", args{"url": u, "headers": map[string]string{"X": "a\r\nHost: b"}}, caxton.Invalid, "header_invalid"},
		{"a header with a bad name", args{"url": u, "headers": map[string]string{"X Y": "a"}}, caxton.Invalid, "header_invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := run(t.Context(), t, s, "http_client", tt.args, tool.Call{})
			wantError(t, err, tt.kind, tt.code)
		})
	}
	for _, config := range []map[string]any{{"max_connections": 0}, {"max_connections": "many"}, {"max_connections": []any{}}} {
		_, err := run(t.Context(), t, s, "http_client", args{"url": u}, tool.Call{Config: config})
		wantError(t, err, caxton.Invalid, "tool_config_invalid")
	}
	_, err := run(t.Context(), t, s, "http_client", args{"url": u}, tool.Call{Grant: caxton.ToolGrant{Name: "http_client", AllowedHosts: []string{"a b"}}})
	wantError(t, err, caxton.Invalid, "host_rule_invalid")
}

func TestHTTPHostRules(t *testing.T) {
	for _, rule := range []string{"", "a b", "*.", "example.com:0", "example.com:99999", "http://example.com", "exam/ple", "10.0.0.0/33", "*.*.com"} {
		if _, err := builtin.New(builtin.Config{HTTP: builtin.HTTPConfig{AllowedHosts: []string{rule}}}); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("New with the rule %q: %v, want an invalid error", rule, err)
		}
		if _, err := builtin.New(builtin.Config{HTTP: builtin.HTTPConfig{DeniedHosts: []string{rule}}}); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("New with the denied rule %q: %v, want an invalid error", rule, err)
		}
	}
}

// TestHTTPRefusesAddresses asks for a server on loopback, and for other addresses nobody may
// reach, in every spelling.
func TestHTTPRefusesAddresses(t *testing.T) {
	reached := atomic.Int64{}
	server := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	port := portOf(t, server)
	names := &resolver{hosts: map[string][]string{
		"localhost":                {"127.0.0.1", "::1"},
		"rebind.example.com":       {"127.0.0.1"},
		"mixed.example.com":        {"93.184.216.34", "10.0.0.1"},
		"mapped.example.com":       {"::ffff:127.0.0.1"},
		"metadata.google.internal": {"169.254.169.254"},
		"nip.example.com":          {"169.254.169.254"},
		"xn--bcher-kva.example":    {"192.168.0.1"},
		"2130706433":               {"127.0.0.1"}, // what some resolvers make of it
		"0x7f.1":                   {"127.0.0.1"},
		"0177.0.0.1":               {"127.0.0.1"},
		"127.1":                    {"127.0.0.1"},
		"0x7f000001":               {"127.0.0.1"},
	}}
	s := newSet(t, builtin.Config{HTTP: builtin.HTTPConfig{Resolver: names}})
	hosts := []string{
		"127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "0.0.0.0", "[::]",
		"2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1.", "①②⑦.0.0.1", "１２７.0.0.1",
		"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "169.254.1.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "198.18.0.1", "240.0.0.1",
		"[fe80::1]", "[fe80::1%25eth0]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[fec0::1]", "[2001:db8::1]", "[2001::1]", "[100::1]",
		"[64:ff9b::7f00:1]", "[64:ff9b::a00:1]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2002:a00:1::1]", "[2a00::5efe:10.0.0.1]",
		"rebind.example.com", "mixed.example.com", "mapped.example.com", "nip.example.com", "bücher.example",
		"metadata.google.internal", "Metadata.Google.Internal.", "metadata", "instance-data", "100.100.100.200", "168.63.129.16", "192.0.0.192",
		"user:pass@127.0.0.1", "example.com@127.0.0.1",
	}
	for _, host := range hosts {
		t.Run(host, func(t *testing.T) {
			if userinfo, bare, ok := strings.Cut(host, "@"); ok {
				host = userinfo + "@" + bare
			}
			res, err := run(t.Context(), t, s, "http_client", args{"url": "http://" + host + ":" + port + "/"}, tool.Call{})
			if err == nil {
				t.Fatalf("http_client reached it: %s", res.Text)
			}
			wantError(t, err, caxton.Forbidden, "address_refused")
		})
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the server on loopback was reached %d times", n)
	}
}

func TestHTTPPolicy(t *testing.T) {
	server := serve(t, respond("text/plain", "hello"))
	port := portOf(t, server)
	names := &resolver{hosts: map[string][]string{
		"files.example.com": {"127.0.0.1"}, "a.b.example.com": {"127.0.0.1"}, "example.com": {"127.0.0.1"}, "notexample.com": {"127.0.0.1"},
		"meta.example.com": {"169.254.169.254"}, "metadata": {"127.0.0.1"}, "empty.example.com": {},
	}}
	tests := []struct {
		name    string
		cfg     builtin.HTTPConfig
		granted []string
		host    string
		code    string // "" for an answer
	}{
		{"a name is allowed", builtin.HTTPConfig{AllowedHosts: []string{"files.example.com"}}, nil, "files.example.com", ""},
		{"in capitals with a dot", builtin.HTTPConfig{AllowedHosts: []string{"Files.Example.com."}}, nil, "FILES.example.COM.", ""},
		{"a name on this port", builtin.HTTPConfig{AllowedHosts: []string{"files.example.com:" + port}}, nil, "files.example.com", ""},
		{"a name on another port", builtin.HTTPConfig{AllowedHosts: []string{"files.example.com:1"}}, nil, "files.example.com", "address_refused"},
		{"below a name", builtin.HTTPConfig{AllowedHosts: []string{"*.example.com"}}, nil, "a.b.example.com", ""},
		{"the name itself is not below it", builtin.HTTPConfig{AllowedHosts: []string{"*.example.com"}}, nil, "example.com", "address_refused"},
		{"another name with the same end", builtin.HTTPConfig{AllowedHosts: []string{"*.example.com", "example.com"}}, nil, "notexample.com", "address_refused"},
		{"an address", builtin.HTTPConfig{AllowedHosts: []string{"127.0.0.1"}}, nil, "files.example.com", ""},
		{"an address and port", builtin.HTTPConfig{AllowedHosts: []string{"127.0.0.1:" + port}}, nil, "127.0.0.1", ""},
		{"an address in IPv6 clothes", builtin.HTTPConfig{AllowedHosts: []string{"::ffff:127.0.0.1"}}, nil, "127.0.0.1", ""},
		{"a range", builtin.HTTPConfig{AllowedHosts: []string{"127.0.0.0/8"}}, nil, "files.example.com", ""},
		{"a mapped range", builtin.HTTPConfig{AllowedHosts: []string{"::ffff:127.0.0.0/104"}}, nil, "files.example.com", ""},
		{"all private addresses", builtin.HTTPConfig{AllowPrivate: true}, nil, "files.example.com", ""},
		{"private does not mean metadata", builtin.HTTPConfig{AllowPrivate: true}, nil, "meta.example.com", "address_refused"},
		{"a range does not mean metadata", builtin.HTTPConfig{AllowedHosts: []string{"169.254.0.0/16", "*"}}, nil, "meta.example.com", "address_refused"},
		{"metadata by name", builtin.HTTPConfig{AllowedHosts: []string{"metadata"}}, nil, "metadata", ""},
		{"metadata by a pattern", builtin.HTTPConfig{AllowedHosts: []string{"*", "127.0.0.0/8"}}, nil, "metadata", "address_refused"},
		{"denied by name", builtin.HTTPConfig{AllowPrivate: true, DeniedHosts: []string{"*.example.com"}}, nil, "files.example.com", "address_refused"},
		{"denied by address", builtin.HTTPConfig{AllowPrivate: true, DeniedHosts: []string{"127.0.0.0/8"}}, nil, "files.example.com", "address_refused"},
		{"denied beats allowed", builtin.HTTPConfig{AllowedHosts: []string{"127.0.0.1"}, DeniedHosts: []string{"127.0.0.1"}}, nil, "127.0.0.1", "address_refused"},
		{"only allowed ones", builtin.HTTPConfig{AllowPrivate: true, AllowedOnly: true, AllowedHosts: []string{"other.example.com"}}, nil, "files.example.com", "address_refused"},
		{"only allowed ones, allowed", builtin.HTTPConfig{AllowedOnly: true, AllowedHosts: []string{"files.example.com"}}, nil, "files.example.com", ""},
		{"granted", builtin.HTTPConfig{AllowPrivate: true}, []string{"files.example.com"}, "files.example.com", ""},
		{"granted by address", builtin.HTTPConfig{AllowPrivate: true}, []string{"127.0.0.0/8"}, "files.example.com", ""},
		{"not granted", builtin.HTTPConfig{AllowPrivate: true}, []string{"other.example.com"}, "files.example.com", "host_not_granted"},
		{"not granted by address", builtin.HTTPConfig{AllowPrivate: true}, []string{"10.0.0.0/8"}, "files.example.com", "host_not_granted"},
		{"a grant does not widen", builtin.HTTPConfig{}, []string{"files.example.com"}, "files.example.com", "address_refused"},
		{"no addresses", builtin.HTTPConfig{}, nil, "empty.example.com", "host_not_found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Resolver = names
			s := newSet(t, builtin.Config{HTTP: tt.cfg})
			call := tool.Call{Grant: caxton.ToolGrant{Name: "http_client", AllowedHosts: tt.granted}}
			res, err := run(t.Context(), t, s, "http_client", args{"url": "http://" + tt.host + ":" + port + "/"}, call)
			if tt.code == "" {
				if err != nil || string(res.Body) != "hello" {
					t.Errorf("http_client(%s) = %q, %v, want hello", tt.host, res.Body, err)
				}
				return
			}
			if e := (*caxton.Error)(nil); !errors.As(err, &e) || e.Code != tt.code {
				t.Errorf("http_client(%s): %v, want %s", tt.host, err, tt.code)
			}
		})
	}
}

// TestHTTPResolvesOnce checks that the address which is checked is the one that is used: a
// name that changes its address between two look-ups would be caught by the first.
func TestHTTPResolvesOnce(t *testing.T) {
	server := serve(t, respond("text/plain", "hello"))
	names := &resolver{hosts: map[string][]string{"files.example.com": {"127.0.0.1"}}}
	s := newSet(t, builtin.Config{HTTP: builtin.HTTPConfig{AllowedHosts: []string{"127.0.0.1"}, Resolver: names}})
	must(t, s, "http_client", args{"url": "http://files.example.com:" + portOf(t, server)}, tool.Call{})
	if n := names.asked.Load(); n != 1 {
		t.Errorf("the name was looked up %d times, want once", n)
	}
}

func TestHTTPRedirects(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		switch {
		case r.URL.Path == "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case err != nil:
			w.Header().Set("Location", r.URL.Query().Get("to"))
			w.WriteHeader(http.StatusTemporaryRedirect)
		case n > 0:
			http.Redirect(w, r, "/"+strconv.Itoa(n-1), http.StatusFound)
		case r.Header.Get("Cookie") != "":
			_, _ = io.WriteString(w, "arrived with a cookie")
		default:
			_, _ = io.WriteString(w, "arrived without a cookie")
		}
	})
	inner := serve(t, respond("text/plain", "secret"))
	allowed := "127.0.0.1:" + portOf(t, server)
	tests := []struct {
		name, path string
		max        int
		code       string
	}{
		{"as many as allowed", "/5", 0, ""},
		{"one too many", "/6", 0, "too_many_redirects"},
		{"a smaller limit", "/3", 2, "too_many_redirects"},
		{"none allowed", "/1", -1, "too_many_redirects"},
		{"a loop", "/loop", 0, "too_many_redirects"},
		{"to another port of loopback", "/to?to=" + url.QueryEscape(inner.URL), 0, "address_refused"},
		{"to a metadata service", "/to?to=" + url.QueryEscape("http://169.254.169.254/latest/meta-data/"), 0, "address_refused"},
		{"to localhost", "/to?to=" + url.QueryEscape("http://localhost:"+portOf(t, inner)), 0, "address_refused"},
		{"to an odd spelling", "/to?to=" + url.QueryEscape("http://2130706433:"+portOf(t, inner)), 0, "address_refused"},
		{"to a file", "/to?to=" + url.QueryEscape("file:///etc/passwd"), 0, "url_invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			names := &resolver{hosts: map[string][]string{"localhost": {"127.0.0.1"}}}
			s := newSet(t, builtin.Config{HTTP: builtin.HTTPConfig{AllowedHosts: []string{allowed}, MaxRedirects: tt.max, Resolver: names}})
			res, err := run(t.Context(), t, s, "http_client", args{"url": server.URL + tt.path}, tool.Call{})
			if tt.code == "" {
				if err != nil || !strings.Contains(res.Text, "arrived without a cookie") || !strings.Contains(res.Text, "url: "+server.URL+"/0\n") {
					t.Errorf("http_client(%s) = %q, %v, want to arrive at /0", tt.path, res.Text, err)
				}
				return
			}
			if e := (*caxton.Error)(nil); !errors.As(err, &e) || e.Code != tt.code {
				t.Errorf("http_client(%s) = %q, %v, want %s", tt.path, res.Text, err, tt.code)
			}
		})
	}
	t.Run("not granted to the agent", func(t *testing.T) {
		s := onLoopback(t, builtin.HTTPConfig{})
		call := tool.Call{Grant: caxton.ToolGrant{Name: "http_client", AllowedHosts: []string{allowed}}}
		_, err := run(t.Context(), t, s, "http_client", args{"url": server.URL + "/to?to=" + url.QueryEscape(inner.URL)}, call)
		wantError(t, err, caxton.Forbidden, "host_not_granted")
	})
}

// TestHTTPKeepsCredentials follows a redirect to another server and back: what was meant for
// the first one is not shown to the second, and not sent again after the detour.
func TestHTTPKeepsCredentials(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]http.Header{}
	note := func(where string, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[where] = r.Header.Clone()
	}
	var first, second *httptest.Server
	first = serve(t, func(w http.ResponseWriter, r *http.Request) {
		note("first"+r.URL.Path, r)
		w.Header().Set("Set-Cookie", "session=1")
		switch r.URL.Path {
		case "/start":
			http.Redirect(w, r, "/same", http.StatusFound)
		case "/same":
			http.Redirect(w, r, second.URL+"/other", http.StatusFound)
		}
	})
	second = serve(t, func(w http.ResponseWriter, r *http.Request) {
		note("second"+r.URL.Path, r)
		http.Redirect(w, r, first.URL+"/back", http.StatusFound)
	})
	s := onLoopback(t, builtin.HTTPConfig{})
	must(t, s, "http_client", args{
		"url":     first.URL + "/start?token=t",
		"headers": map[string]string{"Authorization": "Bearer x", "X-Api-Key": "k", "Accept": "text/plain", "Cookie": "a=b"},
	}, tool.Call{})
	for where, want := range map[string]bool{"first/start": true, "first/same": true, "second/other": false, "first/back": false} {
		h, ok := seen[where]
		if !ok {
			t.Fatalf("%s was not reached", where)
		}
		for _, name := range []string{"Authorization", "X-Api-Key", "Cookie"} {
			if got := h.Get(name) != ""; got != want {
				t.Errorf("%s: %s was sent: %t, want %t", where, name, got, want)
			}
		}
		if h.Get("Accept") != "text/plain" || h.Get("Referer") != "" || strings.Contains(h.Get("Cookie"), "session") {
			t.Errorf("%s: headers %v, want Accept, no Referer and no cookie of a server", where, h)
		}
	}
}

func TestHTTPSizeLimit(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		switch r.URL.Path {
		case "/exact":
			_, _ = io.WriteString(w, strings.Repeat("x", 1024))
		case "/more":
			_, _ = io.WriteString(w, strings.Repeat("x", 1025))
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 1024)); err != nil {
					return
				}
			}
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		case "/headers":
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		}
	})
	s := onLoopback(t, builtin.HTTPConfig{MaxResponse: caxton.KiB})
	if res := must(t, s, "http_client", args{"url": server.URL + "/exact"}, tool.Call{}); len(res.Body) != 1024 {
		t.Errorf("a body of the limit has %d bytes, want 1024", len(res.Body))
	}
	for _, path := range []string{"/more", "/endless", "/gzip"} {
		_, err := run(t.Context(), t, s, "http_client", args{"url": server.URL + path}, tool.Call{})
		wantError(t, err, caxton.TooLarge, "response_too_large", "1KiB", "max_response")
	}
	// What was done is no error: a model that is told of one does it again.
	if res := must(t, s, "http_client", args{"url": server.URL + "/more", "method": "POST", "body": "x"}, tool.Call{}); !strings.HasPrefix(res.Text, "HTTP 200") || !strings.Contains(res.Text, "1KiB") {
		t.Errorf("a POST whose answer is too large: %q", res.Text)
	}
	_, err := run(t.Context(), t, s, "http_client", args{"url": server.URL + "/headers"}, tool.Call{})
	wantError(t, err, caxton.Unavailable, "http_failed")
}

func TestHTTPTimeouts(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(w, "the beginning")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	})
	tests := []struct {
		name, path string
		limit      time.Duration
		config     map[string]any
	}{
		{"no answer", "/", 50 * time.Millisecond, nil},
		{"half an answer", "/body", 50 * time.Millisecond, nil},
		{"the agent's limit", "/", 0, map[string]any{"timeout": "50ms"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := onLoopback(t, builtin.HTTPConfig{Timeout: tt.limit})
			_, err := run(t.Context(), t, s, "http_client", args{"url": server.URL + tt.path}, tool.Call{Config: tt.config})
			wantError(t, err, caxton.Timeout, "http_timeout", "did not answer in full within")
		})
	}
	t.Run("the caller leaves", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		arrived := serve(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
		_, err := run(ctx, t, onLoopback(t, builtin.HTTPConfig{}), "http_client", args{"url": arrived.URL}, tool.Call{})
		wantError(t, err, caxton.Canceled, "tool_canceled")
	})
}

func TestHTTPFailures(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	broken := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "short")
	})
	s := onLoopback(t, builtin.HTTPConfig{})
	for name, u := range map[string]string{"refused": closed.URL, "an unknown certificate": secure.URL, "cut off": broken.URL} {
		t.Run(name, func(t *testing.T) {
			_, err := run(t.Context(), t, s, "http_client", args{"url": u}, tool.Call{})
			wantError(t, err, caxton.Unavailable, "http_failed")
		})
	}
	missing := serve(t, http.NotFound)
	res := must(t, s, "http_client", args{"url": missing.URL}, tool.Call{})
	if !strings.HasPrefix(res.Text, "HTTP 404 Not Found (the request failed)\n") {
		t.Errorf("a 404 reads %q", res.Text)
	}
}

func TestHTTPMaxConnections(t *testing.T) {
	var under, most atomic.Int64
	pair := make(chan struct{})
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		n := under.Add(1)
		for m := most.Load(); n > m; m = most.Load() {
			if most.CompareAndSwap(m, n) {
				break
			}
		}
		select { // two at a time: each waits for another one
		case pair <- struct{}{}:
		case <-pair:
		case <-r.Context().Done():
		}
		under.Add(-1)
	})
	s := onLoopback(t, builtin.HTTPConfig{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			call := tool.Call{AgentID: "a", Config: map[string]any{"max_connections": int64(2)}}
			if _, err := run(t.Context(), t, s, "http_client", args{"url": server.URL}, call); err != nil {
				t.Errorf("http_client failed: %v", err)
			}
		})
	}
	wg.Wait()
	if n := most.Load(); n != 2 {
		t.Errorf("%d requests were under way at once, want 2", n)
	}
}

func TestHTTPWaitsForAConnectionInVain(t *testing.T) {
	entered, leave := make(chan struct{}, 1), make(chan struct{})
	server := serve(t, func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave })
	s := onLoopback(t, builtin.HTTPConfig{MaxConnections: 1})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := run(t.Context(), t, s, "http_client", args{"url": server.URL}, tool.Call{AgentID: "a"}); err != nil {
			t.Errorf("the first call failed: %v", err)
		}
	})
	<-entered
	_, err := run(t.Context(), t, s, "http_client", args{"url": server.URL}, tool.Call{AgentID: "a", Config: map[string]any{"timeout": "20ms"}})
	wantError(t, err, caxton.Timeout, "http_timeout")
	close(leave)
	wg.Wait()
}

func TestHTTPBodies(t *testing.T) {
	page := `<!doctype html><html><head><title>A &amp; B</title><style>p{}</style><script>alert("no")</script></head>
<body><nav><a href="/home">Home</a></nav><h1>Head</h1><p>One <b>bold</b>
word,   and <a href="two.html?x=1">a link</a>.</p><ul><li>first</li><li>second</li></ul><table><tr><td>1</td><td>2</td></tr></table><noscript>no</noscript></body></html>`
	tests := []struct {
		name, path, contentType, body string
		media, text                   string
	}{
		{"a page", "/", "text/html; charset=utf-8", page, "text/html", "A & B\n\nHome\n\nHead\n\nOne bold word, and a link.\n\n- first\n- second\n\n1 | 2\n\nLinks:\n- Home: {url}/home\n- a link: {url}/two.html?x=1"},
		{"a page by its content", "/", "", "<html><body><p>Hi</p></body></html>", "text/html", "Hi"},
		{"Latin-1 by the header", "/", "text/plain; charset=iso-8859-1", "J\xfcrgen", "text/plain", "Jürgen"},
		{"Latin-1 by a page", "/", "text/html", "<meta charset=latin1><p>J\xfcrgen", "text/html", "Jürgen"},
		{"UTF-16 by its mark", "/", "text/plain", "\xff\xfeH\x00i\x00", "text/plain", "Hi"},
		{"a table by its type", "/", "text/csv; charset=utf-8", "a,b\n1,2\n", "text/csv", "a,b\n1,2\n"},
		{"a table by its name", "/data.CSV", "application/octet-stream", "a,b\n1,2\n", "text/csv", "a,b\n1,2\n"},
		{"a table by its content", "/", "text/plain", "a,b\n1,2\n3,4\n", "text/csv", "a,b\n1,2\n3,4\n"},
		{"prose with commas", "/", "text/plain", "Well, this\nis not, really, a\ntable.\n", "text/plain", "Well, this\nis not, really, a\ntable.\n"},
		{"JSON by its content", "/", "", `{"a": 1}`, "application/json", `{"a": 1}`},
		{"tabs by the name", "/a.tsv", "text/plain", "a\tb\n", "text/tab-separated-values", "a\tb\n"},
		{"a picture", "/", "image/png", "\x89PNG\r\n\x1a\n\x00\x00", "image/png", "[a body that is not text is not shown]"},
		{"bytes", "/", "", "\x00\x01\x02", "application/octet-stream", "[a body that is not text is not shown]"},
		{"text of an unknown type", "/", "application/x-thing", "plain", "application/x-thing", "plain"},
		{"nothing", "/", "text/plain", "", "text/plain", ""},
	}
	s := onLoopback(t, builtin.HTTPConfig{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := serve(t, respond(tt.contentType, tt.body))
			res := must(t, s, "http_client", args{"url": server.URL + tt.path}, tool.Call{ID: "c1"})
			_, text, _ := strings.Cut(res.Text, "bytes\n")
			want := strings.ReplaceAll(tt.text, "{url}", server.URL)
			if got := strings.TrimPrefix(text, "\n"); got != want {
				t.Errorf("text = %q, want %q", got, want)
			}
			if res.MediaType != tt.media || string(res.Body) != tt.body {
				t.Errorf("body %q of %s, want %q of %s", res.Body, res.MediaType, tt.body, tt.media)
			}
		})
	}
}

func TestPageText(t *testing.T) {
	base := &url.URL{Scheme: "https", Host: "example.com", Path: "/a/"}
	tests := []struct{ name, page, want string }{
		{"space between elements", "<p>a<b> b</b>c <i>d</i></p>", "a bc d"},
		{"space that does not break", "a&nbsp;<b>b</b>", "a b"},
		{"code", "<p>x<pre>if a {\n\tb()\n}</pre>y", "x\n\nif a {\n\tb()\n}\n\ny"},
		{"pictures", `<img alt="a cat"><img src=x>`, "a cat"},
		{"nested templates", "a<template>b<template>c</template>d</template>e", "ae"},
		{"a script that never ends", "a<script>b", "a"},
		{"an object that never ends", "a<object><p>b", "a"},
		{"other links", `<a href="#x">x</a><a href="javascript:alert(1)">y</a><a href="//other.org/">z</a><a href=b></a>`, "xyz\n\nLinks:\n- z: https://other.org/"},
		{"not a page", "just text", "just text"},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := builtin.PageText(tt.page, base); got != tt.want {
				t.Errorf("PageText(%q) = %q, want %q", tt.page, got, tt.want)
			}
		})
	}
	long := strings.Repeat("<p>word</p>", 10_000) + strings.Repeat(`<a href="/a">b</a>`, 1000)
	text, total := builtin.PageText("<a href=/first>first</a>"+long, base)
	if total < 16<<10 || len(text) > 16<<10 || strings.Count(text, "\n- ") > 30 || !strings.Contains(text, "first: https://example.com/first") {
		t.Errorf("a long page has %d bytes of text of %d", len(text), total)
	}
}

func FuzzPageText(f *testing.F) {
	f.Add("<title>a</title><p>b<a href=c>d</a>")
	f.Add("<pre>\n</pre><svg><svg></svg><td><li>\xff")
	base := &url.URL{Scheme: "https", Host: "example.com"}
	f.Fuzz(func(t *testing.T, page string) {
		if text, total := builtin.PageText(page, base); total < len(text) {
			t.Errorf("PageText(%q): %d bytes of text of %d", page, len(text), total)
		}
	})
}

func TestHTTPLongBody(t *testing.T) {
	body := strings.Repeat("größe,1\n", 50_000)
	server := serve(t, respond("text/csv", body))
	res := must(t, onLoopback(t, builtin.HTTPConfig{}), "http_client", args{"url": server.URL}, tool.Call{ID: "c1"})
	if len(res.Text) > tool.MaxText || string(res.Body) != body || !strings.HasSuffix(res.Text, `read all of it with "from": "c1"]`) {
		t.Errorf("text of %d bytes ends %q, body of %d bytes", len(res.Text), res.Text[len(res.Text)-120:], len(res.Body))
	}
	if !strings.Contains(res.Text, fmt.Sprintf("of %d bytes", len(body))) {
		t.Errorf("text does not say how long the body is: %q", res.Text[len(res.Text)-160:])
	}
}

// TestHTTPThenCSV hands a fetched table to csv_parser, as a turn does.
func TestHTTPThenCSV(t *testing.T) {
	server := serve(t, respond("text/csv", "date,wind\n2012-01-01,4.5\n2012-01-02,5.5\n"))
	s := onLoopback(t, builtin.HTTPConfig{})
	fetched := must(t, s, "http_client", args{"url": server.URL + "/w.csv"}, tool.Call{ID: "c1"})
	res := must(t, s, "csv_parser", args{"from": "c1"}, tool.Call{ID: "c2", Results: resultsFunc(func() string { return string(fetched.Body) })})
	if !strings.HasPrefix(res.Text, "2 data rows, 2 columns\n") || !strings.Contains(res.Text, "wind: number, min 4.5, mean 5, max 5.5, missing 0") {
		t.Errorf("csv_parser = %s", res.Text)
	}
}

func TestHTTPIdempotency(t *testing.T) {
	s := newSet(t, builtin.Config{})
	client, ok := s.Get("http_client")
	if !ok {
		t.Fatal("there is no http_client")
	}
	if client.Spec().Idempotent {
		t.Error("http_client says that every call is idempotent")
	}
	for a, want := range map[string]bool{
		`{"url":"http://x"}`:                   true,
		`{"url":"http://x","method":"GET"}`:    true,
		`{"url":"http://x","method":"HEAD"}`:   true,
		`{"url":"http://x","method":"POST"}`:   false,
		`{"url":"http://x","method":"DELETE"}`: false,
		`{"url":`:                              false,
	} {
		if got := tool.IdempotentCall(client, json.RawMessage(a)); got != want {
			t.Errorf("IdempotentCall(%s) = %t, want %t", a, got, want)
		}
	}
}
