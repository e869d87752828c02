// Calls of tools in what a model has written. No token marks one: an answer that begins like a call is one from its
// first byte to its last, which the grammar of the answer holds it to.

internal import Foundation

/// Reads the text of one answer, and tells calls from words.
struct ToolCallReader: Sendable {
  /// A call, in OpenAI's form.
  struct Call: Sendable, Hashable {
    var id: String
    var name: String
    /// A JSON object, as its text.
    var arguments: String
  }

  private enum Kind {
    case undecided
    case words
    case calls
  }

  private var kind: Kind
  /// What is not told yet.
  private var held = ""

  /// - Parameter isForced: Whether nothing but calls can come.
  init(isForced: Bool) { kind = isForced ? .calls : .undecided }

  private static let fence = "```json"

  /// Takes the next piece of the text, and returns what of it is words.
  mutating func append(_ text: String) -> String {
    held += text
    if kind == .undecided { kind = Self.kind(of: held) }
    guard kind == .words else { return "" }
    defer { held = "" }
    return held
  }

  /// What a text is by its beginning.
  private static func kind(of text: String) -> Kind {
    let rest = text.drop { $0.isWhitespace }
    if rest.isEmpty || fence.hasPrefix(rest) || rest == "[" { return .undecided }
    return rest.hasPrefix("{") || rest.hasPrefix("[{") || rest.hasPrefix(fence) ? .calls : .words
  }

  /// Returns the calls at the end of the text, and words that are none.
  mutating func finish() -> (words: String, calls: [Call]) {
    defer { held = "" }
    guard kind == .calls, let calls = Self.calls(in: held) else { return (held, []) }
    return ("", calls)
  }

  /// Returns nil for a text that is no call, such as one that was cut short.
  private static func calls(in text: String) -> [Call]? {
    var text = text.drop { $0.isWhitespace }
    if text.hasPrefix(fence) {
      text = text.dropFirst(fence.count)
      if let end = text.range(of: "```", options: .backwards) { text = text[..<end.lowerBound] }
    }
    guard let value = try? JSON(parsing: Array(text.utf8)) else { return nil }
    let values: [JSON]
    if case .array(let several) = value { values = several } else { values = [value] }
    var calls: [Call] = []
    for value in values {
      guard case .string(let name)? = value["name"] else { return nil }
      let id = "call_" + String(UInt64.random(in: .min ... .max), radix: 36)
      calls.append(Call(id: id, name: name, arguments: (value["parameters"] ?? [:]).text))
    }
    return calls.isEmpty ? nil : calls
  }
}
