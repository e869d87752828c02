// A schema's document: its subschemas by number, and where references lead.

/// The subschemas of one document that have been met.
struct SchemaDocument {
  private let root: JSONValue
  private let isStrict: Bool
  private var values: [JSONValue] = []
  private var paths: [String] = []
  private var byPath: [String: Int] = [:]

  init(_ root: JSONValue, isStrict: Bool) {
    self.root = root
    self.isStrict = isStrict
  }

  /// The number of the subschema at a path, which is checked when it is met first.
  ///
  /// - Throws: `GrammarError` if it is no schema, or has a keyword that is not supported.
  mutating func schema(_ value: JSONValue, at path: String) throws(GrammarError) -> Int {
    if let known = byPath[path] { return known }
    switch value {
    case .bool: break
    case .object(let members): try SchemaKeywords.check(members, isStrict: isStrict, at: path)
    default: throw GrammarError(.malformed, "a schema is an object, true or false", at: path)
    }
    let number = values.count
    values.append(value)
    paths.append(path)
    byPath[path] = number
    return number
  }

  /// The whole document.
  mutating func rootSchema() throws(GrammarError) -> Int { try schema(root, at: "#") }

  /// A keyword of a subschema.
  subscript(_ id: Int, _ keyword: String) -> JSONValue? { values[id][keyword] }

  func value(_ id: Int) -> JSONValue { values[id] }

  /// Where a keyword of a subschema stands.
  func path(_ id: Int, _ keyword: String) -> String { "\(paths[id])/\(keyword)" }
  func path(_ id: Int) -> String { paths[id] }

  /// A name as it stands in a JSON pointer (RFC 6901).
  static func escaped(_ name: String) -> String {
    var result = ""
    for scalar in name.unicodeScalars {
      switch scalar {
      case "~": result += "~0"
      case "/": result += "~1"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// The subschema that a reference names.
  mutating func resolve(_ reference: String, at path: String) throws(GrammarError) -> Int {
    var fragment = Substring(reference)
    if let base = root["$id"], case .string(let text) = base, !text.isEmpty, text != "#",
      reference.hasPrefix(text)
    {
      fragment = reference.dropFirst(text.hasSuffix("#") ? text.count - 1 : text.count)
    }
    guard fragment.isEmpty || fragment.hasPrefix("#") else {
      throw GrammarError(.unsupported, "\"\(reference)\" is in another document", at: path)
    }
    let pointer = try Self.decoded(fragment.dropFirst(), at: path)
    if pointer.isEmpty { return try rootSchema() }
    guard pointer.hasPrefix("/") else { return try anchor(pointer, reference, at: path) }
    var value = root
    var place = "#"
    for part in pointer.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
      let name = Self.unescaped(part)
      place += "/\(part)"
      if case .array(let items) = value, let index = Int(name), items.indices.contains(index) {
        value = items[index]
      } else if let member = value[name] {
        value = member
      } else {
        throw GrammarError(.malformed, "\"\(reference)\" leads nowhere", at: path)
      }
    }
    return try schema(value, at: place)
  }

  /// Finds `$anchor`, and the fragment identifiers of older drafts.
  private mutating func anchor(
    _ name: String,
    _ reference: String,
    at path: String
  ) throws(GrammarError) -> Int {
    var work = [(value: root, path: "#")]
    while let (value, place) = work.popLast() {
      if value["$anchor"] == .string(name) || value["$id"] == .string("#\(name)") {
        return try schema(value, at: place)
      }
      switch value {
      case .object(let members):
        work += members.reversed().map { ($0.value, "\(place)/\(Self.escaped($0.name))") }
      case .array(let items):
        work += items.enumerated().reversed().map { ($0.element, "\(place)/\($0.offset)") }
      default: break
      }
    }
    throw GrammarError(.malformed, "\"\(reference)\" leads nowhere", at: path)
  }

  private static func unescaped(_ part: Substring) -> String {
    var result = ""
    var isEscape = false
    for scalar in part.unicodeScalars {
      if isEscape {
        result += scalar == "1" ? "/" : scalar == "0" ? "~" : "~\(scalar)"
        isEscape = false
      } else if scalar == "~" {
        isEscape = true
      } else {
        result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// Decodes what URIs write with `%`.
  private static func decoded(_ text: Substring, at path: String) throws(GrammarError) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard rest.count >= 2,
        let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
      else { throw GrammarError(.malformed, "\"\(text)\" is no fragment of a URI", at: path) }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
