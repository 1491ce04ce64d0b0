package cluster_test

import (
	"context"
	"errors"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/cluster"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type machine func(command []byte) error

func (m machine) Apply(_ context.Context, command []byte) error { return m(command) }

func TestSolo(t *testing.T) {
	s := cluster.NewSolo()
	ctx, cancel := context.WithCancel(t.Context())
	var applied string
	refused := errors.New("no")
	done := make(chan error)
	go func() {
		done <- s.Run(ctx, machine(func(c []byte) error {
			if string(c) == "bad" {
				return refused
			}
			applied += string(c)
			return nil
		}))
	}()
	for _, c := range []string{"a", "bad", "b"} {
		if err := s.Append(ctx, []byte(c)); (c == "bad") != errors.Is(err, refused) {
			t.Errorf("Append(%s) = %v", c, err)
		}
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if applied != "ab" {
		t.Errorf("applied %q, want ab", applied)
	}
	if err := s.Append(t.Context(), []byte("c")); caxton.KindOf(err) != caxton.Unavailable {
		t.Errorf("Append after the end = %v, want unavailable", err)
	}
	if err := cluster.NewSolo().Append(gone, []byte("d")); caxton.KindOf(err) != caxton.Timeout {
		t.Errorf("Append of a caller who left = %v, want timeout", err)
	}
}
