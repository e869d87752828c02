#!/usr/bin/env python3
"""Makes the golden values of this directory: what the reference tokenizers do with strings.json.

  make.py --gemma3-270m gemma-3-270m-q4_k_m.gguf

needs, from PyPI, llama-cpp-python, gguf, tokenizers and jinja2. PROVENANCE.md says which versions.
"""

import argparse
import ctypes
import json
from pathlib import Path

import gguf
import jinja2
import llama_cpp
import tokenizers

HERE = Path(__file__).resolve().parent
DEMO = HERE.parents[2] / "demo-model"

# The template of Gemma 3, for text alone.
GEMMA3_TEMPLATE = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {{- message['content'] | trim }}
    {{- '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<start_of_turn>model\\n' }}
{%- endif -%}
"""

CONVERSATIONS = [
    [("user", "Hello")],
    [("user", "  Hello, world! \n\n")],
    [("user", "Who art thou?"), ("assistant", "A king."), ("user", "Of what?")],
    [("system", "Answer in verse."), ("user", "What is night?")],
    [("system", "  Keep my spaces. "), ("user", "\tyes\r\n"), ("assistant", " no "), ("user", "")],
    [("user", "\u00a0\u2003\x1c\x1f\x85\u3000 trimmed \u2028\u200b\u2029")],
    [("user", "x" * 300), ("assistant", "y\n" * 40), ("user", "Zo\u00eb \u738b \U0001f451")],
    [("user", "one\n\n\ntwo  three"), ("assistant", "four")],
]


def cases(strings, encode):
    result = []
    for text in strings:
        case = {"text": text, "ids": encode(text, False)}
        special = encode(text, True)
        if special != case["ids"]:
            case["special"] = special
        result.append(case)
    return result


def write(name, reference, value):
    lines = ",\n".join(json.dumps(case) for case in value)
    (HERE / name).write_text(
        '{"reference": %s,\n"cases": [\n%s\n]}\n' % (json.dumps(reference), lines)
    )


def llama(path, strings):
    """What llama.cpp makes of the strings."""
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    vocab = llama_cpp.llama_model_get_vocab(model)

    def encode(text, special):
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 16))()
        count = llama_cpp.llama_tokenize(vocab, data, len(data), ids, len(ids), False, special)
        assert count >= 0, count
        return list(ids[:count])

    return cases(strings, encode)


def demo(strings):
    """What Hugging Face's tokenizers make of the strings with the demo model's tokenizer.json."""
    parse = tokenizers.Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    plain = tokenizers.Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    plain.encode_special_tokens = True

    def encode(text, special):
        return (parse if special else plain).encode(text, add_special_tokens=False).ids

    result = cases(strings, encode)
    for case in result:
        case["decoded"] = parse.decode(case["ids"], skip_special_tokens=False)
    return result


def chat():
    """What jinja2 and Hugging Face's tokenizers make of conversations."""
    tokenizer = tokenizers.Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    config = json.loads((DEMO / "tokenizer_config.json").read_text())
    environment = jinja2.Environment()
    result = []
    for conversation in CONVERSATIONS:
        messages = [{"role": role, "content": content} for role, content in conversation]
        for starts_reply in (True, False):
            rendered = [
                environment.from_string(source).render(
                    messages=messages, bos_token="<bos>", add_generation_prompt=starts_reply
                )
                for source in (config["chat_template"], GEMMA3_TEMPLATE)
            ]
            assert rendered[0] == rendered[1], rendered
            ids = tokenizer.encode(rendered[0], add_special_tokens=False).ids
            result.append(
                {
                    "messages": messages,
                    "starts_reply": starts_reply,
                    "rendered": rendered[0],
                    "ids": ids,
                }
            )
    return result


def small_vocabulary(path, space_prefix):
    """A small SentencePiece vocabulary with what the large one lacks: equal scores, overlapping
    user-defined tokens, a character only inside a longer token, spaces put before the text."""
    model = json.loads((DEMO / "tokenizer.json").read_text())["model"]
    rank = {}
    for index, (left, right) in enumerate(model["merges"]):
        rank.setdefault(left + right, index)
    types = gguf.TokenType
    tokens = []
    for text, token in sorted(model["vocab"].items(), key=lambda item: item[1]):
        if token < 7:
            kind, score = (types.UNKNOWN if text == "<unk>" else types.CONTROL), 0.0
        elif token < 263:
            kind, score = types.BYTE, 0.0
        else:
            # Thirds: neighbours in rank have equal scores.
            kind, score = types.NORMAL, -float(rank.get(text, 10000) // 3)
        tokens.append((text, score, kind))
    known = {text for text, _, _ in tokens}
    for text in ["\n\n\n", "   ", "<b>", "</b>", "abc", "bcde", "xyz"]:
        if text not in known:
            tokens.append((text, -1000.0, types.USER_DEFINED))
    for text in ["\u738b\u738b", "\u03b1\u03b2", "\u03b1\u03b2\u03b3", "king;"]:
        if text not in known:
            tokens.append((text, -5.0, types.NORMAL))
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _, _ in tokens])
    writer.add_token_scores([score for _, score, _ in tokens])
    writer.add_token_types([int(kind) for _, _, kind in tokens])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(space_prefix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gemma3-270m", metavar="GGUF", help="also make gemma3-270m.json")
    options = parser.parse_args()
    strings = json.loads((HERE / "strings.json").read_text())
    llama_version = f"llama.cpp through llama-cpp-python {llama_cpp.__version__}"
    for name, space_prefix in (("small", False), ("small-prefixed", True)):
        small_vocabulary(HERE / f"{name}.gguf", space_prefix)
        write(f"{name}.json", llama_version, llama(HERE / f"{name}.gguf", strings))
    write("demo-model.json", f"tokenizers {tokenizers.__version__}", demo(strings))
    versions = f"jinja2 {jinja2.__version__}, tokenizers {tokenizers.__version__}"
    write("chat.json", versions, chat())
    if options.gemma3_270m:
        write("gemma3-270m.json", llama_version, llama(options.gemma3_270m, strings))


main()
