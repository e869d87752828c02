// Calls of tools as Gemma 4 writes them: `<|tool_call>call:NAME{name:value,…}<tool_call|>`, strings between two
// `<|"|>` as they are. The marks are tokens, so a call can be told from words wherever it begins.

/// Reads the text of one answer, and tells calls from words.
///
/// Arguments are told as JSON while they are made.
struct Gemma4CallReader: ToolCallReader {
  private enum Place {
    case words
    /// Before the arguments.
    case head
    case arguments(Gemma4Arguments)
    /// Behind the arguments.
    case tail
  }

  private static let start = Array("<|tool_call>".utf8)
  private static let end = Array("<tool_call|>".utf8)
  private static let prefix = Array("call:".utf8)

  private var place = Place.words
  /// What has come and is not told yet.
  private var held: [UInt8] = []
  private var call: ToolCallPiece?

  mutating func append(_ text: String) -> (words: String, calls: [ToolCallPiece]) {
    held += text.utf8
    var words: [UInt8] = []
    var calls: [ToolCallPiece] = []
    while true {
      switch place {
      case .words:
        let first = held.firstIndex(of: Self.start)
        words += held[..<first]
        held.removeFirst(first)
        guard held.starts(with: Self.start) else {
          return (String(decoding: words, as: UTF8.self), calls)
        }
        held.removeFirst(Self.start.count)
        place = .head
      case .head:
        guard let bracket = held.firstIndex(of: UInt8(ascii: "{")) else {
          return (String(decoding: words, as: UTF8.self), calls)
        }
        var name = held[..<bracket]
        if name.starts(with: Self.prefix) { name.removeFirst(Self.prefix.count) }
        let begun = ToolCallPiece((call?.index ?? -1) + 1, String(decoding: name, as: UTF8.self))
        held.removeFirst(bracket)
        calls.append(begun)
        call = begun
        place = .arguments(Gemma4Arguments())
      case .arguments(var arguments):
        let json = arguments.take(&held)
        place = arguments.isComplete ? .tail : .arguments(arguments)
        if let call, !json.isEmpty { calls.append(call.next(json)) }
        if !arguments.isComplete { return (String(decoding: words, as: UTF8.self), calls) }
      case .tail:
        held.removeFirst(held.firstIndex(of: Self.end))
        guard held.starts(with: Self.end) else {
          return (String(decoding: words, as: UTF8.self), calls)
        }
        held.removeFirst(Self.end.count)
        place = .words
      }
    }
  }

  var isInCall: Bool {
    switch place {
    case .head, .arguments: true
    case .words, .tail: false
    }
  }

  mutating func finish() -> String {
    defer { held = [] }
    // A call without a name is of no use to anybody.
    if case .words = place { return String(decoding: held, as: UTF8.self) }
    return ""
  }
}

extension [UInt8] {
  /// Where another text begins, or may begin once more has come; the end if nowhere.
  fileprivate func firstIndex(of text: [UInt8]) -> Int {
    indices.first { text.starts(with: self[$0..<Swift.min(count, $0 + text.count)]) } ?? count
  }
}

/// The arguments of a call, from Gemma 4's notation to JSON, as they come.
private struct Gemma4Arguments: Sendable {
  private static let mark = Array("<|\"|>".utf8)

  /// The brackets that are open.
  private var open: [UInt8] = []
  /// The name of a member as far as it has come; nil where a value comes.
  private var name: [UInt8]?
  private var isInString = false
  /// How many bytes of a mark have come.
  ///
  /// None of its beginnings is the end of another.
  private var markCount = 0
  private var json: [UInt8] = []
  private(set) var isComplete = false

  /// Takes bytes up to the last bracket, and returns what they are in JSON.
  mutating func take(_ bytes: inout [UInt8]) -> String {
    var count = 0
    while count < bytes.count, !isComplete {
      take(bytes[count])
      count += 1
    }
    bytes.removeFirst(count)
    defer { json = [] }
    return String(decoding: json, as: UTF8.self)
  }

  private mutating func take(_ byte: UInt8) {
    if byte == Self.mark[markCount] {
      markCount += 1
      if markCount == Self.mark.count { takeMark() }
      return
    }
    let unmatched = Self.mark[..<markCount]
    markCount = 0
    for each in unmatched { takePlain(each) }
    if unmatched.isEmpty { takePlain(byte) } else { take(byte) }
  }

  private mutating func takeMark() {
    markCount = 0
    isInString.toggle()
    if name == nil { json.append(UInt8(ascii: "\"")) }
  }

  private mutating func takePlain(_ byte: UInt8) {
    if isInString {
      if name == nil { json += Self.escaped(byte) } else { name?.append(byte) }
    } else if let name, byte == UInt8(ascii: ":") {
      json.append(UInt8(ascii: "\""))
      for each in name { json += Self.escaped(each) }
      json += "\":".utf8
      self.name = nil
    } else if ![0x09, 0x0A, 0x0D, 0x20].contains(byte) {
      takeBetweenStrings(byte)
    }
  }

  private mutating func takeBetweenStrings(_ byte: UInt8) {
    switch byte {
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      open.append(byte)
      name = byte == UInt8(ascii: "{") ? [] : nil
    case UInt8(ascii: "}"), UInt8(ascii: "]"):
      _ = open.popLast()
      name = nil
      isComplete = open.isEmpty
    case UInt8(ascii: ","): name = open.last == UInt8(ascii: "{") ? [] : nil
    default:
      // A bare name is told when it is whole.
      if name != nil {
        name?.append(byte)
        return
      }
    }
    json.append(byte)
  }

  /// A byte of a string in JSON.
  private static func escaped(_ byte: UInt8) -> [UInt8] {
    guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else {
      return [byte]
    }
    let text = JSON.string(String(Unicode.Scalar(byte))).text
    return Array(text.utf8.dropFirst().dropLast())
  }
}
