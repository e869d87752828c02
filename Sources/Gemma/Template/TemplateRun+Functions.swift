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
      return try range(try positional(arguments, name))
    case "raise_exception":
      let message = try positional(arguments, name).first.map { value throws(GemmaError) in
        try value.printed().string
      }
      throw GemmaError(.template, "the template refuses the conversation: \(message ?? name)")
    default: return try call(macro: name, arguments)
    }
  }

  private mutating func range(_ arguments: [TemplateValue]) throws(GemmaError) -> TemplateValue {
    let numbers = arguments.compactMap(\.number)
    let small = -Self.stepLimit...Self.stepLimit
    guard numbers.count == arguments.count, (1...3).contains(numbers.count),
      numbers.allSatisfy(small.contains)
    else { throw GemmaError(.template, "range of anything but one to three small numbers") }
    let start = numbers.count == 1 ? 0 : numbers[0]
    let end = numbers.count == 1 ? numbers[0] : numbers[1]
    let step = numbers.count == 3 ? numbers[2] : 1
    guard step != 0 else { throw GemmaError(.template, "range with a step of 0") }
    let values = stride(from: start, to: end, by: step)
    try charge(elements: max(0, (end - start) / step))
    return .list(values.map { .integer($0) })
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
    case ("upper", 0), ("lower", 0): return .text(text.changed(to: name == "upper"))
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
    case ("upper", 0), ("lower", 0):
      let text = try operand.printed()
      try charge(text)
      return .text(text.changed(to: name == "upper"))
    case ("dictsort", 0): return try sortedMembers(of: operand)
    case ("map", 1):
      let inner = try arguments[0].printed().string
      guard TemplateVocabulary.filters.contains(inner), inner != "map" else {
        throw GemmaError(.template, "the filter \(inner.excerpt) in map")
      }
      var values: [TemplateValue] = []
      for element in try operand.elements() {
        try charge()
        values.append(try filter(inner, element, []))
      }
      return .list(values)
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

  /// Returns the keys and members of a mapping, sorted by key without regard to case.
  private mutating func sortedMembers(
    of value: TemplateValue
  ) throws(GemmaError) -> TemplateValue {
    guard case .map(let members) = value else {
      throw GemmaError(.template, "dictsort of \(value.kind)")
    }
    try charge(elements: members.count)
    let keys = members.keys.map { ($0.lowercased(), $0) }.sorted { $0 < $1 }
    return .list(
      keys.map { _, key in
        .list([.text(TemplateText(key, isPlain: true)), members[key] ?? .undefined(key)])
      }
    )
  }

  private mutating func count(of value: TemplateValue) throws(GemmaError) -> Int {
    switch value {
    case .undefined: return 0
    case .text(let text):
      try charge(text)
      return Self.scalarStarts(text).count - 1
    case .list(let values): return values.count
    case .map(let members): return members.count
    case .nothing, .bool, .integer, .real, .namespace:
      throw GemmaError(.template, "the length of \(value.kind)")
    }
  }
}
