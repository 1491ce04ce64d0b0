// Package cluster connects nodes. It owns the order of decisions; it refuses to know what a
// decision means: that is the Machine's business. For now it holds Solo, the cluster of one:
// every decision is applied at once, in the order it was proposed, and there are no peers.
//
// internal/registry proposes commands with Append from any goroutine; Run, started by
// internal/node, applies them one by one.
package cluster

import (
	"context"

	"github.com/caxton/caxton"
)

// A Machine is a deterministic state machine: the same commands in the same order give the
// same state on every node. *registry.Registry provides it.
type Machine interface {
	Apply(ctx context.Context, command []byte) error
}

// Solo is the cluster of one node. It is safe for concurrent use.
type Solo struct {
	proposals chan proposal // unbuffered: whoever proposes waits for the machine
	stopped   chan struct{} // closed when Run has ended
}

type proposal struct {
	command []byte
	applied chan error // capacity 1: Run never waits for the proposer
}

// NewSolo returns a cluster of one. It starts nothing.
func NewSolo() *Solo {
	return &Solo{proposals: make(chan proposal), stopped: make(chan struct{})}
}

// Append proposes a command and returns when it was applied, with the machine's error. It
// is Unavailable when the node stops, and Timeout when ctx ends first; then the command was
// not applied.
func (s *Solo) Append(ctx context.Context, command []byte) error {
	p := proposal{command, make(chan error, 1)}
	select {
	case s.proposals <- p:
		return <-p.applied
	case <-s.stopped:
		return caxton.Errorf(caxton.Unavailable, "node_stopping", "the server is stopping").WithHint("try again when it is back")
	case <-ctx.Done():
		return caxton.Errorf(caxton.Timeout, "decision_timeout", "the change was not decided in time").WithCause(ctx.Err())
	}
}

// Run applies commands to the machine until ctx ends.
func (s *Solo) Run(ctx context.Context, m Machine) error {
	defer close(s.stopped)
	for {
		select {
		case p := <-s.proposals:
			p.applied <- m.Apply(context.WithoutCancel(ctx), p.command)
		case <-ctx.Done():
			return nil
		}
	}
}
