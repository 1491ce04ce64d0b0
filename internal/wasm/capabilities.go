package wasm

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/caxton/caxton"
)

// Capabilities returns what the module says that it can do, by get_capabilities; none when it
// says nothing.
func (a *Agent) Capabilities(ctx context.Context) ([]caxton.Capability, error) {
	if a.module.entry.contract != Reactor || !a.module.shape.has("get_capabilities") {
		return nil, nil
	}
	if err := a.hold(); err != nil {
		return nil, err
	}
	defer a.let(ctx)
	t := a.newTurn(ctx, nil, nil, nil)
	in, err := a.begin(ctx, t)
	if err != nil {
		return nil, err
	}
	defer in.discard(ctx)
	within, cancel := context.WithTimeout(ctx, a.limits.Startup)
	defer cancel()
	room, err := in.take(within, responseRoom)
	if err != nil {
		return nil, err
	}
	res, err := in.call(within, "get_capabilities", uint64(room.at), uint64(room.size))
	if err != nil || len(res) == 0 {
		return nil, err
	}
	n := int(int32(res[0])) //nolint:gosec // it is of 32 bits
	if n < 0 || n > responseRoom {
		return nil, caxton.Errorf(caxton.Invalid, "wasm_bad_length", "get_capabilities of the module says %d bytes into room for %d", n, responseRoom)
	}
	data, err := in.read(uint64(room.at), uint64(n))
	if err != nil {
		return nil, err
	}
	return parseCapabilities(data)
}

// parseCapabilities reads a JSON list of names, or names with commas between.
func parseCapabilities(data []byte) ([]caxton.Capability, error) {
	var names []string
	if json.Unmarshal(data, &names) != nil {
		names = strings.Split(string(data), ",")
	}
	var all []caxton.Capability
	for _, n := range names {
		if n = strings.TrimSpace(n); n == "" {
			continue
		}
		c, err := caxton.ParseCapability(n)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}
