"""Quantizing with llama.cpp, and what it needs: an f32 source made of a quantized model, and importance data."""

import ctypes
import sys
import time
from collections import Counter

from llamacpp_common import CACHE, fetch_model

F32_NAME = "gemma-3-270m-blurred-f32.gguf"

# How far a weight is off after rounding to a type, as a share of the weights' root mean square: about what
# scripts/check-quantized-files finds for matrices that are no type's own.
ROUNDING = {"Q4_K": 0.066, "Q5_0": 0.039, "Q6_K": 0.018, "Q8_0": 0.005}

# What llama.cpp is asked for: its ftype (enum llama_ftype), and whether every matrix gets that type ("pure").
RECIPES = {
    "q4_0-pure": ("Q4_0", True),
    "q4_0": ("Q4_0", False),
    "q4_k-pure": ("Q4_K_S", True),
    "q4_k_m": ("Q4_K_M", False),
    "iq4_nl-pure": ("IQ4_NL", True),
    "q5_k-pure": ("Q5_K_S", True),
    "q6_k-pure": ("Q6_K", True),
    "q8_0-pure": ("Q8_0", True),
}


def f32_source():
    """The real model of 270 million weights with each tensor in f32 and all metadata; made if absent.

    The only source at hand is its Q4_K_M file, whose weights lie on the grids of its types: whoever chooses the same
    types again loses nothing. So each weight is moved by as much as rounding has moved it before, at random (seeded).
    The model stays what it was, but for the same error once more, and no type fits it by construction.
    """
    target = CACHE / F32_NAME
    if not target.exists():
        print(f"making {target} (1.1 GB)", file=sys.stderr)
        dequantize(fetch_model(), target)
    return target


def blurred(values, kind, random):
    """The values of a tensor as they may have been before they were rounded to a type."""
    import numpy

    deviation = ROUNDING.get(kind, 0) * float(numpy.sqrt(numpy.mean(numpy.square(values, dtype="f8"))))
    return values + numpy.float32(deviation) * random.standard_normal(values.shape, dtype="f4")


def dequantize(source, target):
    """Writes a GGUF file again with each tensor in f32, blurred, and all metadata but the type it is quantized to."""
    import gguf
    import numpy

    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    partial = target.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, architecture)
    dropped = {"general.architecture", "general.file_type", "general.quantization_version"}
    for key, field in reader.fields.items():
        if key in dropped or key.startswith(("GGUF.", "quantize.")):
            continue
        kind = field.types[0]
        element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), kind, element)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        writer.add_tensor_info(tensor.name, shape, numpy.dtype("f4"), 4 * int(tensor.n_elements))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = numpy.random.Generator(numpy.random.SFC64(1))
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        writer.write_tensor_data(blurred(values, tensor.tensor_type.name, random))
    writer.close()
    partial.rename(target)


def read_importance(path):
    """The mean squares of the inputs' columns by the tensor's name, from a GGUF file of importance data."""
    import gguf
    import numpy

    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    means = {}
    for name, sums in tensors.items():
        if not name.endswith(".in_sum2"):
            continue
        name = name.removesuffix(".in_sum2")
        counts = tensors[f"{name}.counts"].reshape(-1, 1)
        rows = sums.reshape(len(counts), -1)
        # As llama-quantize has it: a matrix that met no row weighs all columns alike.
        means[name] = numpy.where(counts > 0, rows / numpy.maximum(counts, 1), 1).astype("f4").ravel()
    return means


def quantize(source, target, ftype, pure=False, importance=None, threads=1, types=None):
    """Quantizes a GGUF file with llama.cpp and returns the seconds that took.

    `importance` has mean squares by name; `types` the type of each tensor whose name a pattern matches (a
    regular expression, as of llama-quantize's --tensor-type).
    """
    import gguf
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{ftype}")
    params.nthread = threads
    params.pure = pure
    # The arrays that llama.cpp reads end with an entry without a name; they live until the call returns.
    if importance:
        entries = (llama_cpp.llama_model_imatrix_data * (len(importance) + 1))()
        for entry, (name, means) in zip(entries, importance.items()):
            entry.name = name.encode()
            entry.data = means.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            entry.size = len(means)
        params.imatrix = entries
    if types:
        overrides = (llama_cpp.llama_model_tensor_override * (len(types) + 1))()
        for override, (pattern, name) in zip(overrides, types.items()):
            override.pattern = pattern.encode()
            override.type = int(gguf.GGMLQuantizationType[name.upper()])
        params.tt_overrides = overrides
    began = time.monotonic()
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), params) != 0:
        sys.exit(f"llama.cpp cannot quantize {source} to {ftype}")
    return time.monotonic() - began


def tensor_types(path):
    """The type of each tensor of a GGUF file."""
    import gguf

    return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}


def told_types(types):
    """How many tensors have which type: "126 Q4_0, 37 F32"."""
    counts = Counter(types.values()).most_common()
    return ", ".join(f"{count} {name}" for name, count in counts)
