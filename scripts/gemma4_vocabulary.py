"""The vocabulary of Gemma 4, derived from that of Gemma 3: other names of some tokens, other types, and
merges in the place of scores. The result is the published one, token for token and merge for merge.
"""

from gguf import TokenType
from synthetic_common import Vocabulary

# Tokens that Gemma 4 names differently. Clients see those of the second group in answers.
CONTROL = {
    46: "<|tool>",
    47: "<tool|>",
    98: "<|think|>",
    105: "<|turn>",
    106: "<turn|>",
    255_999: "<|image>",
    256_000: "<|audio>",
    258_880: "<|image|>",
    258_881: "<|audio|>",
    258_882: "<image|>",
    258_883: "<audio|>",
    258_884: "<|video|>",
}
VISIBLE = {
    48: "<|tool_call>",
    49: "<tool_call|>",
    50: "<|tool_response>",
    51: "<tool_response|>",
    52: '<|"|>',
    100: "<|channel>",
    101: "<channel|>",
}
FIRST_CONTROL = range(5)  # padding, end, begin, unknown, mask
# Gemma 3's own, which become unused ones.
GONE = {
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<end_of_image>",
    "<image_soft_token>",
}
SPACE = "\u2581"


class Gemma4Vocabulary:
    """Tokens, types and merges of the first `size` tokens."""

    def __init__(self, path, size):
        source = Vocabulary(path)
        source.check_size(size)
        if source.field("model") == "gemma4":
            self.tokens, self.types = source.field("tokens"), source.field("token_type")
            self.merges = source.field("merges")
        else:
            self._derive(source)
        if len(self.tokens) > size:
            self._shorten(size)

    def _derive(self, source):
        kinds = source.field("token_type")
        self.tokens = named(source.field("tokens"))
        self.types = [type_of(index, kind) for index, kind in enumerate(kinds)]
        scores = [
            score if kind == TokenType.NORMAL else 0.0
            for kind, score in zip(kinds, source.field("scores"))
        ]
        self.merges = merges_of(self.tokens, self.types, scores)

    def _shorten(self, size):
        self.tokens, self.types = self.tokens[:size], self.types[:size]
        known = set(self.tokens)

        def is_known(merge):
            left, right = merge.split(" ")
            return left in known and right in known and left + right in known

        self.merges = [merge for merge in self.merges if is_known(merge)]


def named(old):
    """Gemma 4's names; unused tokens are counted anew, and spaces are written as they are merged."""
    names, unused = {**CONTROL, **VISIBLE}, 0
    tokens = []
    for index, token in enumerate(old):
        if index in names:
            token = names[index]
        elif token.startswith("<unused") or token in GONE:
            token = f"<unused{unused}>"
            unused += 1
        tokens.append(token.replace(" ", SPACE))
    return tokens


def type_of(index, kind):
    if kind == TokenType.BYTE:
        return TokenType.BYTE
    if index in FIRST_CONTROL or index in CONTROL:
        return TokenType.CONTROL
    return TokenType.USER_DEFINED if index in VISIBLE else TokenType.NORMAL


def merges_of(tokens, types, scores):
    """Every pair of tokens that makes another, by that one's score; of the same score, longer left
    parts first, then longer right ones, then in the order of the tokens and of their pairs."""
    ids = {token: index for index, token in enumerate(tokens)}
    found = []
    for token, kind, score in zip(tokens, types, scores):
        if kind != TokenType.NORMAL:
            continue
        splits = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        pairs = [(ids[left], ids[right]) for left, right in splits if left in ids and right in ids]
        for left, right in sorted(pairs):
            left, right = tokens[left], tokens[right]
            found.append((-score, -len(left), -len(right), f"{left} {right}"))
    found.sort(key=lambda merge: merge[:3])  # A stable sort.
    return [merge for *_, merge in found]
