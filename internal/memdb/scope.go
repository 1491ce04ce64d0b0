package memdb

import (
	"strconv"
	"strings"

	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

// seen are the numbers of the scopes that somebody may see. It is part of the WHERE of every
// statement that reads what is remembered.
type seen struct {
	all bool
	ns  []int64
}

// sees returns the scopes that the file has and a may see.
func (c *conn) sees(a memory.Access) (seen, error) {
	if a.All {
		return seen{all: true}, nil
	}
	var s seen
	for _, scope := range a.Scopes {
		_, err := c.one(`SELECT n FROM scopes WHERE kind=? AND owner=?`, []any{string(scope.Kind), scope.Owner}, func(st *sqlite3.Stmt) {
			s.ns = append(s.ns, st.ColumnInt64(0))
		})
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// in is the condition that a column has a number of s. A number is 0 for nobody, so that
// few kinds of statements come of it.
func (s seen) in(column string) (cond string, args []any) {
	if s.all {
		return "1", nil
	}
	const few = 4
	if len(s.ns) <= few {
		args = make([]any, few)
		for i := range args {
			args[i] = int64(0)
			if i < len(s.ns) {
				args[i] = s.ns[i]
			}
		}
		return column + " IN (?, ?, ?, ?)", args
	}
	list := make([]byte, 0, 8*len(s.ns))
	for i, n := range s.ns {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, n, 10)
	}
	return column + " IN (SELECT value FROM json_each(?))", []any{"[" + string(list) + "]"}
}

// A query is a statement that is put together from constants, with its parameters.
type query struct {
	b    strings.Builder
	args []any
}

// add appends text, with a space before it, and parameters.
func (q *query) add(text string, args ...any) *query {
	if q.b.Len() > 0 {
		q.b.WriteByte(' ')
	}
	q.b.WriteString(text)
	q.args = append(q.args, args...)
	return q
}

// sees appends the condition that a column is one of the scopes.
func (q *query) sees(s seen, column string) *query {
	cond, args := s.in(column)
	return q.add("AND "+cond, args...)
}

func (q *query) each(c *conn, row func(*sqlite3.Stmt) error) error {
	return c.each(q.b.String(), q.args, row)
}

func (q *query) one(c *conn, row func(*sqlite3.Stmt)) (bool, error) {
	return c.one(q.b.String(), q.args, row)
}
