package bench_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/caxton/caxton/internal/benchtest"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	payload = 256
	patient = time.Minute
	window  = 512 // requests a JetStream consumer may hold: as many as there are callers
)

// each runs the measurement with 1, 64 and 512 callers. start begins what is measured and
// returns one exchange of a caller.
func each(b *testing.B, start func(b *testing.B) (exchange func() error)) {
	b.Helper()
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			benchtest.Run(b, callers, start(b))
		})
	}
}

// body is a JSON string of so many bytes, as Caxton's benchmark sends.
func body() []byte { return []byte(`"` + strings.Repeat("0", payload-2) + `"`) }

// natsServer starts a server of the benchmark's own.
func natsServer(b *testing.B, opts server.Options) *server.Server {
	b.Helper()
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(&opts)
	if err != nil {
		b.Fatal(err)
	}
	s.Start()
	b.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patient) {
		b.Fatal("the NATS server does not listen")
	}
	return s
}

func connect(b *testing.B, s *server.Server, inProcess bool) *nats.Conn {
	b.Helper()
	var opts []nats.Option
	if inProcess {
		opts = append(opts, nats.InProcessServer(s))
	}
	nc, err := nats.Connect(s.ClientURL(), opts...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	return nc
}

// BenchmarkNATSRequest is a request and its reply through an embedded NATS server: the
// callers share one connection, the service has another one.
func BenchmarkNATSRequest(b *testing.B) {
	for _, inProcess := range []bool{true, false} {
		name := "conn=tcp"
		if inProcess {
			name = "conn=memory"
		}
		b.Run(name, func(b *testing.B) {
			each(b, func(b *testing.B) func() error {
				b.Helper()
				s := natsServer(b, server.Options{})
				service, caller := connect(b, s, inProcess), connect(b, s, inProcess)
				if _, err := service.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
					b.Fatal(err)
				}
				if err := service.Flush(); err != nil {
					b.Fatal(err)
				}
				data := body()
				return func() error {
					m, err := caller.Request("echo", data, patient)
					if err == nil && len(m.Data) != payload {
						err = fmt.Errorf("the answer has %d bytes", len(m.Data))
					}
					return err
				}
			})
		})
	}
}

// js starts a server that keeps streams in files.
func js(b *testing.B, syncAlways bool) *server.Server {
	b.Helper()
	return natsServer(b, server.Options{JetStream: true, StoreDir: b.TempDir(), SyncAlways: syncAlways})
}

func streams(b *testing.B, nc *nats.Conn, names ...string) jetstream.JetStream {
	b.Helper()
	s, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		cfg := jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Storage: jetstream.FileStorage}
		if _, err := s.CreateStream(b.Context(), cfg); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// BenchmarkJetStreamPublish is a message kept in a file stream and acknowledged. It is not
// handled and not answered.
func BenchmarkJetStreamPublish(b *testing.B) {
	for _, when := range []string{"default", "always"} {
		b.Run("sync="+when, func(b *testing.B) {
			each(b, func(b *testing.B) func() error {
				b.Helper()
				s := streams(b, connect(b, js(b, when == "always"), true), "work")
				data := body()
				return func() error {
					_, err := s.Publish(context.Background(), "work.echo", data)
					return err
				}
			})
		})
	}
}

// BenchmarkJetStreamWork is a request kept in a stream, handled by a consumer that keeps the
// answer in another stream and then acknowledges the request; the caller waits for the answer.
func BenchmarkJetStreamWork(b *testing.B) {
	for _, when := range []string{"default", "always"} {
		b.Run("sync="+when, func(b *testing.B) {
			each(b, func(b *testing.B) func() error {
				b.Helper()
				b.Helper()
				return work(b, js(b, when == "always"))
			})
		})
	}
}

func work(b *testing.B, srv *server.Server) func() error {
	b.Helper()
	caller, worker := connect(b, srv, true), connect(b, srv, true)
	s := streams(b, caller, "work", "answers")
	w, err := jetstream.New(worker)
	if err != nil {
		b.Fatal(err)
	}
	c, err := s.CreateConsumer(b.Context(), "work", jetstream.ConsumerConfig{
		Durable: "echo", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: window,
	})
	if err != nil {
		b.Fatal(err)
	}
	var slots sync.WaitGroup
	free := make(chan struct{}, 64) // handlers at once, as Caxton's benchmark has
	cc, err := c.Consume(func(m jetstream.Msg) {
		free <- struct{}{}
		slots.Go(func() {
			defer func() { <-free }()
			to := m.Headers().Get("Answer-To")
			if _, err := w.Publish(context.Background(), "answers."+to, m.Data()); err != nil {
				return // handed out again later; the benchmark would notice
			}
			_ = m.Ack()
			_ = worker.Publish("done."+to, m.Data()) // now that it is kept, the caller may know
		})
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cc.Stop(); <-cc.Closed(); slots.Wait() })

	var mu sync.Mutex
	waiting := map[string]chan []byte{}
	next := 0
	if _, err := caller.Subscribe("done.>", func(m *nats.Msg) {
		mu.Lock()
		ch := waiting[m.Subject]
		delete(waiting, m.Subject)
		mu.Unlock()
		if ch != nil {
			ch <- m.Data
		}
	}); err != nil {
		b.Fatal(err)
	}
	if err := caller.Flush(); err != nil {
		b.Fatal(err)
	}
	data := body()
	return func() error {
		answer := make(chan []byte, 1)
		mu.Lock()
		next++
		to := strconv.Itoa(next)
		waiting["done."+to] = answer
		mu.Unlock()
		m := &nats.Msg{Subject: "work.echo", Data: data, Header: nats.Header{"Answer-To": {to}}}
		if _, err := s.PublishMsg(context.Background(), m); err != nil {
			return err
		}
		if a := <-answer; len(a) != payload {
			return fmt.Errorf("the answer has %d bytes", len(a))
		}
		return nil
	}
}

// BenchmarkProtoactor is a request to an actor and the future of its answer, in memory.
func BenchmarkProtoactor(b *testing.B) {
	each(b, func(b *testing.B) func() error {
		b.Helper()
		system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
			return slog.New(slog.DiscardHandler)
		}))
		b.Cleanup(system.Shutdown)
		echo := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if m, ok := c.Message().([]byte); ok {
				c.Respond(m)
			}
		}))
		data := body()
		return func() error {
			r, err := system.Root.RequestFuture(echo, data, patient).Result()
			if err != nil {
				return err
			}
			if a, ok := r.([]byte); !ok || len(a) != payload {
				return errors.New("the answer is not what was sent")
			}
			return nil
		}
	})
}
