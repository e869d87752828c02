"""Reads proto/trestle.proto: messages, enums, comments and annotations, as plain values.

Reads the part of the language that the file keeps to: one declaration a line. Anything else is refused
with its line, so that nothing in the file is silently without effect.
"""

import re
from dataclasses import dataclass, field


class SchemaError(Exception):
    """Something in the .proto that cannot be generated from."""

    def __init__(self, line, message):
        super().__init__(f"line {line}: {message}")


@dataclass
class Field:
    """A field of a message. `tags` are its annotations: name to argument, or to None without one."""

    message: str
    name: str
    proto_type: str
    number: int
    is_repeated: bool
    doc: str
    tags: dict
    line: int

    @property
    def swift_name(self):
        return camel_case(self.name)

    @property
    def label(self):
        """The name of the field in errors: `Hello.dataEndpoint`."""
        return f"{self.message}.{self.swift_name}"


@dataclass
class Oneof:
    """Fields of which a message has one: `type` is the Swift enum."""

    message: str
    name: str
    doc: str
    tags: dict
    line: int
    fields: list = field(default_factory=list)

    @property
    def swift_name(self):
        return camel_case(self.name)

    @property
    def type(self):
        if not self.tags.get("type"):
            raise SchemaError(self.line, f"{self.name} needs @type(NAME)")
        return self.tags["type"]

    @property
    def is_optional(self):
        return "optional" in self.tags


@dataclass
class Message:
    """A message; `members` are its fields and oneofs in their order."""

    name: str
    doc: str
    tags: dict
    line: int
    members: list = field(default_factory=list)

    @property
    def fields(self):
        return [member for member in self.members if isinstance(member, Field)]

    @property
    def oneofs(self):
        return [member for member in self.members if isinstance(member, Oneof)]

    @property
    def is_inline(self):
        return "inline" in self.tags


@dataclass
class Enum:
    """An enum; `cases` are (Swift name, number, documentation), without the value 0."""

    name: str
    doc: str
    cases: list = field(default_factory=list)


@dataclass
class Section:
    """A part of the file; its name is that of the Swift file."""

    title: str
    text: str
    messages: list = field(default_factory=list)
    enums: list = field(default_factory=list)
    # Both of them, in the order of the .proto.
    declarations: list = field(default_factory=list)

    @property
    def file_name(self):
        return "".join(word.capitalize() for word in self.title.split())


@dataclass
class Schema:
    """A whole .proto."""

    version: int
    envelope: Message
    sections: list
    messages: dict
    enums: dict

    @property
    def bodies(self):
        """The fields of the Envelope's oneof: one for each message that is sent."""
        return self.envelope.oneofs[0].fields


def camel_case(name):
    """Turns `data_endpoint` and `HAND_OFF` into `dataEndpoint` and `handOff`."""
    first, *rest = name.lower().split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def lower_first(name):
    """Turns `TokenList` into `tokenList`, `KVRows` into `kvRows`."""
    head = re.match(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]", name)[0]
    return head.lower() + name[len(head):]


# Which annotations are allowed where. fields.py checks whether they fit a field's type.
FIELD_TAGS = {
    "limit", "range", "token", "nonfinite", "text", "prose", "bytes", "digest", "identity", "key",
    "optional", "count", "label", "default",
}
ONEOF_TAGS = {"type", "optional"}
MESSAGE_TAGS = {"inline", "request"}

TAG = re.compile(r"@(\w+)(?:\(([\w.]+)\))?")
FIELD = re.compile(r"(repeated )?(\w+) (\w+) = (\d+);(?:\s*// ?(.*))?$")
ENUM_VALUE = re.compile(r"([A-Z0-9_]+) = (\d+);(?:\s*// ?(.*))?$")


def split_comment(text, allowed, line):
    """Returns a comment's text without its annotations, and the annotations."""
    tags = {}
    for name, argument in TAG.findall(text):
        if name not in allowed:
            raise SchemaError(line, f"the annotation @{name} is not allowed here")
        if name in tags:
            raise SchemaError(line, f"the annotation @{name} is given twice")
        tags[name] = argument or None
    lines = [" ".join(part.split()) for part in TAG.sub("", text).split("\n")]
    return "\n".join(part for part in lines if part), tags


class Parser:
    """One pass over the lines; `comment` holds comment lines until the declaration that they precede."""

    def __init__(self, text):
        self.lines = text.split("\n")
        self.at = 0
        self.comment = []
        self.sections = []
        self.envelope = None
        self.version = None

    def fail(self, message):
        raise SchemaError(self.at, message)

    def next(self):
        """Returns the next line that is not a comment, or None; keeps the comments before it."""
        while self.at < len(self.lines):
            line = self.lines[self.at].strip()
            self.at += 1
            if line.startswith("//"):
                self.comment.append(line[2:].strip())
            elif line:
                return line
            else:
                self.end_block()
        return None

    def end_block(self):
        """Handles a comment without a declaration below it: it begins a section or describes the file."""
        if self.comment and self.comment[0].startswith("## "):
            title, *text = self.comment
            self.sections.append(Section(title[3:], " ".join(text)))
        self.comment = []

    def take_comment(self, trailing=None):
        lines = self.comment + ([trailing] if trailing else [])
        self.comment = []
        return "\n".join(lines)

    def parse(self):
        while (line := self.next()) is not None:
            if match := re.fullmatch(r"message (\w+) \{(\})?", line):
                self.message(match[1], is_empty=match[2] is not None)
            elif match := re.fullmatch(r"enum (\w+) \{", line):
                self.enum(match[1])
            elif not re.fullmatch(r'syntax = "proto3";|package trestle;', line):
                self.fail(f"cannot read {line!r}")
        if self.envelope is None or self.version is None or len(self.envelope.oneofs) != 1:
            self.fail("there is no message Envelope with a @version and one oneof")
        messages = {item.name: item for section in self.sections for item in section.messages}
        enums = {item.name: item for section in self.sections for item in section.enums}
        return Schema(self.version, self.envelope, self.sections, messages, enums)

    def message(self, name, is_empty):
        doc, tags = split_comment(self.take_comment(), MESSAGE_TAGS, self.at)
        message = Message(name, doc, tags, self.at)
        if not is_empty:
            self.members(message)
        if name == "Envelope":
            self.envelope = message
        else:
            self.declare(message)

    def declare(self, item):
        if not self.sections:
            self.fail(f"{item.name} stands before the first section, a comment `## Title`")
        section = self.sections[-1]
        (section.messages if isinstance(item, Message) else section.enums).append(item)
        section.declarations.append(item)

    def members(self, message):
        oneof = None
        while (line := self.next()) != "}" or oneof is not None:
            if line is None:
                self.fail(f"{message.name} has no end")
            if line == "}":
                oneof = None
            elif match := re.fullmatch(r"oneof (\w+) \{(?:\s*// ?(.*))?", line):
                doc, tags = split_comment(self.take_comment(match[2]), ONEOF_TAGS, self.at)
                oneof = Oneof(message.name, match[1], doc, tags, self.at)
                message.members.append(oneof)
            elif match := FIELD.fullmatch(line):
                (oneof.fields if oneof else message.members).append(self.field(message, match))
            else:
                self.fail(f"cannot read {line!r}")
        self.comment = []

    def field(self, message, match):
        is_repeated, proto_type, name, number, trailing = match.groups()
        allowed = FIELD_TAGS
        if message.name == "Envelope" and name == "version":
            allowed = {"version"}
        doc, tags = split_comment(self.take_comment(trailing), allowed, self.at)
        if "version" in tags:
            self.version = int(tags["version"])
        return Field(
            message.name, name, proto_type, int(number), is_repeated is not None, doc, tags, self.at
        )

    def enum(self, name):
        doc, _ = split_comment(self.take_comment(), set(), self.at)
        enum = Enum(name, doc)
        prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() + "_"
        while (line := self.next()) != "}":
            match = ENUM_VALUE.fullmatch(line or "")
            if not match or not match[1].startswith(prefix):
                self.fail(f"{name} has no end or no value {prefix}… here: {line!r}")
            case, number = match[1][len(prefix):], int(match[2])
            if (case == "UNSPECIFIED") != (number == 0):
                self.fail(f"the value 0 of {name} must be {prefix}UNSPECIFIED")
            case_doc, _ = split_comment(self.take_comment(match[3]), set(), self.at)
            if number != 0:
                enum.cases.append((camel_case(case), number, case_doc))
        self.declare(enum)


def parse(text):
    """Reads a .proto.

    Raises SchemaError with the line of what cannot be read.
    """
    return Parser(text).parse()
