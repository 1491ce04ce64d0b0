// Package wordpiece turns text into the token numbers that uncased BERT models such as
// all-MiniLM-L6-v2 read. It owns the cleaning of text, the splitting into words and the
// WordPiece search; it refuses to know what a model does with the numbers.
//
// Text goes through once. Each character is dropped, ends a word, is a word of its own, or
// becomes the lower-case letters without accents that characters.txt gives for it. A finished
// word is cut from the left into the longest pieces that the vocabulary has, found in a double
// array; a word with a part that it has not, or of more than 100 characters, is one [UNK].
// The names of special tokens, such as [SEP], are those tokens also within text.
//
// characters.txt and the goldens come from the reference, the Rust tokenizers, by way of
// scripts/wordpiece-reference.py. The table is used instead of package unicode and
// golang.org/x/text so that the numbers, and with them stored vectors, stay the same when
// another Go version brings another Unicode.
//
// internal/embedding calls it from any number of goroutines: a Tokenizer does not change.
package wordpiece
