package sqlite

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// searching is what whoever writes knows of the text index. Messages are put into it
// when nothing else is to be written, or when somebody searches: never on the way of a
// message. After a crash it is told by a mark in the table meta which conversations to look
// at again.
type searching struct {
	waiting map[caxton.ConversationID]bool // have messages that are not in the index
	more    backlog

	tx struct { // what the transaction at work makes of it, once it is committed
		done map[caxton.ConversationID]bool // of those waiting
		more backlog
	}
}

// A backlog is how far the index was brought through all conversations.
type backlog struct {
	behind bool   // there are more: those active since the place
	at     int64  // place: the activity of the last conversation looked at
	conv   string // and its ID
}

func (x *searching) begin() {
	clear(x.tx.done)
	x.tx.more = x.more
}

// commit has what was indexed count: not before, as a job that shares the transaction may fail.
func (x *searching) commit() {
	for c := range x.tx.done {
		delete(x.waiting, c)
	}
	x.more = x.tx.more
}

const (
	// indexSlice is how many messages are put into the index in one transaction: so long can
	// a message have to wait for it.
	indexSlice = 32
	// maxWaiting bounds the conversations that are remembered one by one.
	maxWaiting = 50_000
	// indexLag is how much later than its time a record can be committed.
	indexLag = time.Minute
)

// touched notes the conversations of a flush.
func (x *searching) touched(spans map[caxton.ConversationID]span) {
	for c, s := range spans {
		if len(x.waiting) >= maxWaiting { // too many: found by their activity later on
			if from := s.first - indexLag.Microseconds(); !x.more.behind || from < x.more.at {
				x.more = backlog{behind: true, at: min(from, s.last)}
			}
			continue
		}
		x.waiting[c] = true
	}
}

// lags reports whether the index lacks messages.
func (x *searching) lags() bool { return x.more.behind || len(x.waiting) > 0 }

// recoverSearch has the conversations looked at that were active since the index was known
// to be complete.
func (db *DB) recoverSearch() error {
	x := &db.searching
	x.waiting, x.tx.more.behind = map[caxton.ConversationID]bool{}, true
	var mark string
	if _, err := one(db.stmts.metaGet, func(st *sqlite3.Stmt) { mark = st.ColumnText(0) }, "searched"); err != nil || mark == "" {
		return err
	}
	var err error
	if x.tx.more.at, err = strconv.ParseInt(mark, 10, 64); err != nil {
		return fmt.Errorf("searched %q: %w", mark, err)
	}
	return nil
}

// index puts some messages into the index, as a job of the writer.
func (db *DB) index(*sqlite3.Conn) error {
	x := &db.searching
	left, some := indexSlice, len(x.waiting) > 0
	for c := range x.waiting {
		if x.tx.done[c] {
			continue
		}
		done, n, err := db.indexLog(string(c), left)
		if err != nil {
			return err
		}
		if done {
			if x.tx.done == nil {
				x.tx.done = map[caxton.ConversationID]bool{}
			}
			x.tx.done[c] = true
		}
		if left -= n + 1; left <= 0 {
			return nil
		}
	}
	switch {
	case x.tx.more.behind:
		return db.indexMore(left)
	case some && len(x.waiting) == len(x.tx.done):
		return db.markSearched()
	}
	return nil
}

// indexMore goes on through the conversations by their activity.
func (db *DB) indexMore(left int) error {
	x := &db.searching.tx.more
	st, _, err := db.writer.Prepare(`SELECT updated_at, cid FROM conversations WHERE (updated_at, cid) > (?1, ?2) ORDER BY updated_at, cid LIMIT ?3`)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	if err := bind(st, x.at, x.conv, int64(left)); err != nil {
		return err
	}
	type place struct {
		at   int64
		conv string
	}
	var page []place
	for st.Step() {
		page = append(page, place{st.ColumnInt64(0), st.ColumnText(1)})
	}
	if err := st.Err(); err != nil {
		return err
	}
	for _, p := range page {
		done, n, err := db.indexLog(p.conv, left)
		if err != nil || !done {
			return err
		}
		x.at, x.conv = p.at, p.conv
		if left -= n + 1; left <= 0 {
			return nil
		}
	}
	if len(page) == 0 {
		x.behind = false
		return db.markSearched()
	}
	return nil
}

// markSearched notes that the index lacks nothing that is older than now.
func (db *DB) markSearched() error {
	return exec(db.stmts.metaSet, "searched", strconv.FormatInt(micros(db.cfg.Now().Add(-indexLag)), 10))
}

// indexLog puts messages of one conversation into the index, at most so many; done tells
// whether none is left.
func (db *DB) indexLog(conv string, most int) (done bool, n int, err error) {
	var from int64
	if err := db.first(db.writer, `SELECT seq FROM searched WHERE conv=?1`, conv, func(st *sqlite3.Stmt) { from = st.ColumnInt64(0) }); err != nil {
		return false, 0, err
	}
	st, _, err := db.writer.Prepare(`SELECT seq, body FROM records WHERE conv=?1 AND seq>?2 AND kind='message' ORDER BY seq LIMIT ?3`)
	if err != nil {
		return false, 0, err
	}
	defer func() { _ = st.Close() }()
	if err := bind(st, conv, from, int64(most)); err != nil {
		return false, 0, err
	}
	type text struct {
		seq  int64
		text string
	}
	var texts []text
	for st.Step() {
		var b caxton.MessageBody
		t := text{seq: st.ColumnInt64(0)}
		if json.Unmarshal(st.ColumnRawText(1), &b) == nil { // what cannot be read cannot be found
			m := caxton.Message(b.Message)
			t.text = m.Text()
		}
		texts = append(texts, t)
	}
	if err := st.Err(); err != nil || len(texts) == 0 {
		return true, 0, err
	}
	for _, t := range texts {
		if err := execSQL(db.writer, `INSERT INTO message_texts (text, conv, seq) VALUES (?1, ?2, ?3)`, t.text, conv, t.seq); err != nil {
			return false, 0, err
		}
	}
	err = execSQL(db.writer, `INSERT INTO searched (conv, seq) VALUES (?1, ?2) ON CONFLICT (conv) DO UPDATE SET seq=excluded.seq`, conv, texts[len(texts)-1].seq)
	return len(texts) < most, len(texts), err
}

// catchUp brings the index up to now, as far as that goes in the time given.
func (db *DB) catchUp(ctx context.Context, most time.Duration) error {
	limit := time.Now().Add(most)
	if err := db.fresh(ctx); err != nil { // what is committed counts as touched
		return err
	}
	for more := true; more && time.Now().Before(limit); {
		err := db.write(ctx, func(c *sqlite3.Conn) error {
			if more = db.searching.lags(); !more {
				return nil
			}
			return db.index(c)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Search returns a page of the messages that q selects, the best match first, and the cursor
// of the next page, "" on the last one. Messages of the last moments may be missing when
// there were very many.
func (db *DB) Search(ctx context.Context, q caxton.MatchQuery) (page []caxton.Match, next string, err error) {
	match, err := ftsQuery(q.Text)
	if err != nil {
		return nil, "", err
	}
	if err := db.catchUp(ctx, 2*time.Second); err != nil {
		return nil, "", err
	}
	limit := q.Limit
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	offset := 0
	if q.Before != "" {
		b, err := base64.RawURLEncoding.DecodeString(q.Before)
		if err == nil {
			offset, err = strconv.Atoi(string(b))
		}
		if err != nil || offset < 0 {
			return nil, "", caxton.Errorf(caxton.Invalid, "cursor_invalid", "%q is not a cursor", q.Before).WithHint("use the \"next\" of the page before")
		}
	}
	where, args := []string{"message_texts MATCH ?"}, []any{match}
	add := func(condition string, values ...any) { where, args = append(where, condition), append(args, values...) }
	if q.ConversationID != "" {
		add(`r.conv=?`, string(q.ConversationID))
	}
	if q.Agent != "" {
		add(`EXISTS (SELECT 1 FROM records x WHERE x.conv=r.conv AND x.agent=?)`, string(q.Agent))
	}
	if q.Participant != "" {
		add(`(iif(json_valid(r.body), json_extract(r.body, '$.message.sender'), NULL)=? OR iif(json_valid(r.body), json_extract(r.body, '$.message.receiver'), NULL)=?)`, q.Participant, q.Participant)
	}
	if !q.Since.IsZero() {
		add(`r.at>=?`, micros(q.Since))
	}
	if !q.Until.IsZero() {
		add(`r.at<=?`, micros(q.Until))
	}
	switch q.State {
	case "":
	case caxton.ConversationActive:
		add(conversationActive)
	case caxton.ConversationIdle:
		add(`c.archived=0 AND NOT ` + conversationActive)
	case caxton.ConversationArchived:
		add(`c.archived=1`)
	}
	args = append(args, limit+1, offset)
	rows, err := db.read.QueryContext(ctx, `SELECT r.conv, r.seq, r.msg, r.at, snippet(message_texts, 0, '[', ']', '…', 24), r.body`+ //nolint:gosec // the conditions are constants, the values are bound
		` FROM message_texts JOIN records r ON r.conv=message_texts.conv AND r.seq=message_texts.seq JOIN conversations c ON c.cid=r.conv
		WHERE `+strings.Join(where, " AND ")+` ORDER BY message_texts.rank, r.at DESC, r.conv, r.seq LIMIT ? OFFSET ?`, args...)
	if err != nil {
		return nil, "", storageError("search", err)
	}
	page, err = collect(rows, func(rows *sql.Rows) (caxton.Match, error) {
		var m caxton.Match
		var at int64
		var body []byte
		if err := rows.Scan(&m.ConversationID, &m.Seq, &m.MessageID, &at, &m.Snippet, &body); err != nil {
			return m, err
		}
		m.At = fromMicros(at)
		d, err := decodeDelivery(body)
		m.Performative, m.Sender, m.Receiver = d.Message.Performative, d.Message.Sender, d.Message.Receiver
		return m, err
	})
	if len(page) > limit {
		page = page[:limit]
		next = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(offset + limit)))
	}
	return page, next, err
}

// ftsQuery prints words as a query of FTS5, in which nothing else has a meaning.
func ftsQuery(text string) (string, error) {
	var terms []string
	for w := range strings.FieldsSeq(strings.ReplaceAll(text, "\x00", " ")) {
		star := ""
		if t := strings.TrimRight(w, "*"); t != w {
			w, star = t, "*"
		}
		if w != "" {
			terms = append(terms, `"`+strings.ReplaceAll(w, `"`, `""`)+`"`+star)
		}
	}
	if len(terms) == 0 {
		return "", caxton.Errorf(caxton.Invalid, "query_empty", "the search has no words").WithHint("give the words to look for")
	}
	return strings.Join(terms, " "), nil
}
