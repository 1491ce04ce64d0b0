#!/usr/bin/env python3
"""Asks the reference tokenizer what internal/embedding/wordpiece must do.

    pip install tokenizers==0.23.3
    scripts/wordpiece-reference.py MODEL_DIRECTORY [PACKAGE_DIRECTORY]

MODEL_DIRECTORY holds tokenizer.json and vocab.txt of all-MiniLM-L6-v2. Written are, below
PACKAGE_DIRECTORY (internal/embedding/wordpiece):

    characters.txt            what becomes of each character before words are looked up
    testdata/vocab.txt.gz     the vocabulary
    testdata/strings.json.gz  strings and their token numbers
    testdata/alone.json       a digest for each block of 4096 characters, each between two letters
"""

import gzip
import hashlib
import json
import random
import struct
import sys
import unicodedata
from pathlib import Path

from tokenizers import Tokenizer

SURROGATES = range(0xD800, 0xE000)
HANGUL = range(0xAC00, 0xD7A4)
LIMIT = 256


def code_points():
    return (c for c in range(0x110000) if c not in SURROGATES)


# --- characters.txt ---------------------------------------------------------------------

def characters(tok):
    """Yields (code point, action): drop, space, keep, alone, or "= …" with what it becomes."""

    def kind(ch):
        pieces = [p for p, _ in tok.pre_tokenizer.pre_tokenize_str("a" + ch + "a")]
        if pieces == ["a", "a"]:
            return "space"
        if pieces == ["a", ch, "a"]:
            return "alone"
        assert pieces == ["a" + ch + "a"], (hex(ord(ch)), pieces)
        return "keep"

    kinds = {}
    for c in code_points():
        ch = chr(c)
        kinds[ch] = kind(ch)
    for c in code_points():
        ch = chr(c)
        out = tok.normalizer.normalize_str(ch)
        cjk = len(out) > 2 and out[0] == " " and out[-1] == " "
        body = out.strip(" ") if cjk else out
        if c in HANGUL:
            want = [0x1100 + (c - 0xAC00) // 588, 0x1161 + (c - 0xAC00) % 588 // 28]
            if (c - 0xAC00) % 28:
                want.append(0x11A7 + (c - 0xAC00) % 28)
            assert [ord(x) for x in out] == want, hex(c)
            yield c, "hangul"
        elif body == "":
            yield c, "drop"
        elif body == " ":
            yield c, "space"
        elif body == ch:
            yield c, "alone" if cjk else kinds[ch]
        else:
            assert all(kinds[x] != "space" for x in body), hex(c)
            assert not cjk or len(body) == 1, hex(c)
            yield c, "= " + ("alone " if cjk else "") + " ".join("%04X" % ord(x) for x in body)


def write_characters(tok, path):
    runs = []
    for c, action in characters(tok):
        if runs and runs[-1][2] == action and runs[-1][1] == c - 1 and not action.startswith("="):
            runs[-1][1] = c
        else:
            runs.append([c, c, action])
    with open(path, "w") as f:
        f.write("# What becomes of each character; made by scripts/wordpiece-reference.py. What is not listed is kept.\n")
        for lo, hi, action in runs:
            if action != "keep":
                f.write("%04X%s %s\n" % (lo, "" if lo == hi else "-%04X" % hi, action))


# --- strings ----------------------------------------------------------------------------

SENTENCES = """The quick brown fox jumps over the lazy dog.
Dr. Smith's appointment was moved from 3:30pm to 4 o'clock; please re-confirm!
How do I reset my password? I've tried e-mail (twice) and it doesn't work...
func (r *Router) Send(ctx context.Context, m caxton.Message) (string, error) { return "", nil }
SELECT name, count(*) FROM entities WHERE scope = 'agent' GROUP BY name HAVING count(*) > 10;
https://example.org/a/b?c=d&e=%20f#g user+tag@mail.example.co.uk 192.168.0.1:8080
Crème brûlée, façade, naïve coöperation, Ångström, São Paulo, Łódź, Đorđe, Øresund, ÆSIR œuvre
İstanbul'da ışık IŞIK ıslık, Straße STRASSE ẞ ß, ΟΔΥΣΣΕΥΣ Ὀδυσσεύς σοφός ΣΟΦΟΣ
Съешь ещё этих мягких французских булок, да выпей чаю. Їжак Ґанок Ўзбек Й й
人工知能は、人間の知能を模倣する。カタカナ ガギグゲゴ ﾊﾝｶｸ が か゛ か゚ 々 〆 ヶ
我们明天上午九点开会，请带上报告。繁體中文：資料庫與記憶 豈更車賈 \U0002F800 \U00020000\U0002A6D6
안녕하세요 세계 한국어 각 각 힣 ㄱㄴㄷ
مرحبا بالعالم، كيف حالك؟ السَّلَامُ عَلَيْكُمْ ١٢٣
שָׁלוֹם עוֹלָם "צה״ל" ‏אבג‎
नमस्ते दुनिया क्षत्रिय हिन्दी ௐ தமிழ் ไทยภาษา ที่นี่ ភាសាខ្មែរ ကမ္ဘာ བོད་ཡིག ಕನ್ನಡ
👍 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇯🇵 ❤️ ☺️ 1️⃣ ©®™ ½ ² ⅷ Ⅷ ﬁ ﬂ ﷺ ㎏ ℃ ① Ω K Å
«quoted» “curly” ‘single’ — en–dash … • § ¶ † ‡ ‰ ′ ″ ‹ › ¡hola! ¿qué? ￥ € £ ¥ ₹ + < = > ^ ` | ~ $
a\u0301e\u0300\u0323 o\u0308\u0304 n\u0303 \u0301start q\u0307\u0323 \u1e9b\u0323 \u0344 \u0958 \u2126 \ufb1d \U0001d15e
[CLS] hello [SEP] world [MASK] [PAD] [UNK] [sep] [Sep] [ SEP ] [[SEP]] x[SEP]y [SEP
tabs\tand\nnew\r\nlines\x0b\x0c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000 nbsp zero\u200bwidth\u200c\u200d\u2060\ufeff soft\xadhyphen \u180e
null\x00byte \ufffd replacement \x1b[31mred\x1b[0m bell\x07 del\x7f c1\x9f tags\U000e0041 \U000e0100
\ue000 private \U000f0000 \U0010fffd unassigned \u0378 \u05ff \U0001fbff nonchar \ufdd0 \uffff \U0001ffff
Pneumonoultramicroscopicsilicovolcanoconiosis Donaudampfschifffahrtsgesellschaftskapitän supercalifragilisticexpialidocious
""".splitlines()


def pools():
    by_category = {}
    for c in code_points():
        by_category.setdefault(unicodedata.category(chr(c)), []).append(c)
    blocks = [range(0x20, 0x7F)] * 6 + [
        range(0x00, 0x100), range(0xA0, 0x250), range(0x250, 0x370), range(0x370, 0x530), range(0x530, 0x700), range(0x900, 0xE00), range(0xE00, 0x1200),
        range(0x1E00, 0x2000), range(0x2000, 0x2100), range(0x2100, 0x2C00), range(0x3000, 0x3400), range(0x4E00, 0x5200), range(0xAC00, 0xD7A4),
        range(0xF900, 0xFB50), range(0xFB50, 0xFE00), range(0xFE00, 0x10000), range(0x10000, 0x10200), range(0x1D100, 0x1D800), range(0x1E900, 0x1E960),
        range(0x1F300, 0x1FB00), range(0x20000, 0x20100), range(0x2F800, 0x2FA20), range(0xE0000, 0xE0200)]
    return list(by_category.values()), blocks


def strings(vocab):
    r = random.Random(20240601)
    categories, blocks = pools()
    words = [w for w in vocab if not w.startswith("[") and not w.startswith("##")]
    ascii_words = [w for w in words if w.isascii() and w.isalpha()]
    marks = [0x300, 0x301, 0x302, 0x303, 0x308, 0x30A, 0x323, 0x327, 0x338, 0x345, 0x483, 0x5B0, 0x64E, 0x93C, 0xE31, 0x302A, 0x3099, 0xFE0F, 0x200D, 0x1D165]
    specials = ["[SEP]", "[CLS]", "[PAD]", "[UNK]", "[MASK]", "[sep]", "[", "]", "[unused1]", "##ing", "##"]
    out = ["", " ", "\n", "a", "A", "é", "[SEP]", "\x00", "\u0301", "。"]
    out += SENTENCES
    out += [s.upper() for s in SENTENCES] + [s.lower() for s in SENTENCES] + [s.replace(" ", "") for s in SENTENCES]
    out += [unicodedata.normalize(f, s) for s in SENTENCES for f in ("NFC", "NFD", "NFKC", "NFKD")]
    for n in (1, 2, 50, 98, 99, 100, 101, 102, 200, 500, 5000):
        out += ["a" * n, "é" * n, "e\u0301" * n, "中" * n, "가" * n, "각" * n, "." * n, "😀" * n, "the " * n, "x\u200b" * n, "[SEP]" * n, "\u0301" * n]
    text = " ".join(SENTENCES)
    out += [" ".join(r.choice(ascii_words) for _ in range(n)) for n in list(range(1, 300, 7))]

    def ch(pool):
        return chr(r.choice(pool))

    def one():
        how = r.randrange(10)
        if how == 0:  # text as people write it, cut anywhere
            at = r.randrange(len(text))
            return text[at:at + r.randrange(1, 80)]
        if how == 1:  # words, as the vocabulary has them, in any case, with marks
            w = [r.choice(words) for _ in range(r.randrange(1, 8))]
            return r.choice([" ", "-", "", ", "]).join(r.choice([x, x.upper(), x.title(), x + ch(marks)]) for x in w)
        if how == 2:  # one block
            b = r.choice(blocks)
            return "".join(ch(b) for _ in range(r.randrange(1, 16)))
        if how == 3:  # letters between characters of one category
            p = r.choice(categories)
            return "".join(r.choice("abcE .") + ch(p) for _ in range(r.randrange(1, 8)))
        if how == 4:  # any category
            return "".join(ch(r.choice(categories)) for _ in range(r.randrange(1, 12)))
        if how == 5:  # any block
            return "".join(ch(r.choice(blocks)) for _ in range(r.randrange(1, 20)))
        if how == 6:  # runs of marks
            return "".join(r.choice("aeionAEION ᄀ") + "".join(ch(marks) for _ in range(r.randrange(4))) for _ in range(r.randrange(1, 10)))
        if how == 7:  # special tokens within words
            return "".join(r.choice([r.choice(specials), r.choice(ascii_words), r.choice(ascii_words), " "]) for _ in range(r.randrange(1, 8)))
        if how == 8:  # long words
            return "".join(r.choice("abcdefghijklmnopqrstuvwxyzéß") for _ in range(r.randrange(90, 112) if r.random() < 0.2 else r.randrange(1, 30)))
        s = list(r.choice(SENTENCES)[:60])  # a sentence with characters exchanged
        for _ in range(r.randrange(1, 6)):
            if s:
                s[r.randrange(len(s))] = ch(r.choice(categories))
        return "".join(s)

    seen = dict.fromkeys(out)
    while len(seen) < 24000:
        seen.setdefault(one())
    return list(seen)


def gz(path, data):
    path.write_bytes(gzip.compress(data, 9, mtime=0))


def main():
    model, package = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "internal/embedding/wordpiece")
    tok = Tokenizer.from_file(str(model / "tokenizer.json"))
    tok.no_padding()
    tok.no_truncation()
    write_characters(tok, package / "characters.txt")

    vocab_text = (model / "vocab.txt").read_bytes()
    vocab = vocab_text.decode().split("\n")[:-1]
    assert tok.get_vocab() == {w: i for i, w in enumerate(vocab)}
    gz(package / "testdata/vocab.txt.gz", vocab_text)

    blocks, digest = [], None
    batch = []
    for c in range(0x110000):
        if c % 4096 == 0:
            digest = hashlib.sha256()
        batch.append("x" + chr(c) + "y" if c not in SURROGATES else "xy")
        if c % 4096 == 4095:
            for e in tok.encode_batch(batch):
                digest.update(struct.pack("<%di" % len(e.ids), *e.ids))
            blocks.append(digest.hexdigest()[:16])
            batch = []
    (package / "testdata/alone.json").write_text(json.dumps(blocks, indent=0) + "\n")

    texts = strings(vocab)
    tok.enable_truncation(LIMIT)
    lines = [json.dumps([t, e.ids[1:-1]], ensure_ascii=False, separators=(",", ":")) for t, e in zip(texts, tok.encode_batch(texts))]
    gz(package / "testdata/strings.json.gz", ("\n".join(lines) + "\n").encode())


main()
