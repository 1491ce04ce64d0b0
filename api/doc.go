// Package api is the public face of a Caxton server: the JSON bodies of its REST interface
// and a Go client for it. Programs may compile against it; types are only ever extended.
//
// The server's handlers (internal/httpd) use the same types that the client decodes, and
// the OpenAPI document is made from them. A Client is safe for concurrent use.
package api
