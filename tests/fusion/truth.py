"""What the block graphs give in double precision, from their textbook formulas.

    python3 tests/fusion/truth.py tests/fusion/*.lir

A file's weights and inputs are read from its comments and rounded to f32, as the graph has them; everything
after is float64. The results replace the file's lines `// truth OUTPUT = ...`. A file without a formula here is
left as it is. The graph itself is never read. Needs numpy.
"""

import re
import sys
from pathlib import Path

import numpy as np

DATA = re.compile(r"// (weight|step|in|out|truth) (?:(\w+) = )?(.*)")


def f32(x):
    """What f32 makes of numbers, as float64."""
    return np.asarray(x, dtype=np.float32).astype(np.float64)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rms_norm(x, gain):
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * gain


def layer_norm(x, gain, bias):
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5) * gain + bias


def causal_attention(q, k, v, score):
    """Each row of [rows, heads, head] over the keys up to its own; [rows, heads, head]."""
    y = np.empty_like(q)
    for row in range(q.shape[0]):
        for head in range(q.shape[1]):
            past = slice(0, row + 1)
            p = softmax(score(q[row, head] @ k[past, head].T, head))
            y[row, head] = p @ v[past, head]
    return y


def rotate(x, pos):
    """RoPE on neighbours: elements 2i and 2i + 1 are a complex number, turned by pos * 10000^(-2i / head)."""
    head = x.shape[-1]
    freq = 10000.0 ** (-np.arange(0, head, 2) / head)
    turn = np.exp(1j * pos[:, None] * freq)[:, None, :]
    turned = (x[..., 0::2] + 1j * x[..., 1::2]) * turn
    return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)


def decoder_block(d):
    width, heads, kv_heads, head, hidden = 24, 4, 2, 6, 37
    x, pos = d["x"].reshape(-1, width), d["pos"]
    rows = len(x)

    normed = rms_norm(x, d["norm_attn"])
    q = (normed @ d["wq"].reshape(width, width).T).reshape(rows, heads, head)
    k = (normed @ d["wk"].reshape(-1, width).T).reshape(rows, kv_heads, head)
    v = (normed @ d["wv"].reshape(-1, width).T).reshape(rows, kv_heads, head)
    shared = heads // kv_heads
    k = np.repeat(rotate(k, pos), shared, axis=1)
    v = np.repeat(v, shared, axis=1)
    mixed = causal_attention(rotate(q, pos), k, v, lambda s, _: s * head**-0.5)
    x = x + mixed.reshape(rows, width) @ d["wo"].reshape(width, width).T

    normed = rms_norm(x, d["norm_mlp"])
    gate = normed @ d["gate"].reshape(hidden, width).T
    up = normed @ d["up"].reshape(hidden, width).T
    silu = gate / (1 + np.exp(-gate))
    return {"y": x + (silu * up) @ d["down"].reshape(width, hidden).T}


def gpt2_block(d):
    width, heads, head, hidden = 20, 2, 10, 37
    x = d["x"].reshape(-1, width)
    rows = len(x)

    def linear(x, name, outputs):
        return x @ d[f"{name}_weight"].reshape(-1, outputs) + d[f"{name}_bias"]

    normed = layer_norm(x, d["norm1_gain"], d["norm1_bias"])
    q, k, v = np.split(linear(normed, "qkv", 3 * width), 3, axis=1)
    q, k, v = (part.reshape(rows, heads, head) for part in (q, k, v))
    mixed = causal_attention(q, k, v, lambda s, _: s / head**0.5)
    x = x + linear(mixed.reshape(rows, width), "attn", width)

    normed = layer_norm(x, d["norm2_gain"], d["norm2_bias"])
    h = linear(normed, "fc", hidden)
    gelu = 0.5 * h * (1 + np.tanh((2 / np.pi) ** 0.5 * (h + 0.044715 * h**3)))
    return {"y": x + linear(gelu, "proj", width)}


def router(d):
    width, experts, hidden = 24, 5, 10
    x = d["x"].reshape(-1, width)
    w_in = d["w_in"].reshape(experts, hidden, width)
    w_out = d["w_out"].reshape(experts, width, hidden)
    p = softmax(x @ d["router"].reshape(experts, width).T)
    y, gate = np.zeros_like(x), np.zeros_like(p)
    for row, best in enumerate(p.argmax(axis=1)):
        gate[row, best] = p[row, best]
        y[row] = p[row, best] * (w_out[best] @ np.maximum(w_in[best] @ x[row], 0))
    return {"y": y, "gate": gate}


def alibi(d):
    heads, head = 4, 6
    q, k, v = (d[name].reshape(-1, heads, head) for name in "qkv")

    def score(dots, at):
        slope = 2.0 ** (-8 * (at + 1) / heads)
        distance = np.arange(len(dots))[::-1]
        return dots * head**-0.5 - slope * distance

    return {"y": causal_attention(q, k, v, score).transpose(1, 0, 2)}


def depthwise(d):
    channels = len(d["bias"])
    x, taps = d["x"].reshape(-1, channels), d["taps"].reshape(-1, channels)
    y = np.empty_like(x)
    for c in range(channels):
        y[:, c] = np.convolve(x[:, c], taps[::-1, c])[len(taps) // 2 :][: len(x)] + d["bias"][c]
    return {"y": y}


def batch_norm(d):
    x = d["x"].reshape(-1, len(d["gain"]))

    def norm(mean, variance):
        return (x - mean) / np.sqrt(variance + 1e-5) * d["gain"] + d["bias"]

    moved = {}
    for name, now in (("mean", x.mean(axis=0)), ("variance", x.var(axis=0))):
        moved[name] = (1 - 0.125) * d[f"running_{name}"] + 0.125 * now
    return {"trained": norm(x.mean(axis=0), x.var(axis=0)), **moved, "inferred": norm(**moved)}


def scan(d):
    steps, width = 7, 19
    a, b = (d[name].reshape(-1, steps, width) for name in "ab")
    h, all_h = d["start"].reshape(-1, width), []
    for t in range(steps):
        h = a[:, t] * h + b[:, t]
        all_h.append(h)
    return {"all": np.stack(all_h, axis=1), "last": h}


def nll(d):
    rows = len(d["target"])
    p = softmax(d["logits"].reshape(rows, -1))
    own = p[np.arange(rows), d["target"].astype(int)]
    return {"loss": -np.log(own).mean(), "log_p": np.log(p)}


BLOCKS = [decoder_block, gpt2_block, router, alibi, depthwise, batch_norm, scan, nll]


def with_truth(text, block):
    """The text of a file, with what the block gives behind each step's data."""
    lines, weights, inputs = [], {}, None

    def end_step():
        if inputs is not None:
            for name, y in block({**weights, **inputs}).items():
                lines.append(f"// truth {name} = " + " ".join(map(repr, y.ravel().tolist())))

    for line in text.splitlines():
        match = DATA.fullmatch(line)
        keyword, name, rest = match.groups() if match else (None, None, None)
        if keyword == "truth":
            continue
        if keyword == "step" or not line.startswith("//"):
            end_step()
            inputs = {} if keyword == "step" else None
        elif keyword in ("weight", "in"):
            (weights if keyword == "weight" else inputs)[name] = f32(rest.split())
        lines.append(line)
    return "\n".join(lines) + "\n"


def main():
    blocks = {block.__name__: block for block in BLOCKS}
    for path in map(Path, sys.argv[1:]):
        if path.stem in blocks:
            path.write_text(with_truth(path.read_text(), blocks[path.stem]))


main()
