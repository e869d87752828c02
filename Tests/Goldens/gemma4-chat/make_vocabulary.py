#!/usr/bin/env python3
"""Makes Gemma 4's vocabulary from that of Gemma 3, and the part of it that the golden texts need.

  make_vocabulary.py gemma-3-270m-q4_k_m.gguf [--whole FILE]

writes vocabulary.gguf: the special tokens, the bytes, and each token that occurs in a text of tokens.json or
chat.json, with all merges among them. No text of these has any other pair of pieces, so their tokens are those
of the whole vocabulary; `test.original_ids` holds their ids there. --whole writes the whole vocabulary, too.

Both files say that no begin token is added, as the first published ones do. Needs gguf and numpy from PyPI.
PROVENANCE.md says which versions.
"""

import argparse
import json
from pathlib import Path

from gguf import GGUFReader, GGUFWriter

HERE = Path(__file__).resolve().parent
SPACE = "\u2581"
NORMAL, CONTROL, VISIBLE, BYTE = 1, 3, 4, 6
# The names that differ from Gemma 3's: control tokens, and those that programs look for in text.
CONTROL_NAMES = {
    46: "<|tool>", 47: "<tool|>", 98: "<|think|>", 105: "<|turn>", 106: "<turn|>",
    255999: "<|image>", 256000: "<|audio>", 258880: "<|image|>", 258881: "<|audio|>",
    258882: "<image|>", 258883: "<audio|>", 258884: "<|video|>",
}
VISIBLE_NAMES = {
    48: "<|tool_call>", 49: "<tool_call|>", 50: "<|tool_response>", 51: "<tool_response|>",
    52: '<|"|>', 100: "<|channel>", 101: "<channel|>",
}
GONE = {"<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"}


def gemma3(path):
    """The tokens, types and scores of a Gemma 3 file."""
    fields = GGUFReader(path).fields

    def values(name):
        return fields[f"tokenizer.ggml.{name}"].contents()

    return values("tokens"), values("token_type"), values("scores")


def gemma4(old, kinds, scores):
    """The tokens, types and merges of Gemma 4."""
    tokens, unused = [], 0
    for index, token in enumerate(old):
        name = CONTROL_NAMES.get(index) or VISIBLE_NAMES.get(index)
        if name is None and (token.startswith("<unused") or token in GONE):
            name, unused = f"<unused{unused}>", unused + 1
        tokens.append((name or token).replace(" ", SPACE))
    types = [
        BYTE if kinds[index] == BYTE
        else CONTROL if index < 5 or index in CONTROL_NAMES
        else VISIBLE if index in VISIBLE_NAMES
        else NORMAL
        for index in range(len(tokens))
    ]
    ids = {token: index for index, token in enumerate(tokens)}
    merges = []
    for index, token in enumerate(tokens):
        if types[index] != NORMAL:
            continue
        # What Gemma 3 cuts out whole has no score.
        score = scores[index] if kinds[index] == NORMAL else 0.0
        cuts = [cut for cut in range(1, len(token)) if token[:cut] in ids and token[cut:] in ids]
        cuts.sort(key=lambda cut: (ids[token[:cut]], ids[token[cut:]]))
        merges += [(score, cut, len(token) - cut, token) for cut in cuts]
    # The best score first, then the longer left part; the sort is stable.
    merges.sort(key=lambda merge: merge[:3], reverse=True)
    return tokens, types, [(token[:cut], token[cut:]) for _, cut, _, token in merges]


def write(path, tokens, types, merges, original_ids=None):
    """Writes a GGUF file that holds nothing but a vocabulary."""
    ids = {token: index for index, token in enumerate(tokens)}
    writer = GGUFWriter(path, "gemma4")
    writer.add_tokenizer_model("gemma4")
    writer.add_token_list(tokens)
    writer.add_token_scores([-1000.0] * len(tokens))
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(ids["<bos>"])
    writer.add_eos_token_id(ids["<eos>"])
    writer.add_unk_token_id(ids["<unk>"])
    writer.add_pad_token_id(ids["<pad>"])
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    if original_ids is not None:
        writer.add_array("test.original_ids", original_ids)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def golden_texts():
    """All texts whose tokens are compared, with spaces as the vocabulary writes them."""
    cases = json.loads((HERE / "tokens.json").read_text())["cases"]
    texts = {case["text"] for case in cases}
    for case in json.loads((HERE / "chat.json").read_text())["cases"]:
        texts |= {case["text_e2b"], case["text_31b"]}
    return {text.replace(" ", SPACE) for text in texts}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gemma3")
    parser.add_argument("--whole")
    options = parser.parse_args()
    tokens, types, merges = gemma4(*gemma3(options.gemma3))
    if options.whole:
        write(options.whole, tokens, types, merges)
    longest = max(len(token) for token in tokens)
    parts = set()
    for text in golden_texts():
        for start in range(len(text)):
            parts |= {text[start:end] for end in range(start + 1, min(start + longest, len(text)) + 1)}
    kept = [
        index for index, token in enumerate(tokens)
        if types[index] != NORMAL or token in parts
    ]
    names = {tokens[index] for index in kept if types[index] == NORMAL}
    write(
        HERE / "vocabulary.gguf",
        [tokens[index] for index in kept],
        [types[index] for index in kept],
        [(left, right) for left, right in merges if left + right in names],
        kept,
    )
    print(f"{len(tokens)} tokens, {len(merges)} merges; kept {len(kept)}")


if __name__ == "__main__":
    main()
