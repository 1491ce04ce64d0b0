package builtin

import (
	"net/url"
)

// PageText lets tests reduce pages without a server.
func PageText(page string, base *url.URL) (string, int) { return pageText(page, base) }
