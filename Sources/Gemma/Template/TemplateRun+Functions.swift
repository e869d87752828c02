// The functions, methods and filters that a chat template may call. They behave as in Python and
// Jinja: https://jinja.palletsprojects.com/en/stable/templates/#builtin-filters.

internal import ModelFiles

extension TemplateRun {
  mutating func positional(
    _ arguments: [TemplateExpression.Argument],
    _ name: String
  ) throws(GemmaError) -> [TemplateValue] {
    if let named = arguments.first(where: { $0.name != nil })?.name {
      throw GemmaError(.template, "the argument \(named.excerpt) of \(name)")
    }
    return try values(of: arguments.map(\.value))
  }

  mutating func call(
    _ name: String,
    _ arguments: [TemplateExpression.Argument]
  ) throws(GemmaError) -> TemplateValue {
    switch name {
    case "namespace":
      var members: [String: TemplateValue] = [:]
      for argument in arguments {
        guard let name = argument.name else {
          throw GemmaError(.template, "a namespace of what has no name")
        }
        members[name] = try value(of: argument.value)
      }
      namespaces.append(members)
      return .namespace(namespaces.count - 1)
    case "range":
      let bounds = try positional(arguments, name).compactMap(\.number)
      guard bounds.count == arguments.count, (1...2).contains(bounds.count),
        let end = bounds.last, end <= Self.stepLimit
      else { throw GemmaError(.template, "range of anything but one or two small numbers") }
      let start = bounds.count == 2 ? bounds[0] : 0
      guard start >= -Self.stepLimit else { throw GemmaError(.template, "range of \(start)") }
      try charge(elements: max(0, end - start))
      return .list((start..<max(start, end)).map { .integer($0) })
    default:
      let message = try positional(arguments, name).first.map { value throws(GemmaError) in
        try value.printed().string
      }
      throw GemmaError(.template, "the template refuses the conversation: \(message ?? name)")
    }
  }

  mutating func method(
    _ name: String,
    of owner: TemplateValue,
    _ arguments: [TemplateValue]
  ) throws(GemmaError) -> TemplateValue {
    if case .map(let members) = owner, name == "get", (1...2).contains(arguments.count) {
      let absent = arguments.count == 2 ? arguments[1] : .nothing
      return members[try arguments[0].printed().string] ?? absent
    }
    guard case .text(let text) = owner else {
      throw GemmaError(.template, "\(name)() of \(owner.kind)")
    }
    try charge(text)
    let texts = arguments.compactMap { if case .text(let text) = $0 { text } else { nil } }
    switch (name, texts.count) {
    case _ where texts.count != arguments.count: break
    case ("strip", 0): return .text(text.trimmed())
    case ("lstrip", 0): return .text(text.trimmed(end: false))
    case ("rstrip", 0): return .text(text.trimmed(start: false))
    case ("startswith", 1): return .bool(text.bytes.starts(with: texts[0].bytes))
    case ("endswith", 1):
      return .bool(text.bytes.reversed().starts(with: texts[0].bytes.reversed()))
    case ("split", 1) where !texts[0].isEmpty:
      let parts = text.split(texts[0].bytes)
      try charge(elements: parts.count)
      return .list(parts.map { .text($0) })
    case ("replace", 2): return .text(try replaced(text, texts[0], texts[1]))
    default: break
    }
    throw GemmaError(.template, "\(name)() with these arguments")
  }

  private mutating func replaced(
    _ text: TemplateText,
    _ old: TemplateText,
    _ new: TemplateText
  ) throws(GemmaError) -> TemplateText {
    guard !old.isEmpty else { throw GemmaError(.template, "a replacement of nothing") }
    // The upper bound of the matches is checked before the result is made.
    let count = text.byteCount / old.byteCount
    guard new.byteCount <= byteBudget / max(count, 1) else {
      throw GemmaError(.template, "more work than a chat template may take")
    }
    let made = text.replacing(old.bytes, with: new)
    try charge(made)
    return made
  }

  mutating func filter(
    _ name: String,
    _ operand: TemplateValue,
    _ arguments: [TemplateValue]
  ) throws(GemmaError) -> TemplateValue {
    switch (name, arguments.count) {
    case ("trim", 0):
      let text = try operand.printed()
      try charge(text)
      return .text(text.trimmed())
    case ("string", 0), ("safe", 0): return .text(try operand.printed())
    case ("length", 0), ("count", 0): return .integer(try count(of: operand))
    case ("first", 0), ("last", 0):
      if case .text = operand {
        return try member(.integer(name == "first" ? 0 : -1), of: operand)
      }
      let elements = try operand.elements()
      return (name == "first" ? elements.first : elements.last) ?? .undefined(name)
    case ("default", 1...2), ("d", 1...2):
      let takesFalse = arguments.count == 2 && arguments[1].isTrue
      let isAbsent = operand.isUndefined || takesFalse && !operand.isTrue
      return isAbsent ? arguments[0] : operand
    case ("list", 0): return .list(try operand.elements())
    case ("join", 0...1):
      return .text(
        try joined(try operand.elements(), try arguments.first?.printed() ?? TemplateText())
      )
    case ("replace", 2):
      return .text(
        try replaced(try operand.printed(), try arguments[0].printed(), try arguments[1].printed())
      )
    default: throw GemmaError(.template, "the filter \(name) with these arguments")
    }
  }

  private mutating func count(of value: TemplateValue) throws(GemmaError) -> Int {
    switch value {
    case .undefined: return 0
    case .text(let text):
      try charge(text)
      return Self.scalarStarts(text).count - 1
    case .list(let values): return values.count
    case .map(let members): return members.count
    case .nothing, .bool, .integer, .namespace:
      throw GemmaError(.template, "the length of \(value.kind)")
    }
  }
}
