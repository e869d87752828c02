"""Shared parts of the scripts that write synthetic models: tensors of random weights, their types, and
the file around them. It is imported after `enter_environment("numpy", "gguf")`.

The bytes of a model depend only on the seed and numpy's generator. Only one tensor is in memory at a
time.
"""

import math
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

PIECE_BLOCKS = 1 << 20  # Some hundred megabytes while they are made.


class Tensor:
    """A tensor to write: rows of the last dimension, about normally distributed around `mean`."""

    def __init__(self, name, shape, kind, deviation, mean=0.0):
        self.name, self.shape, self.kind = name, shape, kind
        self.deviation, self.mean = deviation, mean

    @property
    def byte_count(self):
        block, block_bytes = gguf.GGML_QUANT_SIZES[self.kind]
        return math.prod(self.shape) // block * block_bytes

    def make(self, random):
        if self.kind in QUANTISERS:
            return self.make_blocks(random)
        values = random.standard_normal(self.shape, dtype=np.float32)
        values *= np.float32(self.deviation)
        values += np.float32(self.mean)
        if self.kind == Type.BF16:
            return bf16(values)
        return values.astype(np.float16) if self.kind == Type.F16 else values

    def make_blocks(self, random):
        """Quantised blocks, a piece at a time, because a quantiser needs several times their bytes."""
        block, block_bytes = gguf.GGML_QUANT_SIZES[self.kind]
        out = np.empty((math.prod(self.shape) // block, block_bytes), np.uint8)
        for first in range(0, len(out), PIECE_BLOCKS):
            piece = out[first : first + PIECE_BLOCKS]
            piece[:] = QUANTISERS[self.kind](random, len(piece), self.deviation)
        return out


class Constant(Tensor):
    """A tensor of given values, f32."""

    def __init__(self, name, values):
        self.values = np.array(values, np.float32)
        super().__init__(name, self.values.shape, Type.F32, 0)

    def make(self, random):
        return self.values


def matrix(name, rows, columns, kind=Type.Q4_0, gain=1.0):
    """A projection [rows, columns] that keeps the length of a vector, times `gain`."""
    return Tensor(name, (rows, columns), kind, gain / math.sqrt(columns))


def norm(name, size, mean=1.0, deviation=0.05):
    return Tensor(name, (size,), Type.F32, deviation, mean)


# --- Types ---------------------------------------------------------------------------------------


def bf16(values):
    """The upper halves of f32, rounded to the nearest, to even between two."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def random_bytes(random, *shape):
    return np.frombuffer(random.bytes(math.prod(shape)), dtype=np.uint8).reshape(shape)


def scales(random, count, mean):
    """Block scales, f16 as [count, 2] bytes, within a fifth of their mean."""
    values = random.uniform(0.8 * mean, 1.2 * mean, count).astype(np.float16)
    return values.view(np.uint8).reshape(count, 2)


# Codes of a nibble -8 … 7, of which the first becomes 0, so that their mean is 0.
CENTRED_NIBBLES = np.array(
    [(low or 8) | (high or 8) << 4 for high in range(16) for low in range(16)], dtype=np.uint8
)


def q4_0(random, blocks, deviation):
    """Blocks of 32: scale f16, 16 bytes of two codes each, value scale · (code − 8)."""
    out = np.empty((blocks, 18), np.uint8)
    out[:, :2] = scales(random, blocks, deviation / 4.18)  # √(280/16) is the codes' deviation.
    out[:, 2:] = CENTRED_NIBBLES[random_bytes(random, blocks, 16)]
    return out


def q8_0(random, blocks, deviation):
    """Blocks of 32: scale f16, 32 codes i8, value scale · code."""
    out = np.empty((blocks, 34), np.uint8)
    out[:, :2] = scales(random, blocks, deviation / 73.3)  # √(127 · 128 / 3)
    codes = random_bytes(random, blocks, 32)
    out[:, 2:] = np.where(codes == 0x80, 0, codes)  # −128 does not occur.
    return out


def q6_k(random, blocks, deviation):
    """Blocks of 256: 192 bytes of 6-bit codes, 16 scales i8, scale f16."""
    out = np.empty((blocks, 210), np.uint8)
    out[:, :192] = random_bytes(random, blocks, 192)
    out[:, 192:208] = 64 + (random_bytes(random, blocks, 16) & 31)
    # 18.5 is the codes' deviation, 80 the inner scales' mean.
    out[:, 208:] = scales(random, blocks, deviation / (18.5 * 80))
    return out


def paired_six_bits(random, blocks):
    """The 12 bytes of eight scales and eight minima of 6 bits, each minimum equal to its scale."""
    codes = 32 + (random_bytes(random, blocks, 8) & 31)
    low, high = codes[:, :4], codes[:, 4:]
    out = np.empty((blocks, 12), np.uint8)
    out[:, :4] = out[:, 4:8] = low | (high >> 4) << 6
    out[:, 8:] = (high & 15) | (high & 15) << 4
    return out


def k_quant(random, blocks, deviation, bits):
    """q4_K or q5_K, blocks of 256: scale and minimum f16, 12 bytes of inner ones, then the codes.

    The value is inner scale · (scale · code − minimum); with the minimum in the middle of the codes,
    their mean is 0.
    """
    middle = (2**bits - 1) / 2
    # 47.5 is the inner scales' mean; the other factor is the codes' deviation.
    scale = scales(random, blocks, deviation / (47.5 * math.sqrt((4**bits - 1) / 12)))
    minimum = (scale.view(np.float16) * np.float16(middle)).view(np.uint8)
    codes = random_bytes(random, blocks, 32 * bits)
    return np.concatenate([scale, minimum, paired_six_bits(random, blocks), codes], axis=1)


def q4_k(random, blocks, deviation):
    return k_quant(random, blocks, deviation, 4)


def q5_k(random, blocks, deviation):
    return k_quant(random, blocks, deviation, 5)


def iq4_nl(random, blocks, deviation):
    """Blocks of 32: scale f16, 16 bytes of two codes each; 70.5 is the deviation of their values."""
    return np.concatenate(
        [scales(random, blocks, deviation / 70.5), random_bytes(random, blocks, 16)], axis=1
    )


def iq4_xs(random, blocks, deviation):
    """Blocks of 256: scale f16, inner scales of 6 bits from −32 in 6 bytes, codes as in iq4_nl."""
    # 18.5 is the inner scales' deviation.
    scale = scales(random, blocks, deviation / (18.5 * 70.5))
    return np.concatenate([scale, random_bytes(random, blocks, 6 + 128)], axis=1)


QUANTISERS = {
    Type.Q4_0: q4_0,
    Type.Q8_0: q8_0,
    Type.Q4_K: q4_k,
    Type.Q5_K: q5_k,
    Type.Q6_K: q6_k,
    Type.IQ4_NL: iq4_nl,
    Type.IQ4_XS: iq4_xs,
}
FLOATS = {Type.F32: np.float32, Type.F16: np.float16}


# --- Files ---------------------------------------------------------------------------------------


class Vocabulary:
    """The tokenizer's fields of a GGUF file."""

    def __init__(self, path):
        self.path, self.fields = path, gguf.GGUFReader(path).fields

    def field(self, name):
        key = f"tokenizer.ggml.{name}"
        if key not in self.fields:
            sys.exit(f"{self.path}: no {key}; give --tokenizer a Gemma 3 GGUF file")
        return self.fields[key].contents()

    def check_size(self, size):
        count = len(self.field("tokens"))
        if count < size:
            sys.exit(f"{self.path}: {count} tokens where at least {size} are needed")


def add_special_tokens(writer):
    """The special tokens that all Gemma vocabularies share."""
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)


def add_tensor_info(writer, tensor):
    if tensor.kind in FLOATS:
        kind = np.dtype(FLOATS[tensor.kind])
        writer.add_tensor_info(tensor.name, tensor.shape, kind, tensor.byte_count)
    else:
        block, block_bytes = gguf.GGML_QUANT_SIZES[tensor.kind]
        row_bytes = tensor.shape[-1] // block * block_bytes
        shape, kind = (*tensor.shape[:-1], row_bytes), np.dtype(np.uint8)
        writer.add_tensor_info(tensor.name, shape, kind, tensor.byte_count, raw_dtype=tensor.kind)


def write_model(path, architecture, add_metadata, tensors, seed):
    """Writes a model; `add_metadata` adds settings and tokenizer to the writer it is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    random = np.random.Generator(np.random.SFC64(seed))
    writer = gguf.GGUFWriter(partial, architecture)
    add_metadata(writer)
    for tensor in tensors:
        add_tensor_info(writer, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in tensors:
        data = tensor.make(random)
        assert data.nbytes == tensor.byte_count, (tensor.name, data.nbytes, tensor.byte_count)
        writer.write_tensor_data(data)
    writer.close()
    partial.rename(path)
    print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes")
