package tree

import "strings"

// Nearest returns the one of known that word is most likely a slip of, or "" when nothing
// is near: case, hyphens and underscores do not count, and about one letter in three may
// be wrong, missing, extra or swapped. Of several equally near ones the first wins.
func Nearest(word string, known []string) string {
	w := fold(word)
	if len(w) == 0 || len(w) > 100 {
		return ""
	}
	best, limit := "", (len(w)+2)/3
	for _, k := range known {
		if d := distance(w, fold(k), limit); d <= limit {
			if best == "" || d < limit {
				best = k
			}
			limit = d
		}
	}
	return best
}

func fold(s string) []rune {
	return []rune(strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s)))
}

// distance counts the edits between a and b, where swapping neighbours is one edit; a
// result over limit only means more than limit.
func distance(a, b []rune, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
