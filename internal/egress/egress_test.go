package egress_test

import (
	"net/netip"
	"testing"

	"github.com/caxton/caxton/internal/egress"
)

func TestSpecialAddresses(t *testing.T) {
	public := []string{
		"1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1", "192.167.1.1", "198.17.255.255", "223.255.255.255",
		"2606:4700:4700::1111", "2a00:1450:4001::1", "64:ff9b::808:808", "2002:808:808::1",
	}
	for _, a := range public {
		if got := egress.Special(netip.MustParseAddr(a)); got != "" {
			t.Errorf("Special(%s) = %q, want a public address", a, got)
		}
	}
	for _, a := range []string{"0.1.2.3", "192.0.2.1", "203.0.113.5", "2001:2::1", "3fff::1", "5f00::1", "fd00::1", "::2", "2002:c0a8:1::1"} {
		if egress.Special(netip.MustParseAddr(a)) == "" {
			t.Errorf("Special(%s) calls it public", a)
		}
	}
	if egress.Special(netip.Addr{}) == "" {
		t.Error("Special calls no address public")
	}
	if !egress.Metadata(netip.MustParseAddr("64:ff9b::a9fe:a9fe")) {
		t.Error("Metadata misses a metadata address behind NAT64")
	}
}
