"""Random JSON Schemas, by a seed."""
import random

NAMES = ["a", "b", "id", "name", "items", "value", "type", "x y", "\u00e9", "q\"t"]
PATTERNS = ["^[a-z]+$", "^[A-Z]{2,4}-\\d+$", "x", "^a.*z$", "^(foo|bar)?$", "\\d{3}", "^[^<>]*$", "^\\S+@\\S+$"]
FORMATS = ["date", "time", "date-time", "uuid", "email", "ipv4", "ipv6", "uri"]


class Schemas:
    """Makes schemas."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def schema(self):
        """Returns one schema, with definitions where it refers to some."""
        self.definitions = {}
        root = self.value(0)
        if isinstance(root, bool):
            root = {}
        if self.definitions:
            root = dict(root)
            root["$defs"] = self.definitions
        return root

    def value(self, depth):
        r = self.random
        kinds = ["string", "integer", "number", "boolean", "null", "enum", "const", "any"]
        if depth < 4:
            kinds += ["object"] * 6 + ["array"] * 3 + ["anyOf"] * 2 + ["oneOf", "allOf", "ref", "types"]
        if depth == 0:
            kinds += ["object"] * 8
        return getattr(self, "make_" + r.choice(kinds))(depth)

    def make_string(self, depth):
        r = self.random
        schema = {"type": "string"}
        if r.random() < 0.2:
            schema["pattern"] = r.choice(PATTERNS)
        elif r.random() < 0.15:
            schema["format"] = r.choice(FORMATS)
        else:
            if r.random() < 0.3:
                schema["minLength"] = r.randrange(5)
            if r.random() < 0.3:
                schema["maxLength"] = schema.get("minLength", 0) + r.randrange(60)
        return schema

    def bounds(self, schema, number):
        r = self.random
        low = number(r.uniform(-300, 300))
        if r.random() < 0.3:
            schema[r.choice(["minimum", "exclusiveMinimum"])] = low
        if r.random() < 0.3:
            schema[r.choice(["maximum", "exclusiveMaximum"])] = number(low + r.uniform(3, 500))
        return schema

    def make_integer(self, depth):
        schema = self.bounds({"type": "integer"}, int)
        if self.random.random() < 0.1:
            schema["multipleOf"] = self.random.choice([2, 5, 7, 10])
        return schema

    def make_number(self, depth):
        return self.bounds({"type": "number"}, lambda x: round(x, self.random.randrange(4)))

    def make_boolean(self, depth):
        return {"type": "boolean"}

    def make_null(self, depth):
        return {"type": "null"}

    def make_any(self, depth):
        return self.random.choice([{}, True])

    def make_enum(self, depth):
        r = self.random
        return {"enum": r.sample(["a", "ab", "abc", "red", "green", 1, 2.5, None, True, "\u00fc", "a\"b", [1], {"k": 2}], r.randrange(1, 6))}

    def make_const(self, depth):
        return {"const": self.random.choice(["x", 3, None, ["a", 1], "two words"])}

    def make_types(self, depth):
        kinds = ["string", "integer", "number", "boolean", "null", "array", "object"]
        return {"type": self.random.sample(kinds, self.random.randrange(1, 4))}

    def make_object(self, depth):
        r = self.random
        names = r.sample(NAMES, r.randrange(0, 5))
        schema = {"type": "object", "properties": {n: self.value(depth + 1) for n in names}}
        schema["required"] = [n for n in names if r.random() < 0.5]
        roll = r.random()
        if roll < 0.5:
            schema["additionalProperties"] = False
        elif roll < 0.65:
            schema["additionalProperties"] = self.value(depth + 1)
        if r.random() < 0.1:
            schema["patternProperties"] = {r.choice(["^x-", "z$", "^[a-c]$"]): self.value(depth + 1)}
        if r.random() < 0.05 and not schema["required"]:
            schema["minProperties"] = 1
        if r.random() < 0.05:
            schema["maxProperties"] = len(names) + r.randrange(2)
        return schema

    def make_array(self, depth):
        r = self.random
        schema = {"type": "array"}
        if r.random() < 0.2:
            schema["prefixItems"] = [self.value(depth + 1) for _ in range(r.randrange(1, 3))]
        if r.random() < 0.85:
            schema["items"] = self.value(depth + 1)
        if r.random() < 0.3:
            schema["minItems"] = r.randrange(3)
        if r.random() < 0.3:
            schema["maxItems"] = schema.get("minItems", 0) + r.randrange(1, 4)
        return schema

    def make_anyOf(self, depth):
        return {"anyOf": [self.value(depth + 1) for _ in range(self.random.randrange(2, 4))]}

    def make_oneOf(self, depth):
        if self.random.random() < 0.5:
            return {"oneOf": [self.make_string(depth), self.make_integer(depth), self.make_null(depth)]}
        branches = []
        for tag in self.random.sample(["cat", "dog", "cow"], 2):
            branch = self.make_object(depth + 1)
            branch.pop("maxProperties", None)
            branch["properties"] = {"kind": {"const": tag}, **branch["properties"]}
            branch["required"] = ["kind"] + branch["required"]
            branches.append(branch)
        return {"oneOf": branches}

    def make_allOf(self, depth):
        first = self.make_object(depth + 1)
        second = self.make_object(depth + 1)
        for branch in (first, second):
            branch.pop("additionalProperties", None)
            branch.pop("maxProperties", None)
        return {"allOf": [first, second]}

    def make_ref(self, depth):
        r = self.random
        if self.definitions and r.random() < 0.5:
            name = r.choice(list(self.definitions))
        else:
            name = f"d{len(self.definitions)}"
            self.definitions[name] = {}
            self.definitions[name] = self.make_object(depth + 1)
        # A reference that must be there inside itself has no finite instance, so it stands in a list.
        return {"type": "array", "items": {"$ref": f"#/$defs/{name}"}, "maxItems": 3}
