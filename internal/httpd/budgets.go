package httpd

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

type budgetsInput struct {
	Prefix string `query:"prefix" maxLength:"300" doc:"only accounts whose names begin so" example:"server/day/"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
	Cursor string `query:"cursor" maxLength:"800" doc:"next of the page before"`
}

func (s *Server) listBudgets(ctx context.Context, in *budgetsInput) (*output[api.Budgets], error) {
	after, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	name, unit, ok := strings.Cut(string(after), "\n")
	if err != nil || !ok && in.Cursor != "" {
		return nil, caxton.Errorf(caxton.Invalid, "cursor_invalid", "the cursor cannot be read").WithHint("give next of the page before, as it was").WithCause(err)
	}
	uses, err := s.deps.Router.BudgetUses(ctx, in.Prefix)
	if err != nil {
		return nil, err
	}
	if in.Cursor != "" {
		uses = slices.DeleteFunc(uses, func(u caxton.BudgetUse) bool {
			return cmp.Or(strings.Compare(u.Name, name), strings.Compare(string(u.Unit), unit)) <= 0
		})
	}
	out := api.Budgets{Items: []api.BudgetUse{}}
	if len(uses) > in.Limit {
		uses = uses[:in.Limit]
		last := &uses[in.Limit-1]
		out.Next = base64.RawURLEncoding.EncodeToString([]byte(last.Name + "\n" + string(last.Unit)))
	}
	slugs := map[string]string{}
	for _, a := range s.deps.Registry.Agents() {
		slugs[string(a.ID)] = a.Slug
	}
	for _, u := range uses {
		item := api.BudgetUse{
			Account: u.Name, Unit: string(u.Unit), Cap: u.Cap, Spent: u.Spent, Reserved: u.Reserved, Left: max(0, u.Cap-u.Spent-u.Reserved), At: u.At.UTC(),
		}
		if rest, ok := strings.CutPrefix(u.Name, "agent/"); ok {
			id, _, _ := strings.Cut(rest, "/")
			item.Agent = slugs[id]
		}
		out.Items = append(out.Items, item)
	}
	out.Budgets = out.Items
	return &output[api.Budgets]{out}, nil
}
