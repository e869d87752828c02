// JSON of a model directory, with typed look-ups that name the file, the key and what stands there.
// Foundation parses; nothing of its untyped values leaves this file.

import Foundation

/// A JSON value.
package enum JSONValue: Sendable, Hashable {
  case null
  case bool(Bool)
  case integer(Int)
  case double(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  /// What the value is, for an error.
  package var kind: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .integer(let value): "\(value)"
    case .double(let value): "\(value)"
    case .string(let value): "\"\(value.prefix(80))\""
    case .array(let values): "an array of \(values.count)"
    case .object: "an object"
    }
  }

  fileprivate init(_ value: Any) {
    switch value {
    case let text as String: self = .string(text)
    case let values as [Any]: self = .array(values.map(JSONValue.init))
    case let fields as [String: Any]: self = .object(fields.mapValues(JSONValue.init))
    case let number as NSNumber:
      // NSNumber converts true to 1 on request; its Objective-C type tells them apart.
      let isBool = unsafe number.objCType.pointee == CChar(UInt8(ascii: "c"))
      if isBool {
        self = .bool(number.boolValue)
      } else if let integer = value as? Int {
        self = .integer(integer)
      } else {
        self = .double(number.doubleValue)
      }
    default: self = .null
    }
  }
}

/// A JSON object and where it stands.
package struct JSONObject: Sendable {
  /// The members, nulls among them.
  package let fields: [String: JSONValue]
  /// The file, and the keys that lead to the object.
  package let place: String

  // Larger JSON is refused: parsed, it takes twenty times its size in memory. The index of a Gemma
  // model has 200 kB.
  static let byteCountLimit = 16 << 20

  package init(fields: [String: JSONValue], place: String) {
    self.fields = fields
    self.place = place
  }

  /// Parses a whole file.
  ///
  /// - Throws: `ModelFilesError.format` if it is not a JSON object, or is too large for one.
  package static func read(_ path: String) throws(ModelFilesError) -> JSONObject {
    let file = try MappedFile.open(path)
    return try JSONObject(file, offset: 0, count: file.size)
  }

  /// Parses a range of a file.
  init(_ file: MappedFile, offset: Int, count: Int) throws(ModelFilesError) {
    guard count <= JSONObject.byteCountLimit else {
      throw ModelFilesError(
        .format,
        "\(count) bytes of JSON; at most \(JSONObject.byteCountLimit) are read",
        context: file.path
      )
    }
    if offset == 0, file.isForeign { throw file.foreign("JSON file") }
    let region = try file.region(offset: offset, count: count)
    let parsed: Any
    do {
      parsed = try JSONSerialization.jsonObject(with: unsafe Data(region.bytes))
    } catch {
      let reason = (error as NSError).userInfo["NSDebugDescription"].map { "\($0)" } ?? "\(error)"
      throw ModelFilesError(.format, "no JSON: \(reason)", context: file.path)
    }
    guard case .object(let fields) = JSONValue(parsed) else {
      throw ModelFilesError(.format, "a JSON object is expected", context: file.path)
    }
    self.fields = fields
    place = file.path
  }

  /// Returns a value; nil if the key is absent or null.
  package func value(_ key: String) -> JSONValue? {
    guard let value = fields[key] else { return nil }
    if case .null = value { return nil }
    return value
  }

  /// Returns an integer, also one written with a fraction of zero; nil if absent or null.
  package func integer(_ key: String) throws(ModelFilesError) -> Int? {
    guard let value = value(key) else { return nil }
    switch value {
    case .integer(let integer): return integer
    // Some converters write all numbers with a fraction.
    case .double(let double):
      if let whole = Int(exactly: double) { return whole }
      fallthrough
    default: throw mismatch(key, value, "an integer")
    }
  }

  /// Returns a number, written with a fraction or without.
  package func double(_ key: String) throws(ModelFilesError) -> Double? {
    switch value(key) {
    case nil: return nil
    case .integer(let integer)?: return Double(integer)
    case .double(let double)?: return double
    case let value?: throw mismatch(key, value, "a number")
    }
  }

  /// Returns a truth value; nil if absent or null.
  package func bool(_ key: String) throws(ModelFilesError) -> Bool? {
    guard let value = value(key) else { return nil }
    guard case .bool(let bool) = value else { throw mismatch(key, value, "true or false") }
    return bool
  }

  /// Returns a text; nil if absent or null.
  package func string(_ key: String) throws(ModelFilesError) -> String? {
    guard let value = value(key) else { return nil }
    guard case .string(let string) = value else { throw mismatch(key, value, "a string") }
    return string
  }

  /// Returns an object, which knows the keys that lead to it; nil if absent or null.
  package func object(_ key: String) throws(ModelFilesError) -> JSONObject? {
    guard let value = value(key) else { return nil }
    guard case .object(let fields) = value else { throw mismatch(key, value, "an object") }
    return JSONObject(fields: fields, place: "\(place), \(key)")
  }

  /// Returns the texts of an array; nil if absent or null.
  package func strings(_ key: String) throws(ModelFilesError) -> [String]? {
    guard let value = value(key) else { return nil }
    guard case .array(let values) = value else { throw mismatch(key, value, "an array") }
    var strings: [String] = []
    for value in values {
      guard case .string(let string) = value else { throw mismatch(key, value, "strings") }
      strings.append(string)
    }
    return strings
  }

  /// Returns the integers of an array, or the one that stands there without brackets.
  package func integers(_ key: String) throws(ModelFilesError) -> [Int]? {
    guard let value = value(key) else { return nil }
    guard case .array(let values) = value else { return [try integer(key) ?? 0] }
    var integers: [Int] = []
    for value in values {
      guard case .integer(let integer) = value else { throw mismatch(key, value, "integers") }
      integers.append(integer)
    }
    return integers
  }

  /// Returns the numbers of an array, or the one that stands there without brackets.
  package func doubles(_ key: String) throws(ModelFilesError) -> [Double]? {
    guard let value = value(key) else { return nil }
    guard case .array(let values) = value else { return [try double(key) ?? 0] }
    var doubles: [Double] = []
    for value in values {
      switch value {
      case .integer(let integer): doubles.append(Double(integer))
      case .double(let double): doubles.append(double)
      default: throw mismatch(key, value, "numbers")
      }
    }
    return doubles
  }

  private func mismatch(_ key: String, _ value: JSONValue, _ wanted: String) -> ModelFilesError {
    ModelFilesError(.config, "\(key) holds \(value.kind), \(wanted) expected", context: place)
  }
}
