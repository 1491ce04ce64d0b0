package builtin

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/charset"
)

// mediaType returns the bare media type of a body and its declared charset. A server that
// says nothing, or nothing precise, is helped by the name of the file and the content.
func mediaType(header, urlPath string, body []byte) (media, declared string) {
	media, params, err := mime.ParseMediaType(header)
	if err != nil {
		media = ""
	}
	declared = params["charset"]
	switch media {
	case "", "application/octet-stream", "binary/octet-stream", "text/plain":
	default:
		return media, declared
	}
	switch strings.ToLower(path.Ext(urlPath)) {
	case ".csv":
		return "text/csv", declared
	case ".tsv", ".tab":
		return "text/tab-separated-values", declared
	case ".json":
		return "application/json", declared
	case ".md":
		return "text/markdown", declared
	}
	trimmed := bytes.TrimSpace(body)
	if len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') && json.Valid(trimmed) {
		return "application/json", declared
	}
	sniffed, params, err := mime.ParseMediaType(http.DetectContentType(body))
	if err != nil {
		sniffed = "application/octet-stream"
	}
	if sniffed == "text/plain" && looksLikeCSV(body) {
		return "text/csv", declared
	}
	if media == "text/plain" { // the server knows it is text; do not make a page of it
		return media, declared
	}
	if declared == "" && strings.HasPrefix(params["charset"], "utf-16") {
		declared = params["charset"]
	}
	return sniffed, declared
}

// readable returns a body as text for a model, and how many bytes all of the text has, or
// false when it is not text.
func readable(body []byte, media, declared string, base *url.URL) (text string, total int, ok bool) {
	page := media == "text/html" || media == "application/xhtml+xml"
	if !page && !textual(media) && !looksLikeText(body) {
		return "", 0, false
	}
	header := media
	if declared != "" {
		header += "; charset=" + declared
	}
	if page {
		text, total = pageText(decodeText(body, header), base)
		return text, total, true
	}
	// Decoding more than can be shown would be waste; no encoding takes four times the room.
	return decodeText(body[:min(len(body), 4*preview)], header), len(body), true
}

// decodeText turns a body, or a part of one, into UTF-8 by its byte order mark, its declared
// charset, or what it looks like, in this order.
func decodeText(body []byte, contentType string) string {
	enc, _, certain := charset.DetermineEncoding(body, contentType)
	if whole := trimPartialRunes(body); !certain && utf8.Valid(whole) {
		return string(whole)
	}
	decoded, err := enc.NewDecoder().Bytes(body)
	if err != nil {
		return strings.ToValidUTF8(string(body), "\uFFFD")
	}
	return strings.TrimPrefix(string(decoded), "\uFEFF")
}

// trimPartialRunes takes off what is left of characters that were cut in two at either end
// of a part of a UTF-8 text.
func trimPartialRunes(b []byte) []byte {
	for i := 0; i < utf8.UTFMax && len(b) > 0 && !utf8.RuneStart(b[0]); i++ {
		b = b[1:]
	}
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				b = b[:len(b)-i]
			}
			break
		}
	}
	return b
}

// textual reports whether bodies of a media type are text.
func textual(media string) bool {
	if strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "+json") || strings.HasSuffix(media, "+xml") || strings.HasSuffix(media, "+yaml") {
		return true
	}
	switch media {
	case "application/json", "application/xml", "application/javascript", "application/yaml", "application/x-yaml",
		"application/toml", "application/x-ndjson", "application/x-www-form-urlencoded", "application/graphql", "application/sql":
		return true
	}
	return false
}

// looksLikeText reports whether content of unknown type is text in some encoding: it has a
// byte order mark, or no control characters that text does not have.
func looksLikeText(b []byte) bool {
	head := b[:min(len(b), 8<<10)]
	if bytes.HasPrefix(head, []byte{0xfe, 0xff}) || bytes.HasPrefix(head, []byte{0xff, 0xfe}) {
		return true
	}
	for _, c := range head {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' && c != 0x1b {
			return false
		}
	}
	return true
}

const (
	maxLinks  = 30
	linkBytes = 4 << 10  // of text about links
	pageBytes = 64 << 10 // of text, more than is ever shown
)

// pageText reduces a web page to the text a reader would see, a line for each block, and
// the first links below it. It also returns how long the text is before it is cut to leave
// room for the links.
func pageText(page string, base *url.URL) (text string, total int) {
	p := &pageReader{base: base, tokens: html.NewTokenizer(strings.NewReader(page))}
	p.read()
	text = strings.TrimSpace(p.text.String())
	if p.title != "" && !strings.HasPrefix(text, p.title) {
		text = p.title + "\n\n" + text
	}
	total = len(text)
	if p.links.Len() > 0 {
		text = cut(text, preview-linkBytes) + "\n\nLinks:" + p.links.String()
	}
	return text, max(total, len(text))
}

// A pageReader walks the tokens of a page. It builds no tree: a page nested a million deep
// costs what a flat one costs.
type pageReader struct {
	base   *url.URL
	tokens *html.Tokenizer
	text   strings.Builder
	title  string
	links  strings.Builder // a line for each
	found  int             // links
	pre    bool            // white space counts
	space  bool            // a space is due before the next word
	breaks int             // line breaks due before the next word
	href   string          // of the link that is open
	label  strings.Builder
}

func (p *pageReader) read() {
	for p.text.Len() < pageBytes {
		switch p.tokens.Next() {
		case html.ErrorToken:
			return
		case html.TextToken:
			p.words(string(p.tokens.Text()))
		case html.StartTagToken, html.SelfClosingTagToken:
			p.open(p.tokens.Token())
		case html.EndTagToken:
			p.close(p.tokens.Token().Data)
		case html.CommentToken, html.DoctypeToken:
		}
	}
}

func (p *pageReader) open(t html.Token) {
	switch t.Data {
	case "script", "style", "noscript", "template", "svg", "iframe", "object", "textarea", "select":
		if t.Type == html.StartTagToken {
			p.skip(t.Data)
		}
	case "title":
		if p.tokens.Next() == html.TextToken && p.title == "" {
			p.title = strings.Join(strings.Fields(string(p.tokens.Text())), " ")
		}
	case "a":
		p.href = ""
		for _, a := range t.Attr {
			if a.Key == "href" {
				p.href = a.Val
			}
		}
		p.label.Reset()
	case "img":
		for _, a := range t.Attr {
			if a.Key == "alt" && a.Val != "" {
				p.words(" " + a.Val + " ")
			}
		}
	case "li":
		p.breaks = max(p.breaks, 1)
		p.words("- ")
	case "td", "th":
		if p.breaks == 0 && p.text.Len() > 0 {
			p.words(" | ")
		}
	case "pre":
		p.pre = true
		p.block("pre")
	default:
		p.block(t.Data)
	}
}

func (p *pageReader) close(tag string) {
	switch tag {
	case "a":
		p.link()
	case "pre":
		p.pre = false
		p.block("pre")
	default:
		p.block(tag)
	}
}

// block notes the line breaks that come with the border of a block.
func (p *pageReader) block(tag string) {
	switch tag {
	case "p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "blockquote", "pre", "section", "article":
		p.breaks = max(p.breaks, 2)
	case "br", "div", "tr", "li", "dt", "dd", "header", "footer", "main", "nav", "aside", "form", "figure", "figcaption", "hr", "option", "button":
		p.breaks = max(p.breaks, 1)
	}
}

// skip passes over the content of an element.
func (p *pageReader) skip(tag string) {
	for depth := 1; depth > 0; {
		switch p.tokens.Next() {
		case html.ErrorToken:
			return
		case html.StartTagToken:
			if name, _ := p.tokens.TagName(); string(name) == tag {
				depth++
			}
		case html.EndTagToken:
			if name, _ := p.tokens.TagName(); string(name) == tag {
				depth--
			}
		case html.TextToken, html.SelfClosingTagToken, html.CommentToken, html.DoctypeToken:
		}
	}
}

// words adds running text, with white space reduced to what a browser would show.
func (p *pageReader) words(s string) {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		p.space = p.space || s != ""
		return
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	text := strings.Join(fields, " ")
	switch {
	case p.text.Len() == 0:
	case p.breaks > 0:
		p.text.WriteString(strings.Repeat("\n", p.breaks))
	case p.pre:
	case p.space || unicode.IsSpace(first):
		p.text.WriteByte(' ')
	}
	if p.pre {
		p.text.WriteString(s)
	} else {
		p.text.WriteString(text)
	}
	if p.href != "" {
		p.label.WriteString(text + " ")
	}
	p.breaks, p.space = 0, unicode.IsSpace(last)
}

// link notes the link that ends here.
func (p *pageReader) link() {
	href, label := p.href, strings.TrimSpace(p.label.String())
	p.href = ""
	if href == "" || label == "" || p.found == maxLinks || strings.HasPrefix(href, "#") {
		return
	}
	u, err := p.base.Parse(href)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return
	}
	line := "\n- " + cut(label, 80) + ": " + u.Redacted()
	if p.links.Len()+len(line) < linkBytes-len("\n\nLinks:") {
		p.found++
		p.links.WriteString(line)
	}
}
