package httpd

import "net/http"

// Handler returns the whole interface as a handler.
func (s *Server) Handler() http.Handler { return s.handler }
