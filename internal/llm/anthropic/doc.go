// Package anthropic speaks to Anthropic's messages interface, at any base URL. It wraps the
// official SDK; it owns the translation and the kinds of errors, and refuses to choose
// models or to fall back.
//
// internal/prompt calls Generate or Stream through an llm.Catalog from agents' workers. The SDK
// retries 408, 409, 429 and 5xx with pauses that honour Retry-After, within the caller's
// deadline; a stream is not tried again once it has begun.
package anthropic
