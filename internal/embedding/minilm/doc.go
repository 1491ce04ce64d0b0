// Package minilm holds the weights of all-MiniLM-L6-v2 as int8, in the program: a sentence of up
// to 256 tokens becomes 384 dimensions with no download and no network.
//
// It owns the file all-minilm-l6-v2.bin, which make weights makes out of the published float32
// weights, and the licence and notice that belong to it. It computes nothing: Load hands the file
// to bert, which reads its matrices where they lie in the program.
package minilm
