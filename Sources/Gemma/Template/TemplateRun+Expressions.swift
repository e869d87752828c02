// Evaluates the expressions of a chat template.

internal import ModelFiles

extension TemplateRun {
  mutating func value(
    of expression: TemplateExpression
  ) throws(GemmaError) -> TemplateValue {
    try charge()
    try enter()
    defer { leave() }
    switch expression {
    case .nothing: return .nothing
    case .bool(let value): return .bool(value)
    case .integer(let value): return .integer(value)
    case .string(let text): return .literal(text)
    case .list(let elements): return .list(try values(of: elements))
    case .map(let members):
      var values: [String: TemplateValue] = [:]
      for member in members {
        guard case .text(let key) = try value(of: member.key) else {
          throw GemmaError(.template, "a mapping with a key that is no text")
        }
        values[key.string] = try value(of: member.value)
      }
      return .map(values)
    case .name(let name): return lookUp(name)
    case .member(let owner, let key):
      return try member(try value(of: key), of: try value(of: owner))
    case .slice(let owner, let from, let to):
      return try slice(try value(of: owner), try bound(from), try bound(to))
    case .call(let name, let arguments): return try call(name, arguments)
    case .method(let owner, let name, let arguments):
      return try method(name, of: try value(of: owner), try positional(arguments, name))
    case .filter(let operand, let name, let arguments):
      return try filter(name, try value(of: operand), try positional(arguments, name))
    case .test(let operand, let name): return .bool(try value(of: operand).passes(name))
    case .not(let operand): return .bool(!(try value(of: operand).isTrue))
    case .negative(let operand):
      guard let number = try value(of: operand).number, number != .min else {
        throw GemmaError(.template, "a minus before no number")
      }
      return .integer(-number)
    case .binary(let kind, let left, let right): return try binary(kind, left, right)
    case .choice(let chosen, let condition, let otherwise):
      if try value(of: condition).isTrue { return try value(of: chosen) }
      guard let otherwise else { return .undefined("an if without else") }
      return try value(of: otherwise)
    }
  }

  mutating func values(
    of expressions: [TemplateExpression]
  ) throws(GemmaError) -> [TemplateValue] {
    var values: [TemplateValue] = []
    for expression in expressions { values.append(try value(of: expression)) }
    return values
  }

  mutating func member(
    _ key: TemplateValue,
    of owner: TemplateValue
  ) throws(GemmaError) -> TemplateValue {
    let name = try key.printed().string
    switch (owner, key) {
    case (.undefined, _): throw GemmaError(.template, "a member of \(owner.kind)")
    case (.map(let members), .text): return members[name] ?? .undefined(name)
    case (.namespace(let index), .text): return namespaces[index][name] ?? .undefined(name)
    case (.list(let values), .integer(let index)):
      let position = index < 0 ? index + values.count : index
      return values.indices.contains(position) ? values[position] : .undefined("[\(index)]")
    case (.text(let text), .integer(let index)):
      try charge(text)
      let starts = Self.scalarStarts(text)
      let position = index < 0 ? index + starts.count - 1 : index
      guard position >= 0, position < starts.count - 1 else { return .undefined("[\(index)]") }
      return .text(text[starts[position]..<starts[position + 1]])
    default: return .undefined(name)
    }
  }

  private mutating func slice(
    _ owner: TemplateValue,
    _ from: Int?,
    _ to: Int?
  ) throws(GemmaError) -> TemplateValue {
    func range(_ count: Int) -> Range<Int> {
      func position(_ bound: Int) -> Int { min(max(bound < 0 ? bound + count : bound, 0), count) }
      let low = position(from ?? 0)
      return low..<max(low, position(to ?? count))
    }
    switch owner {
    case .list(let values):
      try charge(elements: values.count)
      return .list(Array(values[range(values.count)]))
    case .text(let text):
      try charge(text)
      let starts = Self.scalarStarts(text)
      let range = range(starts.count - 1)
      return .text(text[starts[range.lowerBound]..<starts[range.upperBound]])
    default: throw GemmaError(.template, "a slice of \(owner.kind)")
    }
  }

  /// Returns one bound of a slice; nil if it is absent or `none`.
  private mutating func bound(
    _ expression: TemplateExpression?
  ) throws(GemmaError) -> Int? {
    guard let expression else { return nil }
    let value = try value(of: expression)
    if value == .nothing { return nil }
    guard let number = value.number else {
      throw GemmaError(.template, "a slice at \(value.kind)")
    }
    return number
  }

  /// Returns the offsets at which the characters of a text begin, and the offset of its end.
  static func scalarStarts(_ text: TemplateText) -> [Int] {
    let bytes = text.bytes
    return bytes.indices.filter { bytes[$0] & 0xC0 != 0x80 } + [bytes.count]
  }

  private mutating func binary(
    _ kind: TemplateExpression.Operator,
    _ leftSide: TemplateExpression,
    _ rightSide: TemplateExpression
  ) throws(GemmaError) -> TemplateValue {
    let left = try value(of: leftSide)
    if kind == .and { return left.isTrue ? try value(of: rightSide) : left }
    if kind == .or { return left.isTrue ? left : try value(of: rightSide) }
    let right = try value(of: rightSide)
    if case .text(let text) = left { try charge(text) }
    if case .text(let text) = right { try charge(text) }
    switch kind {
    case .and, .or: return left
    case .equal: return .bool(left.equals(right))
    case .unequal: return .bool(!left.equals(right))
    case .contained: return .bool(try Self.contains(right, left))
    case .join: return .text(try joined([left, right], TemplateText()))
    case .add:
      switch (left, right) {
      case (.text, .text): return .text(try joined([left, right], TemplateText()))
      case (.list(let first), .list(let second)):
        try charge(elements: first.count + second.count)
        return .list(first + second)
      default: break
      }
      fallthrough
    case .subtract, .remainder, .less, .greater, .atMost, .atLeast:
      guard let first = left.number, let second = right.number else {
        throw GemmaError(.template, "\(left.kind) \(kind.rawValue) \(right.kind)")
      }
      return try Self.computed(kind, first, second)
    }
  }

  private static func computed(
    _ kind: TemplateExpression.Operator,
    _ left: Int,
    _ right: Int
  ) throws(GemmaError) -> TemplateValue {
    switch kind {
    case .less: return .bool(left < right)
    case .greater: return .bool(left > right)
    case .atMost: return .bool(left <= right)
    case .atLeast: return .bool(left >= right)
    case .remainder where right > 0:
      let rest = left % right
      return .integer(rest < 0 ? rest + right : rest)
    case .add, .subtract:
      let (sum, overflow) =
        kind == .add
        ? left.addingReportingOverflow(right) : left.subtractingReportingOverflow(right)
      if !overflow { return .integer(sum) }
      fallthrough
    default: throw GemmaError(.template, "\(left) \(kind.rawValue) \(right)")
    }
  }

  private static func contains(
    _ owner: TemplateValue,
    _ value: TemplateValue
  ) throws(GemmaError) -> Bool {
    switch (owner, value) {
    case (.undefined, _): return false
    case (.text(let text), .text(let part)): return text.contains(part.bytes)
    case (.list(let values), _): return values.contains { $0.equals(value) }
    case (.map(let members), .text(let key)): return members[key.string] != nil
    case (.map, _): return false
    default: throw GemmaError(.template, "\(value.kind) in \(owner.kind)")
    }
  }

  mutating func joined(
    _ values: [TemplateValue],
    _ separator: TemplateText
  ) throws(GemmaError) -> TemplateText {
    var text = TemplateText()
    for (index, value) in values.enumerated() {
      if index > 0 { text.append(separator) }
      text.append(try value.printed())
      // The text is charged while it grows, so that no loop can double it without end.
      try charge(text)
    }
    return text
  }
}
