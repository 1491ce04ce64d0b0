// Package egress decides which hosts and addresses this server may connect to on behalf of
// others. It owns rules of hosts and the lists of private, special and metadata addresses; it
// refuses to know what is sent.
//
// A Policy is asked for a name before anything is sent, and for every address that the name
// resolved to. A Dialer does both and connects to no other address than the one it asked
// about. The tool http_client (internal/tool/builtin) and internal/webhook dial with it, from
// any goroutine.
package egress
