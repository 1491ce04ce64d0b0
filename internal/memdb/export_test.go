package memdb

// Damage runs statements on the writing connection.
func (db *DB) Damage(statements string) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.writer.Exec(statements)
}

// Stem is the stem of a word.
func Stem(word string) string { return string(stem([]byte(word))) }

// Tokens are the words of a text as Match splits it.
func Tokens(text string) (words []string) {
	tokens(text, func(w []byte) bool { words = append(words, string(w)); return true })
	return words
}

// VoidPostings has every list of the text index read again.
func (db *DB) VoidPostings() { db.postings.void() }

// Postings returns how many lists and passages are kept.
func (db *DB) Postings() (lists, passages int) {
	db.postings.mu.Lock()
	defer db.postings.mu.Unlock()
	return len(db.postings.of), db.postings.held
}
