package caxton

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Size is a number of bytes, 0 to 2^63-1. KB, MB and GB are powers of 1024, the same as
// KiB, MiB and GiB.
type Size int64

// The units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

// ParseSize reads "10MB", "1.5 GiB", "512" (bytes) in any case, or returns an Invalid error.
func ParseSize(s string) (Size, error) {
	t := strings.TrimSpace(s)
	i := strings.LastIndexAny(t, "0123456789.") + 1
	unit, ok := unitSize(strings.ToLower(strings.TrimSpace(t[i:])))
	n, err := strconv.ParseFloat(strings.TrimSpace(t[:i]), 64)
	if !ok || err != nil || n < 0 || math.IsInf(n, 0) || n*float64(unit) >= math.MaxInt64 || strings.ContainsAny(t[:i], "eExXpP_+-") {
		return 0, Errorf(Invalid, "size_invalid", "%q is not a size", s).WithHint("write it like 512KB, 10MB or 1.5GiB")
	}
	return Size(n * float64(unit)), nil
}

// unitSize returns the size of a unit in lower case, and false when there is no such unit.
func unitSize(unit string) (Size, bool) {
	switch unit {
	case "", "b":
		return 1, true
	case "k", "kb", "kib":
		return KiB, true
	case "m", "mb", "mib":
		return MiB, true
	case "g", "gb", "gib":
		return GiB, true
	case "t", "tb", "tib":
		return TiB, true
	}
	return 0, false
}

// String prints the size in its largest exact unit, such as "10MiB" or "1500B".
func (s Size) String() string {
	for _, u := range []struct {
		size Size
		name string
	}{{TiB, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} {
		if s >= u.size && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// Rough prints the size for people, with one decimal: "3.2 MiB".
func (s Size) Rough() string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(s), 0
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	return strconv.FormatFloat(f, 'f', min(i, 1), 64) + " " + units[i]
}

// MarshalText prints the size as String does.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what ParseSize reads.
func (s *Size) UnmarshalText(b []byte) error {
	p, err := ParseSize(string(b))
	if err != nil {
		return err
	}
	*s = p
	return nil
}

// A Duration is a time.Duration whose text form also takes days and weeks ("30d", "2w").
type Duration time.Duration

// ParseDuration reads what time.ParseDuration reads, and also the units d (24 hours), w
// (7 days) and y (365 days): "1h30m", "30d". Negative or unreadable text is an Invalid error.
func ParseDuration(s string) (time.Duration, error) {
	bad := func() error {
		return Errorf(Invalid, "duration_invalid", "%q is not a duration", s).WithHint("write it like 500ms, 30s, 1h30m or 30d")
	}
	t := strings.TrimSpace(s)
	if t == "" || strings.HasPrefix(t, "-") || strings.HasPrefix(t, "+") {
		return 0, bad()
	}
	if t == "0" {
		return 0, nil
	}
	var total time.Duration
	for t != "" {
		n := 0
		for n < len(t) && (t[n] >= '0' && t[n] <= '9' || t[n] == '.') {
			n++
		}
		u := n
		for u < len(t) && (t[u] < '0' || t[u] > '9') && t[u] != '.' {
			u++
		}
		if n == 0 || u == n {
			return 0, bad()
		}
		part, unit := t[:n], t[n:u]
		t = t[u:]
		var d time.Duration
		if days, long := map[string]float64{"d": 1, "w": 7, "y": 365}[unit]; long {
			f, err := strconv.ParseFloat(part, 64)
			if err != nil || f*days*24 > math.MaxInt64/float64(time.Hour)-1 {
				return 0, bad()
			}
			d = time.Duration(f * days * 24 * float64(time.Hour))
		} else {
			var err error
			if d, err = time.ParseDuration(part + unit); err != nil {
				return 0, bad()
			}
		}
		if total += d; total < 0 {
			return 0, bad()
		}
	}
	return total, nil
}

// String prints d as time.Duration does, without trailing zero units: "1h", not "1h0m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// MarshalText prints the duration as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	p, err := ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration: %w", err)
	}
	*d = Duration(p)
	return nil
}
