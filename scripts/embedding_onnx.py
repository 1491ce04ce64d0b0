"""Builds ONNX graphs of a BERT sentence encoder from a directory as sentence-transformers publishes it
(model.safetensors, config.json), and a float64 forward pass in numpy to check them with.

    python3 scripts/embedding_onnx.py MODEL_DIR OUT_DIR

writes plain.onnx (the graph as an exporter writes it; the runtime fuses what it can), fused.onnx (the
runtime's own fused operators) and plain-int8.onnx, fused-int8.onnx (its dynamic quantising).
The input is input_ids and attention_mask; the output is the unit-length sentence vector.
"""

import json
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


def load(model_dir):
    with open(os.path.join(model_dir, "config.json")) as f:
        config = json.load(f)
    weights = load_file(os.path.join(model_dir, "model.safetensors"))
    return config, {k.removeprefix("bert."): v for k, v in weights.items()}


def reference(config, w, ids):
    """The forward pass in float64."""
    from scipy.special import erf

    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    dim, n, eps = hidden // heads, len(ids), config["layer_norm_eps"]

    def t(name):
        return w[name].astype(np.float64)

    def norm(x, name):
        m = x.mean(-1, keepdims=True)
        v = ((x - m) ** 2).mean(-1, keepdims=True)
        return (x - m) / np.sqrt(v + eps) * t(name + ".weight") + t(name + ".bias")

    def dense(x, name):
        return x @ t(name + ".weight").T + t(name + ".bias")

    x = w["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x = x + t("embeddings.position_embeddings.weight")[:n] + t("embeddings.token_type_embeddings.weight")[0]
    x = norm(x, "embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        q, k, v = (
            dense(x, p + "attention.self." + s).reshape(n, heads, dim).transpose(1, 0, 2)
            for s in ("query", "key", "value")
        )
        s = q @ k.transpose(0, 2, 1) / np.sqrt(dim)
        s = np.exp(s - s.max(-1, keepdims=True))
        s /= s.sum(-1, keepdims=True)
        c = (s @ v).transpose(1, 0, 2).reshape(n, hidden)
        x = norm(x + dense(c, p + "attention.output.dense"), p + "attention.output.LayerNorm")
        h = dense(x, p + "intermediate.dense")
        h = h * 0.5 * (1 + erf(h / np.sqrt(2)))
        x = norm(x + dense(h, p + "output.dense"), p + "output.LayerNorm")
    out = x.mean(0)
    return out / np.linalg.norm(out)


class Graph:
    def __init__(self):
        self.nodes, self.inits, self.count = [], [], 0

    def const(self, value, dtype=np.float32):
        self.count += 1
        name = f"c{self.count}"
        self.inits.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def op(self, kind, *inputs, outputs=1, domain="", **attrs):
        self.count += 1
        names = [f"v{self.count}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attrs))
        return names[0] if outputs == 1 else names

    def pool(self, x):
        mask = self.op("Cast", "attention_mask", to=TensorProto.FLOAT)
        mask = self.op("Unsqueeze", mask, self.const([-1], np.int64))
        total = self.op("ReduceSum", self.op("Mul", x, mask), self.const([1], np.int64), keepdims=0)
        count = self.op("ReduceSum", mask, self.const([1], np.int64), keepdims=0)
        mean = self.op("Div", total, count)
        norm = self.op("ReduceL2", mean, self.const([-1], np.int64), keepdims=1)
        self.nodes.append(helper.make_node("Div", [mean, norm], ["sentence_embedding"]))

    def model(self, hidden, ids=TensorProto.INT64):
        graph = helper.make_graph(
            self.nodes,
            "bert",
            [
                helper.make_tensor_value_info("input_ids", ids, ["b", "n"]),
                helper.make_tensor_value_info("attention_mask", ids, ["b", "n"]),
            ],
            [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["b", hidden])],
            self.inits,
        )
        m = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
        )
        m.ir_version = 8
        return m


def plain(config, w):
    g = Graph()
    heads, hidden, eps = config["num_attention_heads"], config["hidden_size"], config["layer_norm_eps"]
    dim = hidden // heads

    def norm(x, name):
        return g.op("LayerNormalization", x, g.const(w[name + ".weight"]), g.const(w[name + ".bias"]), axis=-1, epsilon=eps)

    def dense(x, name):
        y = g.op("MatMul", x, g.const(w[name + ".weight"].T.copy()))
        return g.op("Add", y, g.const(w[name + ".bias"]))

    shape = g.op("Shape", "input_ids")
    n = g.op("Gather", shape, g.const([1], np.int64), axis=0)
    pos = g.op("Slice", g.const(w["embeddings.position_embeddings.weight"]), g.const([0], np.int64), n)
    x = g.op("Gather", g.const(w["embeddings.word_embeddings.weight"]), "input_ids", axis=0)
    x = g.op("Add", g.op("Add", x, g.const(w["embeddings.token_type_embeddings.weight"][0])), pos)
    x = norm(x, "embeddings.LayerNorm")
    mask = g.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    mask = g.op("Unsqueeze", mask, g.const([1, 2], np.int64))
    mask = g.op("Mul", g.op("Sub", g.const(1.0), mask), g.const(np.finfo(np.float32).min))
    split = g.const([0, 0, heads, dim], np.int64)
    join = g.const([0, 0, hidden], np.int64)
    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        q = g.op("Transpose", g.op("Reshape", dense(x, p + "attention.self.query"), split), perm=[0, 2, 1, 3])
        k = g.op("Transpose", g.op("Reshape", dense(x, p + "attention.self.key"), split), perm=[0, 2, 3, 1])
        v = g.op("Transpose", g.op("Reshape", dense(x, p + "attention.self.value"), split), perm=[0, 2, 1, 3])
        s = g.op("Div", g.op("MatMul", q, k), g.const(np.sqrt(dim)))
        s = g.op("Softmax", g.op("Add", s, mask), axis=-1)
        c = g.op("Reshape", g.op("Transpose", g.op("MatMul", s, v), perm=[0, 2, 1, 3]), join)
        x = norm(g.op("Add", dense(c, p + "attention.output.dense"), x), p + "attention.output.LayerNorm")
        h = dense(x, p + "intermediate.dense")
        e = g.op("Add", g.op("Erf", g.op("Div", h, g.const(np.sqrt(2)))), g.const(1.0))
        h = g.op("Mul", g.op("Mul", h, e), g.const(0.5))
        x = norm(g.op("Add", dense(h, p + "output.dense"), x), p + "output.LayerNorm")
    g.pool(x)
    return g.model(hidden)


def fused(config, w):
    g = Graph()
    ms = {"domain": "com.microsoft"}
    heads, hidden, eps = config["num_attention_heads"], config["hidden_size"], config["layer_norm_eps"]
    types = g.op("Sub", "input_ids", "input_ids")
    x, index = g.op(
        "EmbedLayerNormalization",
        "input_ids",
        types,
        g.const(w["embeddings.word_embeddings.weight"]),
        g.const(w["embeddings.position_embeddings.weight"]),
        g.const(w["embeddings.token_type_embeddings.weight"]),
        g.const(w["embeddings.LayerNorm.weight"]),
        g.const(w["embeddings.LayerNorm.bias"]),
        "attention_mask",
        outputs=2,
        epsilon=eps,
        **ms,
    )
    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        a = p + "attention.self."
        qkv = np.concatenate([w[a + s + ".weight"].T for s in ("query", "key", "value")], axis=1)
        bias = np.concatenate([w[a + s + ".bias"] for s in ("query", "key", "value")])
        c = g.op("Attention", x, g.const(qkv), g.const(bias), index, num_heads=heads, **ms)

        def skip(y, x, norm, bias):
            return g.op(
                "SkipLayerNormalization", y, x, g.const(w[norm + ".weight"]), g.const(w[norm + ".bias"]),
                g.const(w[bias + ".bias"]), epsilon=eps, **ms,
            )

        y = g.op("MatMul", c, g.const(w[p + "attention.output.dense.weight"].T.copy()))
        x = skip(y, x, p + "attention.output.LayerNorm", p + "attention.output.dense")
        h = g.op("MatMul", x, g.const(w[p + "intermediate.dense.weight"].T.copy()))
        h = g.op("BiasGelu", h, g.const(w[p + "intermediate.dense.bias"]), **ms)
        y = g.op("MatMul", h, g.const(w[p + "output.dense.weight"].T.copy()))
        x = skip(y, x, p + "output.LayerNorm", p + "output.dense")
    g.pool(x)
    return g.model(hidden, TensorProto.INT32)


def main():
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model_dir, out = sys.argv[1:3]
    os.makedirs(out, exist_ok=True)
    config, w = load(model_dir)
    rng = np.random.default_rng(1)
    for name, build in (("plain", plain), ("fused", fused)):
        path = os.path.join(out, name + ".onnx")
        onnx.save(build(config, w), path)
        quantize_dynamic(path, os.path.join(out, name + "-int8.onnx"), weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": TensorProto.FLOAT})
        for kind in ("", "-int8"):
            s = onnxruntime.InferenceSession(os.path.join(out, name + kind + ".onnx"), providers=["CPUExecutionProvider"])
            worst = 1.0
            for n in (1, 2, 7, 32, 129, 256):
                ids = rng.integers(1000, 29000, n)
                want = reference(config, w, ids)
                dt = np.int32 if name == "fused" else np.int64
                got = s.run(None, {"input_ids": ids[None].astype(dt), "attention_mask": np.ones((1, n), dt)})[0][0]
                worst = min(worst, float(want @ got / np.linalg.norm(got.astype(np.float64))))
            print(f"{name}{kind}: worst cosine to float64 {worst:.9f}")


if __name__ == "__main__":
    main()
