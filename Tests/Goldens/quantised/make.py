#!/usr/bin/env python3
"""Writes values.json: blocks of every quantised type and what the gguf package decodes them to.

Two kinds of row a type: `quantised`, smooth values as the package's own quantiser stores them (the
K and IQ4 types have none), and `random`, where every bit of the quants is random and only the f16
scales are of an ordinary size. Run: python3 make.py
"""
import json
import os

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize, quantize

COLUMNS = 256
# Bytes of a block, and where its f16 scales (and minima) stand in it.
BLOCKS = {
    T.Q4_0: (18, [0]),
    T.Q4_1: (20, [0, 2]),
    T.Q5_0: (22, [0]),
    T.Q5_1: (24, [0, 2]),
    T.Q8_0: (34, [0]),
    T.Q4_K: (144, [0, 2]),
    T.Q5_K: (176, [0, 2]),
    T.Q6_K: (210, [208]),
    T.Q2_K: (84, [80, 82]),
    T.Q3_K: (110, [108]),
    T.IQ4_NL: (18, [0]),
    T.IQ4_XS: (136, [0]),
}
LENGTHS = dict.fromkeys((T.Q4_K, T.Q5_K, T.Q6_K, T.Q2_K, T.Q3_K, T.IQ4_XS), 256)
# Types that the package decodes, but has no quantiser for.
DECODED_ONLY = {*LENGTHS, T.IQ4_NL}


def random_row(kind, rng):
    size, scales = BLOCKS[kind]
    count = COLUMNS // LENGTHS.get(kind, 32)
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in scales:
        halves = rng.uniform(-0.1, 0.1, count).astype(np.float16)
        blocks[:, at : at + 2] = halves.view(np.uint8).reshape(count, 2)
    return blocks.reshape(-1)


def entry(kind, name, row):
    values = dequantize(row, kind).reshape(-1).astype(np.float32)
    assert len(values) == COLUMNS and np.isfinite(values).all()
    # The shortest decimal that reads back as the same f32.
    numbers = [float(np.format_float_scientific(v, unique=True)) for v in values]
    assert (np.array(numbers, dtype=np.float32) == values).all()
    return {"type": kind.name, "row": name, "bytes": row.tobytes().hex(), "values": numbers}


rng = np.random.default_rng(20260101)
rows = []
for kind in BLOCKS:
    rows.append(entry(kind, "random", random_row(kind, rng)))
    if kind not in DECODED_ONLY:
        smooth = (np.sin(np.arange(COLUMNS) / 7) * rng.uniform(0.5, 1.5)).astype(np.float32)
        rows.append(entry(kind, "quantised", quantize(smooth, kind).reshape(-1)))
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "values.json")
with open(path, "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
