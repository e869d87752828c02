// Calls of tools as JSON. No token marks one: an answer that begins like a call is one from its first byte to its
// last, which the grammar of the answer holds it to. So calls can be told while they are made.

/// Reads the text of one answer, and tells calls from words.
struct JSONCallReader: ToolCallReader {
  private enum Kind {
    case undecided
    case words
    case calls
  }

  private var kind: Kind
  /// What is told neither as words nor as a call yet.
  private var held = ""
  private var scanner: JSONCallScanner
  private let isForced: Bool

  /// - Parameters:
  ///   - names: The functions that can be called; an object that names another is words in some form.
  ///   - isForced: Whether nothing but calls can come.
  init(names: Set<String>, isForced: Bool) {
    self.isForced = isForced
    kind = isForced ? .calls : .undecided
    scanner = JSONCallScanner(names: names)
  }

  private static let fence = "```json"

  mutating func append(_ text: String) -> (words: String, calls: [ToolCallPiece]) {
    var text = text
    if kind == .undecided {
      held += text
      kind = Self.kind(of: held)
      guard kind != .undecided else { return ("", []) }
      (text, held) = (held, "")
    }
    guard kind == .calls else { return (text, []) }
    let calls = scanner.append(text)
    held = scanner.hasBegun ? "" : held + text
    guard scanner.isNoCall else { return ("", calls) }
    kind = .words
    defer { held = "" }
    return (held, [])
  }

  /// What a text is by its beginning.
  private static func kind(of text: String) -> Kind {
    let rest = text.drop { $0.isWhitespace }
    if rest.isEmpty || fence.hasPrefix(rest) || rest == "[" { return .undecided }
    return rest.hasPrefix("{") || rest.hasPrefix("[{") || rest.hasPrefix(fence) ? .calls : .words
  }

  var isInCall: Bool { kind == .calls && scanner.isOpen }

  mutating func finish() -> String {
    defer { held = "" }
    // Where nothing but a call can come, what has no name yet is of no use to anybody.
    return isForced ? "" : held
  }
}

/// Finds the calls in the bytes of `{"name": …, "parameters": …}`, or of a list of these, as they come.
///
/// The arguments are told as the model wrote them. What stands outside of objects, such as a fence, is left out.
private struct JSONCallScanner: Sendable {
  private enum Member {
    case name
    case parameters
    case other
  }

  /// Whether the name of a call has come.
  var hasBegun: Bool { call != nil }
  /// Whether a bracket is open.
  var isOpen: Bool { depth > 0 }
  /// Whether the name of something else has come.
  private(set) var isNoCall = false
  private let names: Set<String>
  private var depth = 0
  /// How deep the members of a call stand; 0 before the first bracket.
  private var memberDepth = 0
  private var isInString = false
  private var isEscaped = false
  /// The string being read, with its quotes.
  private var string: [UInt8] = []
  /// The member whose value comes; nil where a name of one comes.
  private var member: Member?
  private var call: ToolCallPiece?
  /// What of the arguments is not told yet.
  private var arguments: [UInt8] = []
  private var pieces: [ToolCallPiece] = []

  init(names: Set<String>) { self.names = names }

  /// Takes whole characters, and returns what of calls has come with them.
  mutating func append(_ text: String) -> [ToolCallPiece] {
    for byte in text.utf8 { take(byte) }
    tellArguments()
    defer { pieces = [] }
    return pieces
  }

  private mutating func tellArguments() {
    guard let call, !arguments.isEmpty else { return }
    pieces.append(call.next(String(decoding: arguments, as: UTF8.self)))
    arguments = []
  }

  private mutating func take(_ byte: UInt8) {
    if isInString {
      takeInString(byte)
    } else if depth > 0 || byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") {
      takeBetweenStrings(byte)
    }
  }

  private mutating func takeInString(_ byte: UInt8) {
    let isEnd = byte == UInt8(ascii: "\"") && !isEscaped
    isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
    isInString = !isEnd
    guard depth == memberDepth, member != .parameters else {
      if member == .parameters { arguments.append(byte) }
      return
    }
    string.append(byte)
    if isEnd { takeString() }
  }

  /// Takes a member's name, or the name of the function.
  private mutating func takeString() {
    guard case .string(let text)? = try? JSON(parsing: string) else { return }
    switch member {
    case nil: member = text == "name" ? .name : text == "parameters" ? .parameters : .other
    case .name: begin(text)
    case .parameters, .other: break
    }
  }

  private mutating func begin(_ name: String) {
    guard names.contains(name) else {
      isNoCall = !hasBegun
      return
    }
    let begun = ToolCallPiece((call?.index ?? -1) + 1, name)
    pieces.append(begun)
    call = begun
  }

  private mutating func takeBetweenStrings(_ byte: UInt8) {
    let isInArguments = member == .parameters && depth > memberDepth
    switch byte {
    case UInt8(ascii: "\""):
      isInString = true
      string = [byte]
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      depth += 1
      if byte == UInt8(ascii: "{"), memberDepth == 0 { memberDepth = depth }
    case UInt8(ascii: "}"), UInt8(ascii: "]"):
      depth -= 1
      if depth < memberDepth { endMember() }
    case UInt8(ascii: ",") where depth == memberDepth: endMember()
    default: break
    }
    // The brackets of the arguments belong to them, too.
    if isInArguments || member == .parameters && depth > memberDepth { arguments.append(byte) }
  }

  private mutating func endMember() {
    tellArguments()
    member = nil
  }
}
