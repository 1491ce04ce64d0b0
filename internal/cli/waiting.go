package cli

import (
	"context"
	"sync"
	"time"

	"github.com/caxton/caxton/api"
	"github.com/google/uuid"
)

// glance is the time between two looks at what a message waits for.
const glance = time.Second

// sendAndWait sends a message and waits for the reply. While it waits, it tells on stderr what
// people are to decide before the reply can come: nobody should sit there and wonder.
func (e *Env) sendAndWait(ctx context.Context, m api.Message, wait time.Duration) (api.Receipt, error) {
	client := e.Client()
	if wait <= glance {
		return client.Send(ctx, m, wait)
	}
	if m.MessageID == "" { // to ask for it before the answer names it
		id, err := uuid.NewV7()
		if err != nil {
			return api.Receipt{}, err
		}
		m.MessageID = id.String()
	}
	watch, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { e.tellTickets(watch, client, m.MessageID) })
	r, err := client.Send(ctx, m, wait)
	stop()
	wg.Wait()
	return r, err
}

// tellTickets tells of each approval that a message waits for, once, until ctx ends. What
// cannot be asked for now is asked for again.
func (e *Env) tellTickets(ctx context.Context, client *api.Client, id string) {
	told := map[string]bool{}
	t := time.NewTicker(glance)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		m, err := client.Message(ctx, id)
		if err != nil || m.State != "parked" {
			continue
		}
		for _, ticket := range m.Tickets {
			if !told[ticket] {
				told[ticket] = true
				e.say("%s waits for approval: caxton approvals show %s, then approve or deny %s", m.Receiver, ticket, ticket)
			}
		}
	}
}
