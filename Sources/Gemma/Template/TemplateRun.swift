// Runs a parsed chat template over a conversation. Every step and every byte is counted against a
// limit, because a template comes from a stranger and must end.

internal import ModelFiles

/// One execution of a template.
struct TemplateRun {
  private var scopes: [[String: TemplateValue]]
  var namespaces: [[String: TemplateValue]] = []
  private var output = TemplateText()
  private var steps = 0
  private(set) var byteBudget: Int

  // Gemma's templates take about forty steps per message, and a conversation has at most some
  // thousands of messages.
  static let stepLimit = 1 << 20
  // A template's own bytes, in addition to those of the messages, each of which it may copy a few
  // times.
  private static let ownByteCount = 1 << 22

  /// Runs a template.
  ///
  /// - Parameters:
  ///   - nodes: The template.
  ///   - values: The variables of the template, by name.
  ///   - byteCount: The size of all messages in bytes, which bounds how much may be copied.
  /// - Returns: The text that the template outputs.
  /// - Throws: `GemmaError.template` if the template raises an error, uses something unsupported,
  ///   or exceeds a limit.
  static func text(
    of nodes: [TemplateNode],
    _ values: [String: TemplateValue],
    byteCount: Int
  ) throws(GemmaError) -> TemplateText {
    var run = TemplateRun(scopes: [values], byteBudget: ownByteCount + 64 * byteCount)
    try run.execute(nodes)
    return run.output
  }

  private init(scopes: [[String: TemplateValue]], byteBudget: Int) {
    self.scopes = scopes
    self.byteBudget = byteBudget
  }

  /// Counts a step and the size of what it reads or makes: the bytes of a text or the elements of a
  /// list.
  mutating func charge(_ text: TemplateText? = nil, elements: Int = 0) throws(GemmaError) {
    // Before the addition the count is never above the limit, so the sum cannot overflow.
    steps += 1 + min(elements, Self.stepLimit)
    byteBudget -= text?.byteCount ?? 0
    guard steps <= Self.stepLimit, byteBudget >= 0 else {
      throw GemmaError(.template, "more work than a chat template may take")
    }
  }

  // MARK: Statements

  private mutating func execute(_ nodes: [TemplateNode]) throws(GemmaError) {
    for node in nodes {
      try charge()
      switch node {
      case .text(let text): output.append(TemplateText(text))
      case .output(let expression):
        let text = try value(of: expression).printed()
        try charge(text)
        output.append(text)
      case .set(let name, let member, let expression):
        try assign(try value(of: expression), to: name, member)
      case .setBlock(let name, let body):
        let before = output
        output = TemplateText()
        try execute(body)
        let made = output
        output = before
        try assign(.text(made), to: name, nil)
      case .branch(let branches, let otherwise):
        try execute(try chosen(branches)?.body ?? otherwise)
      case .loop(let loop): try execute(loop)
      }
    }
  }

  private mutating func chosen(
    _ branches: [TemplateNode.Branch]
  ) throws(GemmaError) -> TemplateNode.Branch? {
    for branch in branches where try value(of: branch.condition).isTrue { return branch }
    return nil
  }

  private mutating func assign(
    _ value: TemplateValue,
    to name: String,
    _ member: String?
  ) throws(GemmaError) {
    guard let member else {
      scopes[scopes.count - 1][name] = value
      return
    }
    guard case .namespace(let index) = lookUp(name) else {
      throw GemmaError(.template, "an assignment to a member of \(name.excerpt), no namespace")
    }
    namespaces[index][member] = value
  }

  private mutating func execute(_ loop: TemplateNode.Loop) throws(GemmaError) {
    var elements = try value(of: loop.elements).elements()
    if let condition = loop.condition {
      var kept: [TemplateValue] = []
      for element in elements {
        scopes.append([loop.name: element])
        if try value(of: condition).isTrue { kept.append(element) }
        scopes.removeLast()
      }
      elements = kept
    }
    if elements.isEmpty { try execute(loop.otherwise) }
    for (index, element) in elements.enumerated() {
      let last = elements.count - 1
      let state: [String: TemplateValue] = [
        "index0": .integer(index), "index": .integer(index + 1), "first": .bool(index == 0),
        "last": .bool(index == last), "length": .integer(elements.count),
        "revindex0": .integer(last - index), "revindex": .integer(elements.count - index),
        "previtem": index > 0 ? elements[index - 1] : .undefined("loop.previtem"),
        "nextitem": index < last ? elements[index + 1] : .undefined("loop.nextitem"),
      ]
      // A variable that is set in a loop's body is forgotten at the end of the iteration.
      scopes.append([loop.name: element, "loop": .map(state)])
      try execute(loop.body)
      scopes.removeLast()
    }
  }

  private func lookUp(_ name: String) -> TemplateValue {
    for scope in scopes.reversed() {
      if let value = scope[name] { return value }
    }
    return .undefined(name)
  }

  // MARK: Expressions

  mutating func value(
    of expression: TemplateExpression
  ) throws(GemmaError) -> TemplateValue {
    try charge()
    switch expression {
    case .nothing: return .nothing
    case .bool(let value): return .bool(value)
    case .integer(let value): return .integer(value)
    case .string(let text): return .literal(text)
    case .list(let elements): return .list(try values(of: elements))
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
