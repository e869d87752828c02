// The values that a chat template computes with, and their behaviour in Python.

internal import ModelFiles

/// A value during the execution of a template.
enum TemplateValue: Sendable, Hashable {
  /// A name or member that does not exist.
  case undefined(String)
  case nothing
  case bool(Bool)
  case integer(Int)
  /// A number that is not whole; it is only shown and compared.
  case real(Double)
  case text(TemplateText)
  case list([TemplateValue])
  case map([String: TemplateValue])
  /// An index into the namespaces of the run.
  case namespace(Int)

  static func literal(_ text: String) -> TemplateValue { .text(TemplateText(text)) }

  /// The kind of the value, for an error message.
  var kind: String {
    switch self {
    case .undefined(let name): "\(name.excerpt), which is undefined"
    case .nothing: "none"
    case .bool: "a truth value"
    case .integer, .real: "a number"
    case .text: "a text"
    case .list: "a list"
    case .map: "a mapping"
    case .namespace: "a namespace"
    }
  }

  var isUndefined: Bool { if case .undefined = self { true } else { false } }

  /// Whether `if` takes the value as true.
  var isTrue: Bool {
    switch self {
    case .undefined, .nothing: false
    case .bool(let value): value
    case .integer(let value): value != 0
    case .real(let value): value != 0
    case .text(let text): !text.isEmpty
    case .list(let values): !values.isEmpty
    case .map(let members): !members.isEmpty
    case .namespace: true
    }
  }

  /// The value as a number; in Python a truth value is one, too.
  var number: Int? {
    switch self {
    case .bool(let value): value ? 1 : 0
    case .integer(let value): value
    default: nil
    }
  }

  func equals(_ other: TemplateValue) -> Bool {
    if let left = number, let right = other.number { return left == right }
    switch (self, other) {
    case (.undefined, .undefined), (.nothing, .nothing): return true
    case (.real(let left), .real(let right)): return left == right
    case (.real(let left), _): return other.number.map { Double($0) == left } ?? false
    case (_, .real(let right)): return number.map { Double($0) == right } ?? false
    case (.text(let left), .text(let right)): return left.bytes == right.bytes
    case (.list(let left), .list(let right)):
      return left.count == right.count && zip(left, right).allSatisfy { $0.equals($1) }
    case (.map(let left), .map(let right)):
      return left.count == right.count
        && left.allSatisfy { key, value in right[key].map(value.equals) ?? false }
    case (.namespace(let left), .namespace(let right)): return left == right
    default: return false
    }
  }

  /// Returns the text that the template outputs for the value.
  ///
  /// - Throws: `GemmaError.template` for a value that Python would print in its own syntax.
  func printed() throws(GemmaError) -> TemplateText {
    switch self {
    case .undefined: return TemplateText()
    case .nothing: return TemplateText("None")
    case .bool(let value): return TemplateText(value ? "True" : "False")
    case .integer(let value): return TemplateText("\(value)")
    // Swift, like Python, prints the fewest digits that mean the same number.
    case .real(let value): return TemplateText("\(value)")
    case .text(let text): return text
    case .list, .map, .namespace:
      throw GemmaError(.template, "\(kind) where text is expected")
    }
  }

  /// Returns the elements that a loop iterates over.
  func elements() throws(GemmaError) -> [TemplateValue] {
    switch self {
    case .undefined: return []
    case .list(let values): return values
    case .map(let members):
      // Keys come from whoever describes a tool, so they are plain text.
      return members.keys.sorted().map { .text(TemplateText($0, isPlain: true)) }
    case .text, .nothing, .bool, .integer, .real, .namespace:
      throw GemmaError(.template, "a loop over \(kind)")
    }
  }

  func passes(_ test: String) throws(GemmaError) -> Bool {
    switch test {
    case "defined": return !isUndefined
    case "undefined": return isUndefined
    case "none": return self == .nothing
    case "string": if case .text = self { return true }
    case "mapping": if case .map = self { return true }
    case "boolean": if case .bool = self { return true }
    case "true": return self == .bool(true)
    case "false": return self == .bool(false)
    case "integer": if case .integer = self { return true }
    case "float": if case .real = self { return true }
    case "number":
      if case .real = self { return true }
      return number != nil
    case "iterable", "sequence":
      switch self {
      case .text, .list, .map, .undefined: return true
      case .nothing, .bool, .integer, .real, .namespace: return false
      }
    case "even", "odd":
      guard let number else { throw GemmaError(.template, "\(kind) is \(test)") }
      return number.isMultiple(of: 2) == (test == "even")
    default: throw GemmaError(.template, "the test \(test.excerpt)")
    }
    return false
  }
}
