// Text that a chat template outputs, with a record of which parts came from a message. Those parts
// are tokenized as plain text, whatever they look like.

/// A string during the execution of a template.
struct TemplateText: Sendable, Hashable {
  /// A stretch of text with one origin.
  struct Part: Sendable, Hashable {
    var bytes: [UInt8]
    /// Whether the text came from a message; otherwise the template's author wrote it.
    var isPlain: Bool
  }

  private(set) var parts: [Part] = []

  init() {}

  init(_ text: String, isPlain: Bool = false) {
    if !text.isEmpty { parts = [Part(bytes: Array(text.utf8), isPlain: isPlain)] }
  }

  var byteCount: Int { parts.reduce(0) { $0 + $1.bytes.count } }
  var isEmpty: Bool { parts.isEmpty }
  /// The text without its origin.
  var bytes: [UInt8] { parts.flatMap(\.bytes) }
  var string: String { String(decoding: bytes, as: UTF8.self) }

  mutating func append(_ other: TemplateText) {
    for part in other.parts {
      if let last = parts.indices.last, parts[last].isPlain == part.isPlain {
        parts[last].bytes += part.bytes
      } else {
        parts.append(part)
      }
    }
  }

  /// Returns a range of the bytes, with their origins.
  subscript(range: Range<Int>) -> TemplateText {
    var result = TemplateText()
    var start = 0
    for part in parts {
      let low = max(range.lowerBound - start, 0)
      let high = min(range.upperBound - start, part.bytes.count)
      if low < high {
        result.parts.append(Part(bytes: Array(part.bytes[low..<high]), isPlain: part.isPlain))
      }
      start += part.bytes.count
    }
    return result
  }

  /// Returns the text without white space at the chosen ends, by the rules of Python's `str.strip`.
  func trimmed(start: Bool = true, end: Bool = true) -> TemplateText {
    let scalars = string.unicodeScalars
    var first = scalars.startIndex
    if start { first = scalars.firstIndex { !Self.isSpace($0) } ?? scalars.endIndex }
    var past = scalars.endIndex
    if end {
      past = scalars.lastIndex { !Self.isSpace($0) }.map(scalars.index(after:)) ?? first
    }
    let utf8 = string.utf8
    let low = utf8.distance(from: utf8.startIndex, to: first)
    return self[low..<max(low, utf8.distance(from: utf8.startIndex, to: past))]
  }

  /// Returns the text in upper or in lower case.
  func changed(to isUpper: Bool) -> TemplateText {
    var result = TemplateText()
    for part in parts {
      let text = String(decoding: part.bytes, as: UTF8.self)
      let changed = isUpper ? text.uppercased() : text.lowercased()
      result.append(TemplateText(changed, isPlain: part.isPlain))
    }
    return result
  }

  /// Returns the parts between the occurrences of a separator, which must not be empty.
  func split(_ separator: [UInt8]) -> [TemplateText] {
    let bytes = bytes
    var result: [TemplateText] = []
    var start = 0
    for found in Self.occurrences(of: separator, in: bytes) {
      result.append(self[start..<found])
      start = found + separator.count
    }
    return result + [self[start..<bytes.count]]
  }

  /// Returns the text with all occurrences of some bytes replaced.
  func replacing(_ old: [UInt8], with new: TemplateText) -> TemplateText {
    var result = TemplateText()
    for (index, part) in split(old).enumerated() {
      if index > 0 { result.append(new) }
      result.append(part)
    }
    return result
  }

  func contains(_ other: [UInt8]) -> Bool {
    other.isEmpty || !Self.occurrences(of: other, in: bytes).isEmpty
  }

  /// Returns the offsets at which a text occurs in another, without overlaps.
  private static func occurrences(of needle: [UInt8], in bytes: [UInt8]) -> [Int] {
    var result: [Int] = []
    var start = 0
    while start + needle.count <= bytes.count {
      if bytes[start] == needle[0], bytes[start..<(start + needle.count)].elementsEqual(needle) {
        result.append(start)
        start += needle.count
      } else {
        start += 1
      }
    }
    return result
  }

  // Python's str.isspace accepts Unicode white space and the separators 0x1C to 0x1F.
  private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
  }
}
