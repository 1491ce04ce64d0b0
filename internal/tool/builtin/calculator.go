package builtin

import (
	"context"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
)

const (
	maxExpression = 1000    // bytes
	maxBits       = 1 << 14 // of an exact number, about 5000 digits
)

// A calculator works with fractions of whole numbers, so that 0.1+0.2 is 0.3 and 2^100 has
// all its digits. Functions whose results are no fractions work with 64-bit floats.
type calculator struct{ spec tool.Spec }

type calculatorArgs struct {
	Expression string `json:"expression" jsonschema:"The expression, such as (1+2)*3/4 or sqrt(2)^3."`
}

// calculatorResult is the Data of calculator.
type calculatorResult struct {
	Expression string `json:"expression"`
	Result     string `json:"result"` // as text: all digits
	Exact      bool   `json:"exact"`  // false when Result is rounded
}

func newCalculator(Config) (tool.Tool, error) {
	spec, err := specOf[calculatorArgs]("calculator",
		"Evaluate an arithmetic expression exactly. Operators: + - * / % (remainder), ^ or ** (power), parentheses. "+
			"Functions: sqrt cbrt pow exp ln log (natural, or log(x, base)) log10 log2 sin cos tan asin acos atan atan2 sinh cosh tanh (radians) deg rad "+
			"abs sign floor ceil trunc round (round(x, digits)) min max mean mod hypot factorial percent (percent(p, x) is p% of x). "+
			"Constants: pi e tau. Write numbers with a decimal point and without thousands separators.",
		func(p map[string]*jsonschema.Schema) {
			p["expression"].MinLength, p["expression"].MaxLength = new(1), new(maxExpression)
		})
	spec.Idempotent = true
	return &calculator{spec}, err
}

// Spec describes the tool.
func (c *calculator) Spec() tool.Spec { return c.spec }

// Call evaluates an expression.
func (c *calculator) Call(_ context.Context, call tool.Call) (tool.Result, error) {
	var a calculatorArgs
	if err := decode(c.spec.Name, call.Args, &a); err != nil {
		return tool.Result{}, err
	}
	text, exact, err := calculate(a.Expression)
	if err != nil {
		return tool.Result{}, err
	}
	data, err := encode(calculatorResult{Expression: a.Expression, Result: text, Exact: exact})
	return tool.Result{Text: text, Data: data}, err
}

// calculate evaluates an expression and prints the result, and says whether that is exact.
func calculate(expression string) (text string, exact bool, err error) {
	if len(expression) > maxExpression {
		return "", false, caxton.Errorf(caxton.TooLarge, "expression_too_long", "the expression has %d bytes, the limit is %d", len(expression), maxExpression).
			WithHint("split it and compute the parts")
	}
	t, err := parseExpression(expression)
	if err != nil {
		return "", false, err
	}
	v, err := evaluate(&t)
	if err != nil {
		return "", false, err
	}
	return v.print()
}

// A number is an exact fraction, or a float where there is none.
type number struct {
	rat   *big.Rat // nil for a float
	float float64
}

func (n number) value() float64 {
	if n.rat == nil {
		return n.float
	}
	f, _ := n.rat.Float64()
	return f
}

// print writes whole numbers and finite decimals with all their digits, all else rounded to
// 15 significant digits.
func (n number) print() (string, bool, error) {
	if n.rat != nil {
		if n.rat.IsInt() {
			return n.rat.Num().String(), true, nil
		}
		if decimals, finite := n.rat.FloatPrec(); finite && decimals <= 50 {
			return n.rat.FloatString(decimals), true, nil
		}
	}
	f := n.value()
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return "", false, domain("the result is too large")
	}
	s := strconv.FormatFloat(f, 'g', 15, 64)
	if short := strconv.FormatFloat(f, 'f', -1, 64); !strings.Contains(s, "e") && len(short) < len(s) {
		s = short
	}
	return s, false, nil
}

func domain(format string, args ...any) error {
	return caxton.Errorf(caxton.Invalid, "expression_undefined", format, args...)
}

// inexact returns a float, or an error when it is none.
func inexact(f float64, what string) (number, error) {
	switch {
	case math.IsNaN(f):
		return number{}, domain("%s is not defined", what)
	case math.IsInf(f, 0):
		return number{}, domain("%s is too large", what)
	}
	return number{float: f}, nil
}

// fraction returns an exact number, or the nearest float once it takes too much room.
func fraction(r *big.Rat) (number, error) {
	if r.Num().BitLen() <= maxBits && r.Denom().BitLen() <= maxBits {
		return number{rat: r}, nil
	}
	f, _ := r.Float64()
	return inexact(f, "the result")
}

// evaluate computes a parsed expression.
func evaluate(t *term) (number, error) {
	switch t.op {
	case "number":
		return literal(t.name)
	case "name":
		return constant(t.name)
	case "call":
		return apply(t.name, t.args)
	}
	args := make([]number, len(t.args))
	for i := range t.args {
		var err error
		if args[i], err = evaluate(&t.args[i]); err != nil {
			return number{}, err
		}
	}
	if t.op == "negate" {
		return negate(args[0]), nil
	}
	return operate(t.op, args[0], args[1])
}

func constant(name string) (number, error) {
	switch name {
	case "pi", "PI", "Pi":
		return number{float: math.Pi}, nil
	case "e", "E":
		return number{float: math.E}, nil
	case "tau":
		return number{float: 2 * math.Pi}, nil
	}
	return number{}, caxton.Errorf(caxton.Invalid, "expression_invalid", "%.40q is not a number", name).
		WithHint("constants are pi, e and tau; put values in place of names")
}

func negate(v number) number {
	if v.rat != nil {
		return number{rat: new(big.Rat).Neg(v.rat)}
	}
	return number{float: -v.float}
}

func operate(op string, a, b number) (number, error) {
	if op == "^" {
		return power(a, b)
	}
	if (op == "/" || op == "%") && b.value() == 0 && (b.rat == nil || b.rat.Sign() == 0) {
		return number{}, domain("division by zero")
	}
	if a.rat == nil || b.rat == nil {
		x, y := a.value(), b.value()
		switch op {
		case "+":
			return inexact(x+y, "the sum")
		case "-":
			return inexact(x-y, "the difference")
		case "*":
			return inexact(x*y, "the product")
		case "/":
			return inexact(x/y, "the quotient")
		}
		return inexact(math.Mod(x, y), "the remainder")
	}
	r := new(big.Rat)
	switch op {
	case "+":
		r.Add(a.rat, b.rat)
	case "-":
		r.Sub(a.rat, b.rat)
	case "*":
		r.Mul(a.rat, b.rat)
	case "/":
		r.Quo(a.rat, b.rat)
	default: // the remainder has the sign of the dividend, as in most languages
		r.Quo(a.rat, b.rat)
		whole := new(big.Int).Quo(r.Num(), r.Denom())
		r.Sub(a.rat, new(big.Rat).Mul(b.rat, new(big.Rat).SetInt(whole)))
	}
	return fraction(r)
}

// power raises exactly as long as the exponent is whole and the result not too long.
func power(base, exponent number) (number, error) {
	if base.rat != nil && exponent.rat != nil && exponent.rat.IsInt() {
		bits := max(base.rat.Num().BitLen(), base.rat.Denom().BitLen())
		n := exponent.rat.Num()
		if n.Sign() < 0 && base.rat.Sign() == 0 {
			return number{}, domain("division by zero")
		}
		if n.IsInt64() && (bits <= 1 || max(n.Int64(), -n.Int64()) <= int64(maxBits/bits)) {
			return wholePower(base.rat, n)
		}
	}
	return inexact(math.Pow(base.value(), exponent.value()), "the power")
}

func wholePower(base *big.Rat, n *big.Int) (number, error) {
	if base.IsInt() && base.Num().IsInt64() {
		switch base.Num().Int64() { // any exponent will do
		case 0, 1:
			if n.Sign() == 0 {
				return number{rat: big.NewRat(1, 1)}, nil
			}
			return number{rat: base}, nil
		case -1:
			if n.Bit(0) == 0 {
				return number{rat: big.NewRat(1, 1)}, nil
			}
			return number{rat: base}, nil
		}
	}
	e := new(big.Int).Abs(n)
	num, den := new(big.Int).Exp(base.Num(), e, nil), new(big.Int).Exp(base.Denom(), e, nil)
	if n.Sign() < 0 {
		num, den = den, num
	}
	return number{rat: new(big.Rat).SetFrac(num, den)}, nil
}
