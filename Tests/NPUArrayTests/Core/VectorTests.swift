// Instructions against the bytes that two compilers' listings print for them (Tests/Goldens/npu).

import Foundation
import TestSupport
import Testing

@testable import NPUArray

/// An entry of aie2_vectors.json.
struct CoreVector: Decodable, Sendable {
  var kind: String
  var size: Int
  var asm: String
  var bytes_hex: String
  /// The fields of slots, in hexadecimal digits.
  var slots: [String: String]?

  static let all: [CoreVector] = {
    struct File: Decodable { var vectors: [CoreVector] }
    let path = Goldens.directory.appending(path: "npu/aie2_vectors.json")
    guard let data = try? Data(contentsOf: path),
      let file = try? JSONDecoder().decode(File.self, from: data)
    else { return [] }
    return file.vectors
  }()

  var bytes: [UInt8] {
    let digits = Array(bytes_hex)
    return stride(from: 0, to: digits.count, by: 2).compactMap {
      UInt8(String(digits[$0..<$0 + 2]), radix: 16)
    }
  }

  /// The instructions, in no order.
  var instructions: Set<String> { Self.instructions(asm) }

  static func instructions(_ text: String) -> Set<String> {
    Set(text.split(separator: ";").map { $0.trimmingCharacters(in: .whitespaces) })
  }
}

@Suite struct `Published instructions` {
  @Test func `each assembles to its bytes, and reads as its text`() throws {
    let vectors = CoreVector.all.filter { $0.size == Bundle.byteCount }
    #expect(vectors.count >= 270)
    for vector in vectors {
      let bundle = try Bundle(bytes: vector.bytes)
      #expect(bundle.bytes == vector.bytes, "\(vector.asm)")
      #expect(CoreVector.instructions("\(bundle)") == vector.instructions, "\(bundle)")
      // Empty slots may have either of two forms, of which the assembler writes one.
      let again = try Bundle(vector.asm)
      let isUsual = vector.bytes[3] & 8 != 0 || again[.lng] != nil
      #expect(again.bytes == vector.bytes || !isUsual, "\(vector.asm): \(again)")
    }
  }

  @Test func `those of shorter bundles have their fields`() throws {
    let vectors = CoreVector.all.filter { $0.size != Bundle.byteCount }
    #expect(vectors.count >= 130)
    for vector in vectors where vector.asm != "nop" {
      for instruction in vector.instructions where instruction != "nop" {
        let own = try Instruction(instruction)
        let field = vector.slots?[own.slot.rawValue].flatMap { UInt64($0.dropFirst(2), radix: 16) }
        #expect(own.field == field, "\(instruction) in \(vector.slots ?? [:])")
      }
    }
  }
}
