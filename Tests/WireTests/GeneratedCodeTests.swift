// The .proto and all that is made from it say the same.

import Foundation
import TestSupport
import Testing
import Wire

@Suite struct `Generated code` {
  @Test func `what is committed is what the .proto gives`() throws {
    let process = Process()
    process.executableURL = Goldens.checkout.appending(path: "scripts/generate-wire")
    process.arguments = ["--check"]
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(
      decoding: output.fileHandleForReading.readDataToEndOfFile(),
      as: UTF8.self
    )
    process.waitUntilExit()
    guard process.terminationStatus != 2 else {
      print("skipped: the generated files were not compared with the .proto: \(text)")
      return
    }
    #expect(process.terminationStatus == 0, "run scripts/generate-wire: \(text)")
  }

  private func read(_ path: String) throws -> String {
    try String(contentsOf: Goldens.checkout.appending(path: path), encoding: .utf8)
  }

  /// Returns the numbers of an enum of the .proto, by name.
  private func numbers(of name: String, in proto: String) -> [String: UInt32] {
    guard let start = proto.range(of: "enum \(name) {"),
      let end = proto[start.upperBound...].range(of: "}")
    else { return [:] }
    var result: [String: UInt32] = [:]
    for line in proto[start.upperBound..<end.lowerBound].split(separator: "\n") {
      let words = line.split(whereSeparator: { " =;".contains($0) })
      if words.count >= 2 { result[String(words[0])] = UInt32(words[1]) }
    }
    return result
  }

  private func check<Value: CaseIterable & RawRepresentable<UInt32>>(
    _ type: Value.Type,
    in proto: String
  ) {
    let name = "\(type)"
    var expected = [screaming(name) + "_UNSPECIFIED": UInt32(0)]
    for value in Value.allCases {
      expected[screaming(name) + "_" + screaming("\(value)")] = value.rawValue
    }
    #expect(numbers(of: name, in: proto) == expected, "\(name)")
  }

  /// Turns `handOff` into `HAND_OFF`.
  private func screaming(_ name: String) -> String {
    var result = ""
    for (index, character) in name.enumerated() {
      if character.isUppercase, index > 0 { result += "_" }
      result += character.uppercased()
    }
    return result
  }

  @Test func `the Swift enums have the numbers of the .proto`() throws {
    let proto = try read("proto/trestle.proto")
    check(RefusalCode.self, in: proto)
    check(FailureCode.self, in: proto)
    check(EvaluationKind.self, in: proto)
    check(MessageRole.self, in: proto)
    check(CallNotation.self, in: proto)
    check(FinishReason.self, in: proto)
    check(RequestFailureCode.self, in: proto)
    check(ServiceState.self, in: proto)
    check(HealthState.self, in: proto)
    #expect(proto.components(separatedBy: "\nenum ").count - 1 == 9)
  }

  @Test func `the document has a row for every message`() throws {
    let document = try read("docs/PROTOCOL.md")
    var maker = MessageMaker(random: SeededRandom(4))
    for message in maker.everyMessage() {
      #expect(document.contains("| `\(message.name)` |"), "docs/PROTOCOL.md lacks \(message.name)")
    }
  }
}
