// Encodes and decodes documents as JSON, in one way for commands and for programs that serve or
// read them.

package import Foundation

/// How documents are written and read: keys in snake_case, sorted, on one line.
package enum DocumentCoding {
  package static func encode(_ document: some Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(document)
  }

  package static func decode<Document: Decodable>(
    _ type: Document.Type,
    from json: Data
  ) throws -> Document {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(type, from: json)
  }
}
