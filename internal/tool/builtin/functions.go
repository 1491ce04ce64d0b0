package builtin

import (
	"math"
	"math/big"

	"github.com/caxton/caxton"
)

// apply calls a function of the calculator.
func apply(name string, terms []term) (number, error) {
	args := make([]number, 0, len(terms))
	for i := range terms {
		v, err := evaluate(&terms[i])
		if err != nil {
			return number{}, err
		}
		args = append(args, v)
	}
	switch name {
	case "min", "max", "mean":
		if len(args) == 0 {
			return number{}, arity(name, "at least one number")
		}
		return fold(name, args)
	case "pow", "mod", "percent", "atan2", "hypot":
		if len(args) != 2 {
			return number{}, arity(name, "two numbers")
		}
		return pair(name, args[0], args[1])
	case "log":
		if len(args) == 2 {
			return pair(name, args[0], args[1])
		}
	case "round":
		if len(args) == 2 {
			return round(args[0], args[1])
		}
	}
	if !unary(name) {
		return number{}, caxton.Errorf(caxton.Invalid, "expression_invalid", "there is no function %.40q", name).
			WithHint("functions are sqrt cbrt pow exp ln log log10 log2 sin cos tan asin acos atan atan2 sinh cosh tanh deg rad abs sign floor ceil trunc round min max mean mod hypot factorial percent")
	}
	if len(args) != 1 {
		return number{}, arity(name, "one number")
	}
	if args[0].rat != nil {
		if v, done, err := exactly(name, args[0].rat); done || err != nil {
			return v, err
		}
	}
	return approximately(name, args[0].value())
}

func arity(name, want string) error {
	return caxton.Errorf(caxton.Invalid, "expression_invalid", "%s takes %s", name, want)
}

// unary reports whether there is a function of one number by that name.
func unary(name string) bool {
	switch name {
	case "sqrt", "cbrt", "exp", "ln", "log", "log10", "log2", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
		"deg", "rad", "abs", "sign", "floor", "ceil", "trunc", "round", "factorial":
		return true
	}
	return false
}

// fold combines any number of values.
func fold(name string, args []number) (number, error) {
	total := args[0]
	for _, v := range args[1:] {
		less := v.value() < total.value()
		if v.rat != nil && total.rat != nil {
			less = v.rat.Cmp(total.rat) < 0
		}
		switch {
		case name == "min" && less, name == "max" && !less:
			total = v
		case name == "mean":
			var err error
			if total, err = operate("+", total, v); err != nil {
				return number{}, err
			}
		}
	}
	if name == "mean" {
		return operate("/", total, number{rat: big.NewRat(int64(len(args)), 1)})
	}
	return total, nil
}

// pair calls a function of two numbers.
func pair(name string, a, b number) (number, error) {
	switch name {
	case "pow":
		return power(a, b)
	case "mod":
		return operate("%", a, b)
	case "percent":
		product, err := operate("*", a, b)
		if err != nil {
			return number{}, err
		}
		return operate("/", product, number{rat: big.NewRat(100, 1)})
	case "atan2":
		return inexact(math.Atan2(a.value(), b.value()), "atan2")
	case "hypot":
		return inexact(math.Hypot(a.value(), b.value()), "hypot")
	}
	x, base := a.value(), b.value()
	if x <= 0 || base <= 0 || base == 1 {
		return number{}, domain("log(%g, %g) is not defined", x, base)
	}
	return inexact(math.Log(x)/math.Log(base), "log")
}

// round rounds to a number of decimals, halves away from zero.
func round(v, decimals number) (number, error) {
	if decimals.rat == nil || !decimals.rat.IsInt() || math.Abs(decimals.value()) > 100 {
		return number{}, caxton.Errorf(caxton.Invalid, "expression_invalid", "round takes a whole number of decimals, -100 to 100")
	}
	scale, err := wholePower(big.NewRat(10, 1), decimals.rat.Num())
	if err != nil {
		return number{}, err
	}
	r := v.rat
	if r == nil {
		if r = new(big.Rat).SetFloat64(v.float); r == nil {
			return number{}, domain("the number is too large to round")
		}
	}
	scaled := new(big.Rat).Mul(r, scale.rat)
	return fraction(scaled.Quo(new(big.Rat).SetInt(nearest(scaled)), scale.rat))
}

// nearest returns the nearest whole number, halves away from zero.
func nearest(r *big.Rat) *big.Int {
	half := big.NewRat(int64(r.Sign()), 2)
	sum := half.Add(half, r)
	return new(big.Int).Quo(sum.Num(), sum.Denom())
}

// exactly calls a function of one number where its result is a fraction; done is false where
// it is not.
func exactly(name string, r *big.Rat) (v number, done bool, err error) {
	whole := new(big.Int).Quo(r.Num(), r.Denom()) // towards zero
	switch name {
	case "abs":
		return number{rat: new(big.Rat).Abs(r)}, true, nil
	case "sign":
		return number{rat: big.NewRat(int64(r.Sign()), 1)}, true, nil
	case "trunc":
	case "floor":
		if !r.IsInt() && r.Sign() < 0 {
			whole.Sub(whole, big.NewInt(1))
		}
	case "ceil":
		if !r.IsInt() && r.Sign() > 0 {
			whole.Add(whole, big.NewInt(1))
		}
	case "round":
		whole = nearest(r)
	case "factorial":
		if !r.IsInt() || r.Sign() < 0 || r.Num().Cmp(big.NewInt(1000)) > 0 {
			return number{}, false, domain("factorial takes a whole number from 0 to 1000")
		}
		whole.MulRange(1, max(r.Num().Int64(), 1))
	case "sqrt":
		if r.Sign() < 0 {
			return number{}, false, domain("the square root of a negative number is not defined")
		}
		num, den := new(big.Int).Sqrt(r.Num()), new(big.Int).Sqrt(r.Denom())
		root := new(big.Rat).SetFrac(num, den)
		return number{rat: root}, new(big.Rat).Mul(root, root).Cmp(r) == 0, nil
	default:
		return number{}, false, nil
	}
	return number{rat: new(big.Rat).SetInt(whole)}, true, nil
}

// approximately calls a function of one number on floats.
func approximately(name string, x float64) (number, error) {
	var f float64
	switch name {
	case "sqrt":
		f = math.Sqrt(x)
	case "cbrt":
		f = math.Cbrt(x)
	case "exp":
		f = math.Exp(x)
	case "ln", "log", "log10", "log2":
		if x <= 0 {
			return number{}, domain("the logarithm of %g is not defined", x)
		}
		switch name {
		case "log10":
			f = math.Log10(x)
		case "log2":
			f = math.Log2(x)
		default:
			f = math.Log(x)
		}
	case "sin":
		f = math.Sin(x)
	case "cos":
		f = math.Cos(x)
	case "tan":
		f = math.Tan(x)
	case "asin":
		f = math.Asin(x)
	case "acos":
		f = math.Acos(x)
	case "atan":
		f = math.Atan(x)
	case "sinh":
		f = math.Sinh(x)
	case "cosh":
		f = math.Cosh(x)
	case "tanh":
		f = math.Tanh(x)
	case "deg":
		f = x * 180 / math.Pi
	case "rad":
		f = x * math.Pi / 180
	case "abs":
		f = math.Abs(x)
	case "sign":
		switch {
		case x > 0:
			f = 1
		case x < 0:
			f = -1
		}
	case "floor":
		f = math.Floor(x)
	case "ceil":
		f = math.Ceil(x)
	case "trunc":
		f = math.Trunc(x)
	case "round":
		f = math.Round(x)
	default: // factorial
		return number{}, domain("%s takes a whole number from 0 to 1000", name)
	}
	return inexact(f, name)
}
