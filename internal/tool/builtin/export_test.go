package builtin

import (
	"net/netip"
	"net/url"
)

// Special lets tests ask about addresses that nothing may connect to.
func Special(ip netip.Addr) string { return special(ip) }

// MetadataAddr lets tests ask about addresses that nothing may connect to.
func MetadataAddr(ip netip.Addr) bool { return metadataAddr(ip) }

// PageText lets tests reduce pages without a server.
func PageText(page string, base *url.URL) (string, int) { return pageText(page, base) }
