package sqlite

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

// Pending returns every delivery that was accepted and not settled, oldest first: what a
// server resumes when it starts.
func (db *DB) Pending(ctx context.Context) ([]caxton.Delivery, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT coalesce(p.attempt, 0), coalesce(p.not_before, 0), coalesce(p.parked, 0), coalesce(p.outputs, 0), r.body
		FROM (SELECT msg FROM pending UNION `+unsettledSince+`coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key='flushed'), -9223372036854775808)) o
		CROSS JOIN records r ON r.msg=o.msg AND r.kind='message'
		LEFT JOIN pending p ON p.msg=o.msg
		ORDER BY r.n`) // not by time: clocks can be set back
	if err != nil {
		return nil, storageError("read pending messages", err)
	}
	return collect(rows, func(rows *sql.Rows) (caxton.Delivery, error) {
		var attempt, parked, outputs int
		var notBefore int64
		var body []byte
		if err := rows.Scan(&attempt, &notBefore, &parked, &outputs, &body); err != nil {
			return caxton.Delivery{}, err
		}
		d, err := decodeDelivery(body)
		d.Attempt, d.Parked, d.Outputs, d.NotBefore = attempt, parked, outputs, fromMicros(notBefore)
		return d, err
	})
}

// Turn returns what the log holds about the handling of one message, oldest first: every
// record about it but the message itself.
func (db *DB) Turn(ctx context.Context, conv caxton.ConversationID, id caxton.MessageID) ([]caxton.Record, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT `+recordColumns+`
		FROM records WHERE conv=?1 AND msg=?2 AND kind<>'message'
		  AND seq > coalesce((SELECT m.seq FROM records m WHERE m.msg=?2 AND m.kind='message' AND m.conv=?1), 0)
		ORDER BY seq`, string(conv), string(id)) // what came before the message has nothing to do with it
	if err != nil {
		return nil, storageError("read turn", err)
	}
	return collect(rows, scanRecord)
}

// History returns the messages of a conversation that came before the message given, oldest
// first, at most the last limit of them. An unknown message counts as the end of the log.
func (db *DB) History(ctx context.Context, conv caxton.ConversationID, before caxton.MessageID, limit int) ([]caxton.Message, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT body FROM records
		WHERE conv=?1 AND kind='message'
		  AND seq < coalesce((SELECT m.seq FROM records m WHERE m.msg=?2 AND m.kind='message' AND m.conv=?1), 9223372036854775807)
		ORDER BY seq DESC LIMIT ?3`, string(conv), string(before), limit)
	if err != nil {
		return nil, storageError("read history", err)
	}
	ms, err := collect(rows, func(rows *sql.Rows) (caxton.Message, error) {
		var body sql.RawBytes
		if err := rows.Scan(&body); err != nil {
			return caxton.Message{}, err
		}
		return decodeMessage(body)
	})
	slices.Reverse(ms) // not in SQLite, which would sort the texts of all
	return ms, err
}

// Messages returns all messages of a conversation, oldest first, at most the last 10,000.
func (db *DB) Messages(ctx context.Context, conv caxton.ConversationID) ([]caxton.Message, error) {
	return db.History(ctx, conv, "", 10_000)
}

// Records returns a conversation's log from the record after the given position, oldest
// first, at most limit records (0 means 1000). An unknown conversation is NotFound.
func (db *DB) Records(ctx context.Context, conv caxton.ConversationID, after int64, limit int) ([]caxton.Record, error) {
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	rows, err := db.read.QueryContext(ctx, `SELECT `+recordColumns+`
		FROM records WHERE conv=? AND seq>? ORDER BY seq LIMIT ?`, string(conv), after, limit)
	if err != nil {
		return nil, storageError("read records", err)
	}
	rs, err := collect(rows, scanRecord)
	if err == nil && len(rs) == 0 {
		_, err = db.Conversation(ctx, conv)
	}
	return rs, err
}

const recordColumns = `conv, seq, n, at, kind, msg, agent, body`

func scanRecord(rows *sql.Rows) (caxton.Record, error) {
	var r caxton.Record
	var at int64
	var body []byte
	err := rows.Scan(&r.ConversationID, &r.Seq, &r.N, &at, &r.Kind, &r.MessageID, &r.AgentID, &body)
	r.At, r.Body = fromMicros(at), json.RawMessage(body)
	return r, err
}

// Message returns what the journal knows of a message, or NotFound.
func (db *DB) Message(ctx context.Context, id caxton.MessageID) (caxton.MessageStatus, error) {
	var st caxton.MessageStatus
	d, err := db.delivery(ctx, id)
	if err != nil {
		return st, err
	}
	st.Message, st.Routing = d.Message, d.Routing
	var body []byte
	err = db.read.QueryRowContext(ctx, `SELECT body FROM records WHERE conv=?1 AND msg=?2 AND kind='settled'
		AND NOT EXISTS (SELECT 1 FROM pending WHERE msg=?2) ORDER BY seq DESC LIMIT 1`, string(d.Message.ConversationID), string(id)).Scan(&body) // one that was reopened is in pending at once
	if errors.Is(err, sql.ErrNoRows) {
		st.Settled = d.Message.ReceiverID == "" // a message to the outside has arrived
		return st, nil
	}
	if err != nil {
		return st, storageError("read message", err)
	}
	var sb caxton.SettledBody
	if err := json.Unmarshal(body, &sb); err != nil {
		return st, caxton.Errorf(caxton.Internal, "journal_unreadable", "a stored record cannot be read").WithCause(err)
	}
	st.Settled, st.Outcome, st.Error, st.Code, st.Attempt = true, sb.Outcome, sb.Error, sb.Code, sb.Attempt
	for _, out := range sb.Outputs {
		o, err := db.delivery(ctx, out)
		if err != nil {
			return st, err
		}
		st.Replies = append(st.Replies, o.Message)
	}
	return st, nil
}

func (db *DB) delivery(ctx context.Context, id caxton.MessageID) (caxton.Delivery, error) {
	var body []byte
	err := db.read.QueryRowContext(ctx, `SELECT body FROM records WHERE msg=? AND kind='message'`, string(id)).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return caxton.Delivery{}, caxton.Errorf(caxton.NotFound, "message_not_found", "there is no message %s", id)
	}
	if err != nil {
		return caxton.Delivery{}, storageError("read message", err)
	}
	return decodeDelivery(body)
}

// Thread returns what a message that continues a conversation needs to know of it: the
// version of the agent that the last message to it was meant for, and where in its tree the
// conversation stands. Of an unknown conversation all is zero.
func (db *DB) Thread(ctx context.Context, conv caxton.ConversationID, agent caxton.AgentID) (caxton.Thread, error) {
	var t caxton.Thread
	var version, depth sql.NullInt64
	var parent, root sql.NullString
	err := db.read.QueryRowContext(ctx, `SELECT
			(SELECT iif(json_valid(body), json_extract(body, '$.version'), NULL) FROM records WHERE conv=?1 AND kind='message' AND agent=?2 ORDER BY seq DESC LIMIT 1),
			iif(json_valid(body), json_extract(body, '$.message.parent'), NULL), iif(json_valid(body), json_extract(body, '$.message.root'), NULL), iif(json_valid(body), json_extract(body, '$.message.depth'), NULL)
		FROM records WHERE conv=?1 AND kind='message' ORDER BY seq LIMIT 1`, string(conv), string(agent)).Scan(&version, &parent, &root, &depth)
	if errors.Is(err, sql.ErrNoRows) {
		return t, nil
	}
	if err != nil {
		return t, storageError("read conversation", err)
	}
	t.Version, t.Depth = int(version.Int64), int(depth.Int64)
	t.Parent, t.Root = caxton.ConversationID(parent.String), caxton.ConversationID(root.String)
	return t, nil
}

const (
	conversationColumns = `c.cid, c.parent, c.archived, c.created_at,
		(SELECT r.at FROM records r WHERE r.conv=c.cid ORDER BY r.seq DESC LIMIT 1),
		(SELECT count(*) FROM records r WHERE r.conv=c.cid AND r.kind='message'),
		` + conversationActive + `, c.updated_at`
	conversationActive = `EXISTS (SELECT 1 FROM records r CROSS JOIN pending p ON p.msg=r.msg WHERE r.conv=c.cid AND r.kind='message')`
)

// fresh writes the delayed tables, so that a reader sees the newest.
func (db *DB) fresh(ctx context.Context) error {
	return db.write(ctx, db.flushAll)
}

// Conversation returns one conversation, or NotFound.
func (db *DB) Conversation(ctx context.Context, id caxton.ConversationID) (caxton.Conversation, error) {
	if err := db.fresh(ctx); err != nil {
		return caxton.Conversation{}, err
	}
	rows, err := db.read.QueryContext(ctx, `SELECT `+conversationColumns+` FROM conversations c WHERE c.cid=?`, string(id))
	if err != nil {
		return caxton.Conversation{}, storageError("read conversation", err)
	}
	cs, err := collect(rows, scanConversation)
	if err != nil {
		return caxton.Conversation{}, err
	}
	if len(cs) == 0 {
		return caxton.Conversation{}, errNoConversation(id)
	}
	err = db.participants(ctx, cs)
	return cs[0].Conversation, err
}

// Conversations returns a page of the conversations that q selects, newest activity first,
// and the cursor of the next page, "" on the last one.
func (db *DB) Conversations(ctx context.Context, q caxton.ConversationQuery) (page []caxton.Conversation, next string, err error) {
	limit := q.Limit
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	if err := db.fresh(ctx); err != nil {
		return nil, "", err
	}
	where, args := []string{"1"}, []any{}
	if q.Before != "" {
		at, id, err := parseCursor(q.Before)
		if err != nil {
			return nil, "", err
		}
		where, args = append(where, `(c.updated_at, c.cid) < (?, ?)`), append(args, at, id)
	}
	if q.Agent != "" {
		where, args = append(where, `EXISTS (SELECT 1 FROM records r WHERE r.conv=c.cid AND r.agent=?)`), append(args, string(q.Agent))
	}
	if q.Participant != "" {
		where = append(where, `EXISTS (SELECT 1 FROM records r WHERE r.conv=c.cid AND r.kind='message' AND (iif(json_valid(r.body), json_extract(r.body, '$.message.sender'), NULL)=? OR iif(json_valid(r.body), json_extract(r.body, '$.message.receiver'), NULL)=?))`)
		args = append(args, q.Participant, q.Participant)
	}
	if !q.Since.IsZero() {
		where, args = append(where, `c.updated_at>=?`), append(args, micros(q.Since))
	}
	if !q.Until.IsZero() {
		where, args = append(where, `c.updated_at<=?`), append(args, micros(q.Until))
	}
	if !q.BegunBy.IsZero() {
		where, args = append(where, `c.created_at<=?`), append(args, micros(q.BegunBy))
	}
	switch q.State {
	case "":
	case caxton.ConversationActive:
		where = append(where, conversationActive)
	case caxton.ConversationIdle:
		where = append(where, `c.archived=0 AND NOT `+conversationActive)
	case caxton.ConversationArchived:
		where = append(where, `c.archived=1`)
	}
	args = append(args, limit+1)
	rows, err := db.read.QueryContext(ctx, `SELECT `+conversationColumns+` FROM conversations c WHERE `+ //nolint:gosec // the conditions are constants, the values are bound
		strings.Join(where, " AND ")+` ORDER BY c.updated_at DESC, c.cid DESC LIMIT ?`, args...)
	if err != nil {
		return nil, "", storageError("list conversations", err)
	}
	cs, err := collect(rows, scanConversation)
	if err != nil {
		return nil, "", err
	}
	if len(cs) > limit {
		cs = cs[:limit]
		last := cs[limit-1]
		next = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%s", last.updated, last.ID))
	}
	if err := db.participants(ctx, cs); err != nil {
		return nil, "", err
	}
	page = make([]caxton.Conversation, len(cs))
	for i := range cs {
		page[i] = cs[i].Conversation
	}
	return page, next, nil
}

func parseCursor(s string) (at int64, id string, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		var a string
		a, id, _ = strings.Cut(string(b), ".")
		at, err = strconv.ParseInt(a, 10, 64)
	}
	if err != nil {
		return 0, "", errCursor(s)
	}
	return at, id, nil
}

func errCursor(s string) error {
	return caxton.Errorf(caxton.Invalid, "cursor_invalid", "%q is not a cursor", s).WithHint("use the \"next\" of the page before")
}

type conversationRow struct {
	caxton.Conversation
	updated int64
}

func scanConversation(rows *sql.Rows) (conversationRow, error) {
	var c conversationRow
	var created int64
	var last sql.NullInt64
	var archived, active bool
	err := rows.Scan(&c.ID, &c.Parent, &archived, &created, &last, &c.Messages, &active, &c.updated)
	c.CreatedAt, c.LastActivity = fromMicros(created), fromMicros(max(last.Int64, created))
	switch {
	case archived:
		c.State = caxton.ConversationArchived
	case active:
		c.State = caxton.ConversationActive
	default:
		c.State = caxton.ConversationIdle
	}
	return c, err
}

// participants fills in who takes part, from the first hundred messages of each.
func (db *DB) participants(ctx context.Context, cs []conversationRow) error {
	for i := range cs {
		rows, err := db.read.QueryContext(ctx, `SELECT coalesce(iif(json_valid(body), json_extract(body, '$.message.sender'), NULL), ''), coalesce(iif(json_valid(body), json_extract(body, '$.message.receiver'), NULL), '')
			FROM records WHERE conv=? AND kind='message' ORDER BY seq LIMIT 100`, string(cs[i].ID))
		if err != nil {
			return storageError("read participants", err)
		}
		seen := map[string]bool{"": true}
		_, err = collect(rows, func(rows *sql.Rows) (struct{}, error) {
			var names [2]string
			err := rows.Scan(&names[0], &names[1])
			for _, n := range names {
				if !seen[n] {
					seen[n] = true
					cs[i].Participants = append(cs[i].Participants, n)
				}
			}
			return struct{}{}, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ToolUses counts the calls of every tool by every agent, over the kept history.
func (db *DB) ToolUses(ctx context.Context) ([]caxton.AgentTools, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT agent, coalesce(iif(json_valid(body), json_extract(body, '$.tool'), NULL), ''), count(*)
		FROM records INDEXED BY records_tools WHERE kind='tool_intended' GROUP BY 1, 2 ORDER BY 1, 2`)
	if err != nil {
		return nil, storageError("count tool calls", err)
	}
	var uses []caxton.AgentTools
	_, err = collect(rows, func(rows *sql.Rows) (struct{}, error) {
		var agent, tool string
		var n int64
		err := rows.Scan(&agent, &tool, &n)
		if len(uses) == 0 || uses[len(uses)-1].AgentID != caxton.AgentID(agent) {
			uses = append(uses, caxton.AgentTools{AgentID: caxton.AgentID(agent), Uses: map[string]int64{}})
		}
		uses[len(uses)-1].Uses[tool] = n
		return struct{}{}, err
	})
	return uses, err
}

// Size returns the size of the database in bytes: the file's pages, without the write-ahead log.
func (db *DB) Size(ctx context.Context) (int64, error) {
	var n int64
	err := db.read.QueryRowContext(ctx, `SELECT page_count*page_size FROM pragma_page_count(), pragma_page_size()`).Scan(&n)
	return n, storageError("read size", err)
}

// Check returns nil when the database answers a query within ctx.
func (db *DB) Check(ctx context.Context) error {
	var n int
	return storageError("check", db.read.QueryRowContext(ctx, `SELECT count(*) FROM meta`).Scan(&n))
}

// collect scans all rows and closes them. Errors that are not ours become storage errors.
func collect[T any](rows *sql.Rows, scan func(*sql.Rows) (T, error)) ([]T, error) {
	defer func() { _ = rows.Close() }()
	var all []T
	for rows.Next() {
		t, err := scan(rows)
		if err != nil {
			return nil, storageError("read", err)
		}
		all = append(all, t)
	}
	return all, storageError("read", rows.Err())
}

// since returns the oldest time a query wants, in microseconds.
func since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
