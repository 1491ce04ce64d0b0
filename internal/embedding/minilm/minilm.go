package minilm

import (
	_ "embed" // for the weights

	"github.com/caxton/caxton/internal/embedding/bert"
)

// Name is the name of the model.
const Name = "all-MiniLM-L6-v2"

//go:generate sh -c "go run ../bert/gen -name all-MiniLM-L6-v2 -source sentence-transformers/all-MiniLM-L6-v2@1110a243fdf4706b3f48f1d95db1a4f5529b4d41 -licence Apache-2.0 -o all-minilm-l6-v2.bin \"$MODEL_DIR\""

//go:embed all-minilm-l6-v2.bin
var weights []byte

// Load returns the model. It takes about 20 ms: the file's checksum is compared, nothing is unpacked.
func Load(cfg bert.Config) (*bert.Model, error) {
	return bert.Load("the built-in model "+Name, weights, cfg)
}
