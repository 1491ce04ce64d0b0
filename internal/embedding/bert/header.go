package bert

import (
	"fmt"
	"math"

	"github.com/caxton/caxton"
)

// A Header says what a model is and how it is built.
type Header struct {
	Name       string  `json:"name"`       // all-MiniLM-L6-v2
	Precision  string  `json:"precision"`  // how the weights are kept: int8-1, float32
	Source     string  `json:"source"`     // where the weights came from
	Licence    string  `json:"licence"`    // SPDX identifier
	Layers     int     `json:"layers"`     //
	Heads      int     `json:"heads"`      //
	Hidden     int     `json:"hidden"`     // width of a row, and of the vector
	Inner      int     `json:"inner"`      // width inside the feed-forward step
	Words      int     `json:"words"`      // size of the vocabulary
	Positions  int     `json:"positions"`  // the longest text the weights know
	MaxTokens  int     `json:"max_tokens"` // the longest text the model was trained for, special tokens included
	Epsilon    float64 `json:"epsilon"`    // of the norms
	Pooling    string  `json:"pooling"`    // mean or cls
	Normalised bool    `json:"normalised"` // vectors are brought to unit length

	Tensors []section `json:"tensors,omitempty"`
}

// A section is a part of the weights file.
type section struct {
	Name   string  `json:"name"`
	Kind   string  `json:"kind"` // panels, rows, float32, text
	Rows   int     `json:"rows"`
	Cols   int     `json:"cols"`
	Gain   float64 `json:"gain,omitempty"` // power of two that the 16-bit scales are multiplied by
	Offset int     `json:"offset"`         // from the start of the data, which follows the header
	Size   int     `json:"size"`
}

// Identity names the model and its precision. Vectors of different identities are never compared.
func (h Header) Identity() string { return h.Name + "@" + h.Precision }

// The bounds of what is accepted as a model, wide enough for the large BERT models. They keep a
// damaged header from asking for memory that the file does not hold.
const (
	maxLayers    = 64
	maxHidden    = 4096
	maxInner     = 16384
	maxWords     = 1 << 20
	maxPositions = 8192
)

// check refuses a model that the forward pass cannot run.
func (h Header) check(file string) error {
	bad := func(what string, args ...any) error {
		return caxton.Errorf(caxton.Invalid, "model_unsupported", "%s: %s", file, fmt.Sprintf(what, args...)).
			WithHint("the model must be a BERT encoder such as all-MiniLM-L6-v2")
	}
	switch {
	case h.Layers < 1 || h.Layers > maxLayers:
		return bad("%d layers, want 1 to %d", h.Layers, maxLayers)
	case h.Hidden < 32 || h.Hidden > maxHidden:
		return bad("rows of %d, want 32 to %d", h.Hidden, maxHidden)
	case h.Heads < 1 || h.Hidden%h.Heads != 0 || h.Hidden/h.Heads%panelCols != 0:
		return bad("%d heads on rows of %d; a head must be a multiple of %d wide", h.Heads, h.Hidden, panelCols)
	case h.Inner < 32 || h.Inner > maxInner || h.Inner%panelCols != 0:
		return bad("feed-forward width %d, want a multiple of %d up to %d", h.Inner, panelCols, maxInner)
	case h.Words < 1 || h.Words > maxWords:
		return bad("%d words, want 1 to %d", h.Words, maxWords)
	case h.Positions < 2 || h.Positions > maxPositions:
		return bad("%d positions, want 2 to %d", h.Positions, maxPositions)
	case h.MaxTokens < 2 || h.MaxTokens > h.Positions:
		return bad("at most %d tokens a text, want 2 to %d", h.MaxTokens, h.Positions)
	case !(h.Epsilon >= 0 && h.Epsilon < 1) || math.IsNaN(h.Epsilon):
		return bad("epsilon %v of the norms, want 0 to 1", h.Epsilon)
	case h.Pooling != poolMean && h.Pooling != poolCLS:
		return bad("pooling %q, want %s or %s", h.Pooling, poolMean, poolCLS)
	}
	return nil
}

const (
	poolMean = "mean"
	poolCLS  = "cls"
)
