// Values as rules: those of any kind, and the pieces that schemas use.

/// Rules that are made once a grammar.
enum SharedRule: Hashable {
  case value(ValueNotation)
  case object(ValueNotation)
}

extension GrammarBuilder {
  /// None or one blank, which is all the white space that JSON has here: after `:` and `,`.
  ///
  /// A small model that may write more spends its whole answer on it.
  mutating func blank() throws(GrammarError) -> Int32 {
    notation == .json ? try optional(literal(" ")) : try empty()
  }

  mutating func comma() throws(GrammarError) -> Int32 { try sequence([literal(","), blank()]) }

  mutating func colon() throws(GrammarError) -> Int32 { try sequence([literal(":"), blank()]) }

  /// Any value.
  mutating func anyValue() throws(GrammarError) -> Int32 {
    if let rule = sharedRules[.value(notation)] { return try call(rule) }
    let rule = try declare("value")
    sharedRules[.value(notation)] = rule
    let value = try call(rule)
    let more = try repeated(sequence([comma(), value]), min: 0, max: nil)
    let array = try sequence([
      literal("["), optional(sequence([value, more])), literal("]"),
    ])
    define(
      rule,
      try alternatives([
        anyObject(), array, anyString(), anyNumber(), literal("true"), literal("false"),
        literal("null"),
      ])
    )
    return value
  }

  /// Any object.
  mutating func anyObject() throws(GrammarError) -> Int32 {
    if let rule = sharedRules[.object(notation)] { return try call(rule) }
    let rule = try declare("object")
    sharedRules[.object(notation)] = rule
    let member = try sequence([anyName(), colon(), anyValue()])
    let more = try repeated(sequence([comma(), member]), min: 0, max: nil)
    define(rule, try sequence([literal("{"), optional(sequence([member, more])), literal("}")]))
    return try call(rule)
  }

  /// Any string.
  mutating func anyString() throws(GrammarError) -> Int32 { try string(min: 0, max: nil) }

  /// Any JSON number, of at most 16 digits before the point and behind it and two in the exponent:
  /// a small model that may write more digits does so for ever, and all of these are finite as f64.
  mutating func anyNumber() throws(GrammarError) -> Int32 {
    let digit = try digits()
    let fraction = try sequence([literal("."), repeated(digit, min: 1, max: 16)])
    let sign = try optional(add(.bytes(ByteSet([0x2B, 0x2D]))))
    let exponent = try sequence([
      add(.bytes(ByteSet([0x45, 0x65]))), sign, repeated(digit, min: 1, max: 2),
    ])
    return try sequence([anyInteger(), optional(fraction), optional(exponent)])
  }

  /// Any integer of at most 16 digits, without a fraction.
  mutating func anyInteger() throws(GrammarError) -> Int32 {
    let digit = try digits()
    let first = try add(.bytes(ByteSet(0x31...0x39)))
    let positive = try sequence([first, repeated(digit, min: 0, max: 15)])
    return try sequence([optional(literal("-")), alternatives([literal("0"), positive])])
  }

  private mutating func digits() throws(GrammarError) -> Int32 {
    try add(.bytes(ByteSet(0x30...0x39)))
  }

  /// The text of a JSON string, with an escape only where JSON wants one.
  static func quoted(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = [0x22]
    for byte in text.utf8 {
      switch byte {
      case 0x22, 0x5C: bytes += [0x5C, byte]
      case 0x08: bytes += "\\b".utf8
      case 0x09: bytes += "\\t".utf8
      case 0x0A: bytes += "\\n".utf8
      case 0x0C: bytes += "\\f".utf8
      case 0x0D: bytes += "\\r".utf8
      case 0..<0x20:
        let digits = String(byte, radix: 16)
        bytes += (digits.utf8.count == 1 ? "\\u000" : "\\u00").utf8
        bytes += digits.utf8
      default: bytes.append(byte)
      }
    }
    bytes.append(0x22)
    return bytes
  }

  /// One value, with the optional blanks.
  mutating func constant(_ value: JSONValue) throws(GrammarError) -> Int32 {
    switch value {
    case .null: return try literal("null")
    case .bool(let bool): return try literal(bool ? "true" : "false")
    case .number(let text): return try literal(text)
    case .string(let text): return try literal(written(text))
    case .array(let values):
      var parts: [Int32] = [try literal("[")]
      for (index, value) in values.enumerated() {
        if index > 0 { parts.append(try comma()) }
        parts.append(try constant(value))
      }
      return try sequence(parts + [literal("]")])
    case .object(let members):
      var parts: [Int32] = [try literal("{")]
      for (index, member) in members.enumerated() {
        if index > 0 { parts.append(try comma()) }
        parts += [try literal(writtenName(member.name)), try colon(), try constant(member.value)]
      }
      return try sequence(parts + [literal("}")])
    }
  }
}
