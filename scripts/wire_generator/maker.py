"""Writes Tests/WireTests/Generated: random values of every message, for round trips and fuzzing."""

from wire_generator.fields import FieldCoder
from wire_generator.schema import Field, lower_first
from wire_generator.swift import HEADER, escaped, properties


class MakerWriter:
    """The file of one schema."""

    def __init__(self, schema):
        self.schema = schema
        self.coder = FieldCoder(schema)

    def files(self):
        bodies = self.schema.bodies
        every = ",\n".join(
            f"      .{body.swift_name}({lower_first(body.proto_type)}())" for body in bodies
        )
        parts = []
        for section in self.schema.sections:
            for message in section.messages:
                if not message.is_inline:
                    parts.append(self.message(message))
                    parts += [self.oneof(oneof) for oneof in message.oneofs]
        text = f"""{HEADER}// Messages with random content; MessageMaker.swift makes what they hold.

import Wire

extension MessageMaker {{
  /// A message of each kind, in the order of the protocol.
  mutating func everyMessage() -> [Message] {{
    [
{every},
    ]
  }}
}}

extension MessageMaker {{
""" + "\n\n".join(parts) + "\n}\n"
        return {"MessageMaker+Messages.swift": text}

    def message(self, message):
        name = message.name
        # A value that bounds another one is made before it, and only once.
        bounds = {
            limit.removeprefix("self.")
            for field in message.fields
            if (limit := field.tags.get("limit") or "").startswith("self.")
        }
        lines, arguments = [], []
        for item in properties(self.coder, message):
            value = self.random(item)
            if isinstance(item.first, Field) and item.first.name in bounds:
                lines.append(f"    let {item.name} = {value}")
                value = item.name
            arguments.append(f"{item.name}: {value}")
        result = "return " if lines else ""
        lines.append(f"    {result}{name}({', '.join(arguments)})")
        head = f"  mutating func {lower_first(name)}() -> {name} {{"
        return "\n".join([head, *lines, "  }"])

    def random(self, item):
        if len(item.members) == 2:
            return f"range(Limits.{item.first.tags['limit']})"
        if not isinstance(item.first, Field):
            return f"{lower_first(item.swift_type)}()"
        return item.code.random.format(maker="")

    def oneof(self, oneof):
        cases = [".none"] if oneof.is_optional else []
        for field in oneof.fields:
            label = f"{field.tags['label']}: " if "label" in field.tags else ""
            value = self.coder.code(field).random.format(maker="")
            payload = "" if field.proto_type == "bool" else f"({label}{value})"
            cases.append(f".{escaped(field.swift_name)}{payload}")
        last = len(cases) - 1
        lines = [
            f"    {f'case {index}' if index < last else 'default'}: {case}"
            for index, case in enumerate(cases)
        ]
        return "\n".join(
            [
                f"  mutating func {lower_first(oneof.type)}() -> {oneof.type} {{",
                f"    switch Int.random(in: 0..<{len(cases)}, using: &random) {{",
                *lines,
                "    }",
                "  }",
            ]
        )
