// The text file of public keys that are let in: each line has a key, a name and, if wanted, roles.
//
//   # who may use this machine's pipelines
//   rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7  laptop
//   Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID  phone  ask
//
// A line without roles (Role.swift) allows everything.
//
// A key may contain "#" but not begin with it: as the first of five characters it would stand for
// more than 32 bits (84 × 85⁴ > 2³²). So a line that begins with "#" is a comment.

/// Public keys by name.
package struct KeyList: Sendable, Hashable {
  package struct Entry: Sendable, Hashable {
    package let key: PublicKey
    package let name: String
    package var roles = Role.all
  }

  /// The lines in file order; comments and empty lines are kept unchanged.
  private enum Line: Sendable, Hashable {
    case entry(Entry)
    case other(String)
  }

  private var lines: [Line] = []

  package init() {}

  package var entries: [Entry] {
    lines.compactMap { if case .entry(let entry) = $0 { entry } else { nil } }
  }

  package func contains(_ key: PublicKey) -> Bool { self[key] != nil }

  package subscript(key: PublicKey) -> Entry? { entries.first { $0.key == key } }

  /// Returns the key of that name.
  package subscript(name name: String) -> PublicKey? { entries.first { $0.name == name }?.key }

  /// The file's content.
  package var text: String {
    lines.map { line in
      switch line {
      case .entry(let entry):
        "\(entry.key)  \(entry.name)"
          + (entry.roles == Role.all ? "\n" : "  \(Role.text(entry.roles))\n")
      case .other(let text): text + "\n"
      }
    }
    .joined()
  }
}

// MARK: Reading

extension KeyList {
  /// Reads a file's content.
  ///
  /// - Parameters:
  ///   - bytes: At most `Limits.keyFileBytes`.
  ///   - path: The file's path, for error messages.
  /// - Throws: `WireError` with code `key` and the line at fault.
  package init(parsing bytes: [UInt8], path: String) throws(WireError) {
    guard bytes.count <= Limits.keyFileBytes else {
      throw WireError(
        .key,
        "\(bytes.count) bytes of keys, at most \(Limits.keyFileBytes) are read",
        context: path
      )
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw WireError(.key, "a file of keys that is not UTF-8", context: path)
    }
    // A Character may be "\r\n", so lines are split by Unicode scalars.
    var rest = text.unicodeScalars[...]
    var number = 0
    while !rest.isEmpty {
      let end = rest.firstIndex(of: "\n")
      var line = rest[..<(end ?? rest.endIndex)]
      if line.last == "\r" { line.removeLast() }
      number += 1
      do throws(WireError) { try read(String(line)) } catch {
        throw WireError(.key, error.message, context: "\(path), line \(number)")
      }
      rest = end.map { rest[rest.index(after: $0)...] } ?? rest[rest.endIndex...]
    }
  }

  private mutating func read(_ line: String) throws(WireError) {
    let words = line.split { $0 == " " || $0 == "\t" }.map(String.init)
    guard let first = words.first, !first.hasPrefix("#") else {
      lines.append(.other(line))
      return
    }
    guard (2...3).contains(words.count) else {
      throw WireError(
        .key,
        (words.count == 1 ? "a word alone" : "\(words.count) words")
          + "; write a key, a name and perhaps roles, as in ask,work, or begin a comment with \"#\""
      )
    }
    let roles = words.count == 3 ? try Role.parse(words[2]) : Role.all
    try add(PublicKey(first), name: words[1], roles: roles)
  }
}

// MARK: Changing

extension KeyList {
  /// Lets a key in under a name.
  ///
  /// - Throws: `WireError` with code `key` if the name is not valid or is taken, or if the list
  ///   already has the key under another name.
  package mutating func add(
    _ key: PublicKey,
    name: String,
    roles: Set<Role> = Role.all
  ) throws(WireError) {
    guard Self.isName(name) else {
      throw WireError(
        .key,
        "\"\(name.prefix(80))\" is not a name for a key: use up to \(Limits.keyNameBytes) letters, digits, \".\", \"-\" and \"_\""
      )
    }
    for entry in entries where entry.key == key || entry.name == name {
      throw WireError(
        .key,
        entry.key == key
          ? "the key is there already, as \"\(entry.name)\""
          : "another key is called \"\(name)\" already"
      )
    }
    lines.append(.entry(Entry(key: key, name: name, roles: roles)))
  }

  /// Changes what a key may do; does nothing if the list does not have the key.
  package mutating func set(_ roles: Set<Role>, of key: PublicKey) {
    for index in lines.indices {
      guard case .entry(var entry) = lines[index], entry.key == key else { continue }
      entry.roles = roles
      lines[index] = .entry(entry)
    }
  }

  /// Removes the key with this name or text and returns its entry; nil if there is none.
  package mutating func remove(_ nameOrKey: String) -> Entry? {
    let index = lines.firstIndex { line in
      guard case .entry(let entry) = line else { return false }
      return entry.name == nameOrKey || entry.key.description == nameOrKey
    }
    guard let index, case .entry(let entry) = lines.remove(at: index) else { return nil }
    return entry
  }

  /// Returns an unused name: `key-1`, `key-2` and so on.
  package var freeName: String {
    let taken = Set(entries.map(\.name))
    var number = 1
    while taken.contains("key-\(number)") { number += 1 }
    return "key-\(number)"
  }

  private static func isName(_ name: String) -> Bool {
    (1...Limits.keyNameBytes).contains(name.utf8.count)
      && name.utf8.allSatisfy { byte in
        switch byte {
        case 48...57, 65...90, 97...122, 45, 46, 95: true  // 0-9 A-Z a-z - . _
        default: false
        }
      }
  }
}
