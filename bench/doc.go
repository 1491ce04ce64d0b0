// Package bench measures others beside Caxton: what an exchange of one request and one answer
// costs in an embedded NATS server and in an actor library, with the callers, the payload and
// the measuring of Caxton's own BenchmarkMessage in internal/router. It is a module of its
// own, so that who builds Caxton gets none of what is compared.
//
// None of the others does what Caxton does with a message: route it, keep it and its answer
// in the log of a conversation, hand it out again after a crash. What each promises:
//
//   - NATS core, request and reply: at most once. Nothing is kept; who is not there does not
//     get it. In the process through memory pipes, and over TCP on the loopback device.
//   - NATS JetStream, publish with acknowledgement: the request alone is kept in a file, as a
//     stream keeps it; it is neither handled nor answered. By default the file is synced every
//     two minutes, so that it survives the death of the process as with Caxton's "normal";
//     with sync always before each acknowledgement, as with "full".
//   - NATS JetStream, work and answer: the nearest to Caxton's durable path. The request is
//     kept in a stream, a consumer handles it, publishes the answer to a second stream, waits
//     until that is kept, acknowledges the request, and tells the caller. A crash in between
//     repeats the answer, because it is not kept in one step with the acknowledgement, and
//     the acknowledgement itself is not waited for.
//   - protoactor, request and future: messages in memory, in mailboxes; at most once.
package bench
