"""How each kind of field is written in Swift: its type, its coding both ways, a random value.

The functions named here are in Sources/Wire/Packer.swift, Sources/Wire/Unpack.swift and
Tests/WireTests/MessageMaker.swift.
"""

from dataclasses import dataclass

from wire_generator.schema import SchemaError, camel_case, lower_first


@dataclass(frozen=True)
class Code:
    """Swift for one field.

    `pack` is an expression over {value}, `unpack` one over {c}, the field of protobuf-c's struct, and for
    lists {count}; `random` one over {maker}, which is empty or `$0.`. `zero` is what @default stands for.
    """

    swift_type: str
    pack: str
    unpack: str
    can_throw: bool
    zero: str
    random: str

    @property
    def is_list(self):
        return "{count}" in self.unpack


PLAIN_TYPES = {
    "uint32": "UInt32", "uint64": "UInt64", "fixed64": "UInt64", "int32": "Int32", "bool": "Bool",
    "double": "Double", "float": "Float",
}


def checked(swift_type, function, label, zero, random, pack_arguments="", unpack_arguments=None):
    """Code of a value that a function of Packer and one of Unpack check, both of the same name."""
    if unpack_arguments is None:
        unpack_arguments = pack_arguments
    return Code(
        swift_type,
        f'packer.{function}({{value}}, "{label}"{pack_arguments})',
        f'Unpack.{function}({{c}}, "{label}"{unpack_arguments})',
        True,
        zero,
        "{maker}" + random,
    )


def checked_list(swift_type, function, label, arguments, random):
    """Code of a list that a function of Packer and one of Unpack check."""
    return Code(
        f"[{swift_type}]",
        f'packer.{function}({{value}}, "{label}", {arguments})',
        f'Unpack.{function}({{count}}, {{c}}, "{label}", {arguments})',
        True,
        "[]",
        random,
    )


class FieldCoder:
    """Chooses the code of fields, and refuses annotations that their types do not have."""

    def __init__(self, schema):
        self.schema = schema

    def code(self, field):
        """Returns the Swift for a field, a list's included.

        Raises SchemaError for an annotation that is missing, or that would have no effect.
        """
        left = dict(field.tags)
        for tag in ("default", "label", "range"):
            left.pop(tag, None)
        if field.is_repeated:
            code = self.list_code(field, left)
        else:
            code = self.single_code(field, left)
        if left:
            raise SchemaError(
                field.line, f"@{next(iter(left))} has no meaning for {field.proto_type} {field.name}"
            )
        return code

    def bound_code(self, field):
        """Code of one end of a range."""
        code = self.code(field)
        if code.swift_type != "Int":
            raise SchemaError(field.line, "@range needs two uint32 with the same @limit")
        return code

    def range_unpack(self, first, end):
        """An expression that reads a half-open range from two fields."""
        limit = first.tags.get("limit")
        if end.tags.get("limit") != limit or limit is None:
            raise SchemaError(first.line, "@range needs two uint32 with the same @limit")
        return (
            f'Unpack.range(c.{first.name}, "{first.label}", c.{end.name}, "{end.label}", '
            f"limit: Limits.{limit})"
        )

    def argument(self, field, tags, name):
        """Removes an annotation and returns its argument, which is required."""
        value = tags.pop(name)
        if value is None:
            raise SchemaError(field.line, f"@{name} needs an argument: @{name}(LIMIT)")
        return value

    def single_code(self, field, tags):
        label, proto_type = field.label, field.proto_type
        if proto_type == "uint32" and "limit" in tags:
            limit = f"Limits.{self.argument(field, tags, 'limit')}"
            return checked("Int", "integer", label, "0", f"integer({limit})", f", limit: {limit}")
        if proto_type == "uint64" and "limit" in tags:
            return self.size_code(field, tags)
        if proto_type == "int32" and "token" in tags:
            del tags["token"]
            return checked("Int32", "token", label, "0", "number(0 ... .max)")
        if proto_type in ("double", "float"):
            swift_type = PLAIN_TYPES[proto_type]
            if "nonfinite" not in tags:
                return checked(swift_type, "finite", label, "0", f"{proto_type}()")
            del tags["nonfinite"]
            random = f"{{maker}}{proto_type}(infinite: true)"
            return Code(swift_type, "{value}", "{c}", False, "0", random)
        if proto_type == "bool":
            return Code("Bool", "{value} ? 1 : 0", "{c} != 0", False, "false", "{maker}coin()")
        if proto_type in PLAIN_TYPES:
            random = "{maker}number(.min ... .max)"
            return Code(PLAIN_TYPES[proto_type], "{value}", "{c}", False, "0", random)
        if proto_type == "bytes":
            return self.bytes_code(field, tags)
        if proto_type in self.schema.enums:
            return Code(
                proto_type,
                f"Trestle__{proto_type}({{value}}.rawValue)",
                f'Unpack.enumeration({{c}}.rawValue, "{label}")',
                True,
                "",
                f"{{maker}}value(of: {proto_type}.self)",
            )
        if proto_type in self.schema.messages:
            return self.message_code(field, tags)
        raise SchemaError(field.line, f"{proto_type} has no Swift type here")

    def size_code(self, field, tags):
        """A uint64 with a limit, a constant or another field of the message."""
        limit = self.argument(field, tags, "limit")
        if limit.startswith("self."):
            other = limit.removeprefix("self.")
            pack, unpack, random = camel_case(other), f"c.{other}", camel_case(other)
        else:
            pack = unpack = random = f"Limits.{limit}"
        return checked(
            "UInt64", "size", field.label, "0", f"number(0...{random})", f", limit: {pack}",
            f", limit: {unpack}",
        )

    def bytes_code(self, field, tags):
        label = field.label
        if "text" in tags:
            limit = f"Limits.{self.argument(field, tags, 'text')}"
            return checked("String", "text", label, '""', f"text({limit})", f", limit: {limit}")
        if "bytes" in tags:
            limit = f"Limits.{self.argument(field, tags, 'bytes')}"
            return checked("[UInt8]", "bytes", label, "[]", f"bytes({limit})", f", limit: {limit}")
        if "prose" in tags:
            del tags["prose"]
            limit = "Limits.proseBytes"
            return Code(
                "String",
                "packer.prose({value})",
                f'Unpack.text({{c}}, "{label}", limit: {limit})',
                True,
                '""',
                f"{{maker}}text({limit})",
            )
        kinds = {
            "digest": ("Digest", "", "{maker}digest()"),
            "identity": ("PeerID", "", "{maker}identity()"),
            "key": ("PublicKey?", "nil", "{maker}coin() ? {maker}key() : nil"),
        }
        for name, (swift_type, zero, random) in kinds.items():
            if name in tags:
                del tags[name]
                return Code(
                    swift_type,
                    f"packer.{name}({{value}})",
                    f'Unpack.{name}({{c}}, "{label}")',
                    True,
                    zero,
                    random,
                )
        raise SchemaError(
            field.line,
            f"bytes {field.name} needs one of @text(LIMIT), @prose, @bytes(LIMIT), @digest, @identity, @key",
        )

    def message_code(self, field, tags):
        name, label = field.proto_type, field.label
        message = self.schema.messages[name]
        if message.is_inline:
            inner = self.inline_code(message)
            function = lower_first(name)
            return Code(
                inner.swift_type,
                f'packer.{function}({{value}}, "{label}")',
                f'Unpack.{function}({{c}}, "{label}")',
                True,
                inner.zero,
                inner.random,
            )
        make = f"{{maker}}{lower_first(name)}()"
        if "optional" in tags:
            del tags["optional"]
            return Code(
                f"{name}?",
                "{value}?.packed(packer)",
                f"Unpack.optional({{c}}, {name}.init(unpacking:))",
                True,
                "nil",
                f"{{maker}}coin() ? nil : {make}",
            )
        return Code(
            name,
            "{value}.packed(packer)",
            f'{name}(unpacking: Unpack.required({{c}}, "{label}"))',
            True,
            f"{name}()",
            make,
        )

    def inline_code(self, message):
        if len(message.members) != 1 or not message.fields:
            raise SchemaError(message.line, f"@inline needs exactly one field in {message.name}")
        return self.code(message.fields[0])

    def list_code(self, field, tags):
        if "count" not in tags:
            raise SchemaError(field.line, f"the list {field.name} needs @count(LIMIT)")
        count = f"Limits.{self.argument(field, tags, 'count')}"
        label, proto_type = field.label, field.proto_type

        def random(element):
            return f"{{maker}}list({count}) {{{{ {element.replace('{maker}', '$0.')} }}}}"

        if proto_type in self.schema.messages:
            code = checked_list(
                proto_type, "list", label, f"limit: {count}", random(f"$0.{lower_first(proto_type)}()")
            )
            return Code(
                code.swift_type,
                code.pack + " {{ unsafe $0.packed(packer) }}",
                code.unpack.removesuffix(")") + f", {proto_type}.init(unpacking:))",
                True,
                code.zero,
                code.random,
            )
        if proto_type in self.schema.enums:
            raise SchemaError(field.line, "lists of enums have no code yet: add it to fields.py")
        # The annotations of an element, read before they are removed.
        limit, text = tags.get("limit"), tags.get("text")
        kind = next((tag for tag in ("limit", "token", "text", "key", "digest") if tag in tags), None)
        element = self.single_code(field, tags)
        limits = {
            None: ("numbers", f"limit: {count}"),
            "limit": ("integers", f"count: {count}, limit: Limits.{limit}"),
            "token": ("tokens", f"limit: {count}"),
            "text": ("texts", f"count: {count}, limit: Limits.{text}"),
            "key": ("keys", f"limit: {count}"),
            "digest": ("digests", f"limit: {count}"),
        }
        is_known = kind is not None or not element.can_throw and proto_type != "bool"
        if not is_known or kind == "limit" and proto_type != "uint32":
            raise SchemaError(
                field.line, f"lists of such {proto_type} have no code yet: add it to fields.py"
            )
        function, arguments = limits[kind]
        swift_type = element.swift_type.removesuffix("?")
        element_random = "{maker}key()" if kind == "key" else element.random
        return checked_list(swift_type, function, label, arguments, random(element_random))
