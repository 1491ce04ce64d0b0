package caxton

// A KeyedRequest is what is remembered of a request that carried an idempotency key.
type KeyedRequest struct {
	Fingerprint string // tells the request from any other
	Done        bool   // it was served; false while it is being served
	Answer      []byte // what it was answered, as its server wrote it down; nil when that was not kept
}
