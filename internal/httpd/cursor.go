package httpd

import (
	"encoding/base64"
	"encoding/json"
	"slices"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

// A place is where an agent stands in the list of all. It is compared part by part, so that
// no slug can run into the ID that follows it.
type place []string

// placeOf returns where a stands: agents by slug and ID, and after them the files that
// never became one, by name and path.
func placeOf(a *api.Agent) place {
	if a.ID == "" {
		return place{"file", a.Slug, a.Source}
	}
	return place{"agent", a.Slug, a.ID}
}

func (p place) compare(q place) int { return slices.Compare(p, q) }

// cursor returns the place as text that callers give back and need not understand.
func (p place) cursor() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings always print
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor reads what cursor printed.
func parseCursor(s string) (place, error) {
	var p place
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil || len(p) != 3 {
		return nil, caxton.Errorf(caxton.Invalid, "cursor_invalid", "the cursor cannot be read").WithHint("give next of the page before, as it was").WithCause(err)
	}
	return p, nil
}
