package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

var (
	hostForm   = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$`)
	tokenForm  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	metricForm = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*$`)
)

// misformed returns what a text of that form looks like when s is none, else "".
func misformed(form, s string) string {
	switch form {
	case "host":
		if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err != nil && !hostForm.MatchString(s) {
			return "an address without a port, such as 127.0.0.1"
		}
	case "address":
		if !isAddress(s, false) {
			return "an address such as 127.0.0.1:8081"
		}
	case "listen":
		if !isAddress(listenAddress(s), true) {
			return "an address such as 127.0.0.1:9090"
		}
	case "advertise":
		if s != "auto" && !isAddress(s, false) {
			return "auto or an address such as 10.0.0.5:7946"
		}
	case "url":
		if u, err := url.Parse(s); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || !portOK(u.Port()) {
			return "a URL such as http://localhost:8080"
		}
	case "uri":
		if u, err := url.Parse(s); err != nil || u.Scheme == "" || u.Hostname() == "" || !portOK(u.Port()) {
			return "a URI such as bolt://localhost:7687"
		}
	case "origin":
		if u, err := url.Parse(s); s != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "") {
			return "an origin such as https://dashboard.example.com, or *"
		}
	case "hostrule":
		if !isHostRule(s) {
			return "a host such as example.com, example.com:8080, *.example.com, 10.0.0.7 or 10.0.0.0/8"
		}
	case "token":
		if !tokenForm.MatchString(s) {
			return "one word without spaces"
		}
	case "metric":
		if !metricForm.MatchString(s) {
			return "a word of letters, digits and underscores"
		}
	}
	return ""
}

func portOK(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil
}

// isAddress reports whether s is host:port, where the host may be missing if bare.
func isAddress(s string, bare bool) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || port == "" || !portOK(port) {
		return false
	}
	return host == "" && bare || misformed("host", host) == "" && host != ""
}

// isHostRule reports whether s names hosts for the tool http_client.
func isHostRule(s string) bool {
	s = strings.TrimSpace(s)
	if _, err := netip.ParsePrefix(s); err == nil {
		return true
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if host, port, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return false
		}
		s = host
	}
	if s == "*" {
		return true
	}
	s = strings.TrimPrefix(s, "*.")
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return true
	}
	for _, r := range s {
		if r <= ' ' || strings.ContainsRune("/:@?#[]\\\"'*", r) {
			return false // letters of any script may stand in a host name
		}
	}
	return s != ""
}
