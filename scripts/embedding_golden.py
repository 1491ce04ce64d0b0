"""Writes internal/embedding/bert/testdata/golden.bin: what onnxruntime makes of 500 texts in float32.

    python3 scripts/embedding_golden.py MODEL_DIR ONNX_DIR OUT_FILE

ONNX_DIR is what embedding_onnx.py wrote. The texts are passages of this project's own documents, cut to
lengths spread over 1 to 256 tokens, each fourth one with its words shuffled, each eighth one with accents,
other scripts and signs put in. Every vector is checked against the float64 forward pass. The file: "CXGOLD1\\n",
count and dimensions as uint32, then per text its token count as uint16, its tokens as uint16, its vector as float32.
"""

import glob
import os
import random
import re
import struct
import sys

import numpy as np
import onnxruntime
from embedding_onnx import load, reference
from tokenizers import Tokenizer

COUNT = 500
ODD = ["Crème brûlée", "naïve façade", "東京は夜", "안녕하세요", "Привет, мир", "مرحبا", "😀🚀", "x²+y²=z²", "a→b", "€ 3.50", "C++/C#", "__init__", "№ 7"]


def main():
    model_dir, onnx_dir, out = sys.argv[1:4]
    tok = Tokenizer.from_file(os.path.join(model_dir, "tokenizer.json"))
    tok.no_padding()
    tok.no_truncation()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    words = []
    for path in sorted(glob.glob(os.path.join(root, "*.md")) + glob.glob(os.path.join(root, "docs", "**", "*.md"), recursive=True)):
        with open(path, encoding="utf-8") as f:
            words.append(re.sub(r"[|`*#]+", " ", f.read()).split())
    rng = random.Random(384)
    config, w = load(model_dir)
    session = onnxruntime.InferenceSession(os.path.join(onnx_dir, "plain.onnx"), providers=["CPUExecutionProvider"])
    worst = 1.0
    with open(out, "wb") as f:
        f.write(b"CXGOLD1\n" + struct.pack("<II", COUNT, config["hidden_size"]))
        for i in range(COUNT):
            n = 1 + i * 256 // COUNT  # every length at least once, nearly all twice
            doc = rng.choice([d for d in words if len(d) > 300])
            at = rng.randrange(len(doc) - 260)
            text = doc[at : at + 260]
            if i % 4 == 3:
                rng.shuffle(text)
            if i % 8 == 5:
                for _ in range(n // 12 + 1):
                    text.insert(rng.randrange(min(len(text), n)), rng.choice(ODD))
            ids = tok.encode(" ".join(text)).ids
            # A text of one token is [CLS] alone; any other ends with [SEP], as truncation leaves it.
            ids = ids[:1] if n == 1 else ids[: n - 1] + [102]
            assert len(ids) == n
            got = session.run(None, {"input_ids": np.array([ids], np.int64), "attention_mask": np.ones((1, n), np.int64)})[0][0]
            want = reference(config, w, ids)
            worst = min(worst, float(want @ got / np.linalg.norm(got.astype(np.float64))))
            f.write(struct.pack(f"<H{n}H", n, *ids) + got.astype("<f4").tobytes())
    print(f"{COUNT} texts, worst cosine of onnxruntime to float64 {worst:.9f}")


if __name__ == "__main__":
    main()
