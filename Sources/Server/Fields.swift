// The fields of a request's body: each is read with its type and range, and an error names it by its path.
// A field that is null counts as absent; a field that nobody knows is ignored, as OpenAI's clients expect, where
// nothing is done in its place.

/// The members of an object in a body.
struct Fields {
  private let path: String
  private let members: [String: JSON]

  /// - Parameters:
  ///   - value: The object.
  ///   - path: Where it stands: empty for the body itself.
  /// - Throws: `APIError` 400 if the value is no object.
  init(_ value: JSON, path: String = "") throws(APIError) {
    guard case .object(let members) = value else {
      let name = path.isEmpty ? "the body" : path
      throw APIError.invalid("\(name) is \(value.kind), not an object", path.isEmpty ? nil : path)
    }
    self.path = path
    self.members = Dictionary(uniqueKeysWithValues: members.map { ($0.name, $0.value) })
  }

  /// Refuses members with other names than these.
  ///
  /// For requests that do something where a field is left out: one that is misspelt must not do that.
  func checkNames(_ names: String...) throws(APIError) {
    for name in members.keys.sorted() where !names.contains(name) {
      throw error(name, "is no field of this request, which has \(names.joined(separator: ", "))")
    }
  }

  /// The path of a member.
  func path(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

  /// Returns a member that is there and not null.
  subscript(_ name: String) -> JSON? {
    guard let value = members[name], value != .null else { return nil }
    return value
  }

  func error(_ name: String, _ what: String) -> APIError {
    APIError.invalid("\(path(name)) \(what)", path(name))
  }

  private func mismatch(_ name: String, _ value: JSON, _ wanted: String) -> APIError {
    error(name, "is \(value.kind), not \(wanted)")
  }

  func required(_ name: String) throws(APIError) -> JSON {
    guard let value = self[name] else { throw error(name, "is missing") }
    return value
  }

  func string(_ name: String) throws(APIError) -> String? {
    guard let value = self[name] else { return nil }
    guard case .string(let text) = value else { throw mismatch(name, value, "a string") }
    return text
  }

  func bool(_ name: String) throws(APIError) -> Bool? {
    guard let value = self[name] else { return nil }
    guard case .bool(let flag) = value else { throw mismatch(name, value, "true or false") }
    return flag
  }

  func integer(_ name: String, _ range: ClosedRange<Int>) throws(APIError) -> Int? {
    guard let value = self[name] else { return nil }
    let number: Int? =
      switch value {
      case .integer(let number): number
      // Some clients write 16.0.
      case .number(let number): Int(exactly: number)
      default: nil
      }
    guard let number else { throw mismatch(name, value, "an integer") }
    guard range.contains(number) else {
      throw error(name, "is \(number), outside \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  func number(_ name: String, _ range: ClosedRange<Double>) throws(APIError) -> Double? {
    guard let value = self[name] else { return nil }
    let number: Double
    switch value {
    case .integer(let integer): number = Double(integer)
    case .number(let double): number = double
    default: throw mismatch(name, value, "a number")
    }
    guard range.contains(number) else {
      throw error(name, "is \(number), outside \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  func array(_ name: String) throws(APIError) -> [JSON]? {
    guard let value = self[name] else { return nil }
    guard case .array(let values) = value else { throw mismatch(name, value, "an array") }
    return values
  }

  func object(_ name: String) throws(APIError) -> Fields? {
    guard let value = self[name] else { return nil }
    return try Fields(value, path: path(name))
  }

  /// A string, or several of them.
  func strings(_ name: String) throws(APIError) -> [String]? {
    guard let value = self[name] else { return nil }
    switch value {
    case .string(let text): return [text]
    case .array(let values):
      var texts: [String] = []
      for (index, value) in values.enumerated() {
        guard case .string(let text) = value else {
          throw APIError.invalid(
            "\(path(name))[\(index)] is \(value.kind), not a string",
            path(name)
          )
        }
        texts.append(text)
      }
      return texts
    default: throw mismatch(name, value, "a string or an array of strings")
    }
  }
}

// MARK: Other interfaces

extension Fields {
  typealias Names = [(theirs: String, ours: String)]

  /// Returns those members that are there, under the names that a chat has for them.
  func members(_ names: Names) -> [JSON.Member] {
    names.compactMap { name in self[name.theirs].map { JSON.Member(name.ours, $0) } }
  }

  /// Returns this tool in the form that a chat has for it.
  func function(_ names: Names) throws(APIError) -> JSON {
    guard let name = try string("name") else { throw error("name", "is missing") }
    let members = [JSON.Member("name", .string(name))] + members(names)
    return ["type": "function", "function": .object(members)]
  }
}
