package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/caxton/caxton"
)

// dialTimeout bounds one attempt to connect.
const dialTimeout = 10 * time.Second

// A Resolver finds the addresses of a host. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// A Policy decides which hosts and addresses one call may reach. It is asked twice on every
// hop: for the name, before anything is sent, and for each address the name resolved to,
// right before connecting to it, so that a name whose address changes gains nothing.
type Policy struct {
	Allowed      []Rule
	Denied       []Rule
	Granted      []Rule // of the agent; empty: no narrowing
	AllowedOnly  bool
	AllowPrivate bool
	Setting      string // key of the configuration that has the allowed hosts, for hints
}

// A Rule names hosts: by name, by the ending of the name, or by address, on one port or
// on all.
type Rule struct {
	name   string       // lower-case ASCII, or "" for a rule of addresses
	suffix bool         // name and all below it is meant: "*.example.com", kept as ".example.com"
	prefix netip.Prefix // for rules of addresses
	port   string       // "" for every port
}

// ParseRules reads rules such as "example.com", "example.com:8443", "*.example.com",
// "10.0.0.7:80", "[::1]:8080", "10.0.0.0/8" and "*".
func ParseRules(where string, texts []string) ([]Rule, error) {
	rules := make([]Rule, 0, len(texts))
	for _, text := range texts {
		r, ok := parseRule(text)
		if !ok {
			return nil, caxton.Errorf(caxton.Invalid, "host_rule_invalid", "%s: %.100q does not name a host", where, text).
				WithHint("write it like example.com, example.com:8080, *.example.com, 10.0.0.7 or 10.0.0.0/8")
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func parseRule(text string) (Rule, bool) {
	text = strings.TrimSpace(text)
	if p, err := netip.ParsePrefix(text); err == nil {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return Rule{prefix: p.Masked()}, true
	}
	var r Rule
	host := text
	if _, err := netip.ParseAddr(text); err != nil { // a bare IPv6 address has colons, but no port
		if h, port, err := net.SplitHostPort(text); err == nil {
			if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
				return r, false
			}
			host, r.port = h, port
		}
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.WithZone("").Unmap()
		r.prefix = netip.PrefixFrom(ip, ip.BitLen())
		return r, true
	}
	if host == "*" {
		r.suffix = true
		return r, true
	}
	host, r.suffix = strings.CutPrefix(host, "*.")
	name, ok := hostName(host)
	if r.name = name; r.suffix {
		r.name = "." + name
	}
	return r, ok
}

// hostName returns the lower-case ASCII form of a host name without a dot at the end.
func hostName(host string) (string, bool) {
	host = strings.TrimSuffix(host, ".")
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil { // names with underscores are no proper host names, but are in use
		ascii = strings.ToLower(host)
		for _, c := range []byte(ascii) {
			if c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return "", false
			}
		}
	}
	return ascii, ascii != "" && len(ascii) <= 253
}

// matchesName reports whether the rule names host by name.
func (r Rule) matchesName(host, port string) bool {
	if r.prefix.IsValid() || r.port != "" && r.port != port {
		return false
	}
	if r.suffix {
		return strings.HasSuffix(host, r.name)
	}
	return host == r.name
}

// matchesAddr reports whether the rule names an address.
func (r Rule) matchesAddr(ip netip.Addr, port string) bool {
	return r.prefix.IsValid() && r.prefix.Contains(ip) && (r.port == "" || r.port == port)
}

// exact reports whether the rule names one host or one address and no others.
func (r Rule) exact() bool {
	return !r.suffix && (!r.prefix.IsValid() || r.prefix.IsSingleIP())
}

// CheckName returns the host in canonical form, or why it may not be asked for at all.
func (p *Policy) CheckName(host, port string) (string, error) {
	ip, err := netip.ParseAddr(host)
	literal := err == nil
	if literal {
		host = ip.String()
	} else {
		name, ok := hostName(host)
		if !ok {
			return "", caxton.Errorf(caxton.Invalid, "url_invalid", "%.100q is not the name of a host", host)
		}
		if host = name; numeric(name) {
			return "", refused(host, "is an unusual spelling of an address").
				WithHint("write an address as four decimal numbers, such as 192.0.2.1")
		}
	}
	byName := func(r Rule) bool { return r.matchesName(host, port) }
	if !literal && slices.ContainsFunc(p.Denied, byName) {
		return "", refused(host, "is denied by the server's configuration")
	}
	byAddress := func(r Rule) bool { return r.prefix.IsValid() } // decided once the address is known
	if len(p.Granted) > 0 && !slices.ContainsFunc(p.Granted, byName) && !slices.ContainsFunc(p.Granted, byAddress) {
		return "", p.notGranted(host)
	}
	if metadataName(host) && !slices.ContainsFunc(p.Allowed, func(r Rule) bool { return byName(r) && r.exact() }) {
		return "", refused(host, "is a metadata service")
	}
	return host, nil
}

// CheckLiteral returns why a host may not be asked for, as far as that is known before its name
// is looked up: CheckName, and CheckAddr when the host is an address, or localhost.
func (p *Policy) CheckLiteral(host, port string) error {
	name, err := p.CheckName(host, port)
	if err != nil {
		return err
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") { // always this machine (RFC 6761)
		return p.CheckAddr(name, port, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		return p.CheckAddr(name, port, ip)
	}
	return nil
}

// CheckAddr returns why the address that host resolved to may not be connected to, or nil.
func (p *Policy) CheckAddr(host, port string, ip netip.Addr) error {
	ip = ip.WithZone("").Unmap()
	byName := func(r Rule) bool { return r.matchesName(host, port) }
	byAddr := func(r Rule) bool { return r.matchesAddr(ip, port) }
	matches := func(r Rule) bool { return byName(r) || byAddr(r) }

	if slices.ContainsFunc(p.Denied, matches) {
		return refused(host, "is denied by the server's configuration")
	}
	if len(p.Granted) > 0 && !slices.ContainsFunc(p.Granted, matches) {
		return p.notGranted(host)
	}
	if Metadata(ip) {
		if slices.ContainsFunc(p.Allowed, func(r Rule) bool { return matches(r) && r.exact() }) {
			return nil
		}
		return refused(host, "is the address of a metadata service")
	}
	if slices.ContainsFunc(p.Allowed, matches) {
		return nil
	}
	if p.AllowedOnly {
		return refused(host, "is not among the hosts this server allows")
	}
	if sort := Special(ip); sort != "" && !p.AllowPrivate {
		why := "is " + sort
		if host != ip.String() {
			why = "has the address " + ip.String() + ", which is " + sort
		}
		return refused(host, why).
			WithHint("the operator can allow it: add %q to %s in the server's configuration", net.JoinHostPort(host, port), p.Setting)
	}
	return nil
}

func (p *Policy) notGranted(host string) error {
	return caxton.Errorf(caxton.Forbidden, "host_not_granted", "this agent may not reach %s", host).
		WithHint("its file lists the hosts it may reach under tools, http_client, allowed_hosts")
}

func refused(host, why string) *caxton.Error {
	return caxton.Errorf(caxton.Forbidden, "address_refused", "%s %s and must not be reached from here", host, why)
}

// numeric reports whether a name that is no address may be read as one by some resolver,
// such as "2130706433", "0x7f.1" or "0177.0.0.1": its last label is a number.
func numeric(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if digits, hex := strings.CutPrefix(last, "0x"); hex {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// metadataName reports whether a cloud provider's metadata service answers to the name.
func metadataName(host string) bool {
	switch host {
	case "metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal":
		return true
	}
	return false
}

// Metadata reports whether a cloud provider hands out credentials or secrets of the
// machine at the address.
func Metadata(ip netip.Addr) bool {
	switch ip.String() {
	case "169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
		"100.100.100.200", // Alibaba Cloud
		"192.0.0.192",     // Oracle Cloud
		"168.63.129.16":   // Azure: looks public, is not
		return true
	}
	v4, ok := embedded(ip)
	return ok && Metadata(v4)
}

// Special returns what an address is when it does not belong to the public Internet, such
// as "a loopback address", or "". The registries are IANA's for special-purpose addresses.
func Special(ip netip.Addr) string {
	switch {
	case !ip.IsValid():
		return "not an address"
	case ip.IsUnspecified():
		return "the unspecified address"
	case ip.IsLoopback():
		return "a loopback address"
	case ip.IsPrivate():
		return "a private address"
	case ip.IsLinkLocalUnicast():
		return "a link-local address"
	case ip.IsMulticast():
		return "a multicast address"
	}
	for _, r := range []struct{ prefix, sort string }{
		{"0.0.0.0/8", "an address of this network"},
		{"100.64.0.0/10", "an address of a carrier's shared network"},
		{"192.0.0.0/24", "a protocol assignment"},
		{"192.0.2.0/24", "a documentation address"},
		{"192.88.99.0/24", "a relay address"},
		{"198.18.0.0/15", "a benchmarking address"},
		{"198.51.100.0/24", "a documentation address"},
		{"203.0.113.0/24", "a documentation address"},
		{"240.0.0.0/4", "a reserved address"},
	} {
		if netip.MustParsePrefix(r.prefix).Contains(ip) {
			return r.sort
		}
	}
	if ip.Is4() {
		return ""
	}
	if v4, ok := embedded(ip); ok {
		if sort := Special(v4); sort != "" {
			return sort + " in disguise"
		}
		return ""
	}
	if !netip.MustParsePrefix("2000::/3").Contains(ip) {
		return "outside the public part of IPv6"
	}
	for _, r := range []struct{ prefix, sort string }{
		{"2001::/23", "a protocol assignment"}, // Teredo, ORCHID, benchmarking
		{"2001:db8::/32", "a documentation address"},
		{"3fff::/20", "a documentation address"},
	} {
		if netip.MustParsePrefix(r.prefix).Contains(ip) {
			return r.sort
		}
	}
	if b := ip.As16(); b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe { // ISATAP
		if sort := Special(netip.AddrFrom4([4]byte(b[12:16]))); sort != "" {
			return sort + " in disguise"
		}
	}
	return ""
}

// embedded returns the IPv4 address that packets to an IPv6 address end up at: mapped and
// compatible addresses, NAT64 (RFC 6052) and 6to4 (RFC 3056).
func embedded(ip netip.Addr) (netip.Addr, bool) {
	if !ip.Is6() {
		return netip.Addr{}, false
	}
	b := ip.As16()
	switch {
	case ip.Is4In6():
		return ip.Unmap(), true
	case netip.MustParsePrefix("::/96").Contains(ip) && !ip.IsUnspecified() && !ip.IsLoopback(),
		netip.MustParsePrefix("64:ff9b::/96").Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case netip.MustParsePrefix("2002::/16").Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// A Dialer connects to the addresses of a host that the policy admits. It resolves the name
// itself, so that the address checked is the address connected to.
type Dialer struct {
	Policy   *Policy
	Resolver Resolver // nil: the one of the system
}

// DialContext connects to host:port.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	if host, err = d.Policy.CheckName(host, port); err != nil {
		return nil, err
	}
	resolver := d.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	var addrs []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{ip}
	} else if addrs, err = resolver.LookupNetIP(ctx, "ip", host); err != nil {
		return nil, fmt.Errorf("looking up %s: %w", host, err)
	}
	last := error(&net.DNSError{Err: "no addresses", Name: host, IsNotFound: true})
	for _, ip := range addrs {
		if err := d.Policy.CheckAddr(host, port, ip); err != nil {
			return nil, err // one bad address spoils the name: it is not for us
		}
	}
	nd := net.Dialer{Timeout: dialTimeout}
	for _, ip := range addrs {
		conn, err := nd.DialContext(ctx, network, net.JoinHostPort(ip.Unmap().String(), port))
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, last
}
