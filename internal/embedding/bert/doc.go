// Package bert turns tokens into a sentence vector with a BERT encoder on the processor: the
// weights file, the forward pass, and the loops under it.
//
// It owns two forms of a model. Load reads our own weights file: one versioned, checksummed
// file that holds the configuration, the vocabulary and the matrices as int8 in blocks of 32
// with a scale each; Quantise makes it. LoadDir reads a directory as sentence-transformers
// publishes it, in float32. It refuses a file that is damaged, cut or of another version, and
// a model that is not a BERT encoder, always with a *caxton.Error that names the file. It does
// not split text into tokens (that is wordpiece), and it fetches nothing.
//
// A call's tokens become rows of word plus position vectors; each layer projects the rows to
// queries, keys and values, mixes them per text and head, and passes them through a
// feed-forward step, with a norm after each; the mean of a text's rows, brought to unit
// length, is its vector. Texts of one batch are rows under each other without padding: only
// attention looks at where a text ends. Matrices stay int8 in memory, as they lie in the file,
// and one panel of 32 output columns at a time is unpacked into a buffer that fits the cache
// before its rows are multiplied. So a model costs its file's size in memory, and a short
// text, which is bound by reading the weights, reads a quarter of what float32 would.
//
// The loops exist three times: AVX-512 and AVX2 with FMA in assembly, generated from asm and
// chosen by what the processor says, and in plain Go, which runs everywhere else and is what
// the tests hold the others to.
//
// A Model is safe for use from many goroutines. Embed works on the caller's goroutine;
// EmbedBatch starts workers and waits for them. Nothing runs in between.
package bert
