package builtin

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/caxton/caxton"
)

// A term is a parsed expression: a number, a constant, or an operator or function and what it
// works on.
type term struct {
	op   string // an operator, "call", "name" or "number"
	name string // of a function or constant, or the text of a number
	args []term
}

// A reader parses an expression by recursive descent:
//
//	sum     = product { ("+" | "-") product }
//	product = sign { ("*" | "/" | "%") sign }
//	sign    = ("+" | "-") sign | power
//	power   = atom [ ("^" | "**") sign ]
//	atom    = number | name [ "(" [ sum { "," sum } ] ")" ] | "(" sum ")"
//
// So powers bind more than signs and group to the right: -2^2 is -4, 2^3^2 is 512.
type reader struct {
	text string
	at   int // byte of the text that comes next
}

// parseExpression reads all of a text, or says at which column it cannot.
func parseExpression(text string) (term, error) {
	r := reader{text: text}
	t, err := r.sum()
	if err != nil {
		return t, err
	}
	if r.space(); r.at < len(text) {
		return t, r.fault("%q cannot stand here", r.word())
	}
	return t, nil
}

func (r *reader) fault(format string, args ...any) error {
	e := caxton.Errorf(caxton.Invalid, "expression_invalid", format, args...)
	e.Message = "the expression cannot be read: column " + strconv.Itoa(r.at+1) + ": " + e.Message
	return e.WithHint("only numbers, the operators + - * / %% ^, parentheses and functions can be used: (1+2)*3^2")
}

// word returns what stands next, for a message.
func (r *reader) word() string {
	rest := []rune(r.text[r.at:])
	return string(rest[:min(len(rest), 10)])
}

func (r *reader) space() {
	for r.at < len(r.text) && strings.IndexByte(" \t\r\n", r.text[r.at]) >= 0 {
		r.at++
	}
}

// take returns the operator of ops that stands next, or "".
func (r *reader) take(ops ...string) string {
	r.space()
	for _, op := range ops {
		if strings.HasPrefix(r.text[r.at:], op) {
			r.at += len(op)
			return op
		}
	}
	return ""
}

func (r *reader) sum() (term, error) {
	left, err := r.product()
	for err == nil {
		op := r.take("+", "-")
		if op == "" {
			return left, nil
		}
		var right term
		right, err = r.product()
		left = term{op: op, args: []term{left, right}}
	}
	return left, err
}

func (r *reader) product() (term, error) {
	left, err := r.sign()
	for err == nil {
		r.space()
		if strings.HasPrefix(r.text[r.at:], "**") {
			return left, nil
		}
		op := r.take("*", "/", "%")
		if op == "" {
			return left, nil
		}
		var right term
		right, err = r.sign()
		left = term{op: op, args: []term{left, right}}
	}
	return left, err
}

func (r *reader) sign() (term, error) {
	op := r.take("+", "-")
	if op == "" {
		return r.power()
	}
	t, err := r.sign()
	if op == "-" {
		t = term{op: "negate", args: []term{t}}
	}
	return t, err
}

func (r *reader) power() (term, error) {
	base, err := r.atom()
	if err != nil || r.take("**", "^") == "" {
		return base, err
	}
	exponent, err := r.sign()
	return term{op: "^", args: []term{base, exponent}}, err
}

func (r *reader) atom() (term, error) {
	if r.take("(") != "" {
		t, err := r.sum()
		if err == nil && r.take(")") == "" {
			err = r.fault("a closing parenthesis is missing")
		}
		return t, err
	}
	if r.at == len(r.text) {
		return term{}, r.fault("something is missing at the end")
	}
	start := r.at
	switch c := r.text[r.at]; {
	case c >= '0' && c <= '9' || c == '.':
		return term{op: "number", name: r.number()}, nil
	case letter(c):
		for r.at < len(r.text) && (letter(r.text[r.at]) || r.text[r.at] >= '0' && r.text[r.at] <= '9') {
			r.at++
		}
	default:
		return term{}, r.fault("%q cannot stand here", r.word())
	}
	t := term{op: "name", name: r.text[start:r.at]}
	if r.take("(") == "" {
		return t, nil
	}
	t.op = "call"
	if r.take(")") != "" {
		return t, nil
	}
	for {
		arg, err := r.sum()
		if err != nil {
			return t, err
		}
		t.args = append(t.args, arg)
		if r.take(")") != "" {
			return t, nil
		}
		if r.take(",") == "" {
			return t, r.fault("a comma or a closing parenthesis is missing")
		}
	}
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }

// number takes the text of a number: digits and letters, and a sign after the letter of a
// decimal exponent. Whether that is one is for literal to say.
func (r *reader) number() string {
	start := r.at
	for r.at < len(r.text) {
		c := r.text[r.at]
		exponent := (c == '+' || c == '-') && strings.IndexByte("eE", r.text[r.at-1]) >= 0 && !strings.HasPrefix(r.text[start:], "0x")
		if !letter(c) && c != '.' && (c < '0' || c > '9') && !exponent {
			break
		}
		r.at++
	}
	return r.text[start:r.at]
}

// literal reads a number: 12, 1_000, 0x1f, 0.5, 1e-3. Decimals are exact.
func literal(text string) (number, error) {
	plain := strings.ReplaceAll(text, "_", "")
	if i, ok := new(big.Int).SetString(plain, 0); ok && (len(plain) == 1 || plain[0] != '0' || letter(plain[1])) {
		return fraction(new(big.Rat).SetInt(i))
	}
	f, err := strconv.ParseFloat(plain, 64)
	if err != nil || math.IsInf(f, 0) || strings.ContainsAny(plain, "xXpP") || letter(plain[0]) {
		return number{}, caxton.Errorf(caxton.Invalid, "expression_invalid", "%.40q is not a number, or is too large", text).WithHint("write it like 12, 0.5 or 1e-3")
	}
	if r, ok := new(big.Rat).SetString(plain); ok && f != 0 { // its exponent is small, else it would be zero or infinite
		return fraction(r)
	}
	return number{rat: new(big.Rat)}, nil
}
