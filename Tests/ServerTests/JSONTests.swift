// JSON as the API reads and writes it.

import Server
import TestSupport
import Testing

@Suite struct `JSON of the API` {
  private func parse(_ text: String) throws(APIError) -> JSON {
    try JSON(parsing: Array(text.utf8))
  }

  @Test(arguments: [
    #"{"b":1,"a":[true,false,null],"c":{"x":-2.5}}"#, #""\"\\\n\té€😀""#, "[]", "{}", "0",
    "-9223372036854775808",
    "1.8446744073709552e+19", #"{"":""}"#,
  ])
  func `a document is written as it was read`(_ text: String) throws {
    #expect(try parse(text).text == text)
  }

  @Test func `an integer keeps its digits, and another number is one`() throws {
    #expect(try parse("9007199254740993") == .integer(9_007_199_254_740_993))
    #expect(try parse("16.0") == .integer(16))
    #expect(try parse("1e3") == .integer(1000))
  }

  @Test(arguments: [
    "", "{", "[1,]", "{\"a\":1,\"a\":2}", "nul", "01", "+1", ".5", "1.", "1e", "-", "1 2",
    "\"\u{1}\"", "{\"a\" 1}", "[1 2]", "tru",
    String(repeating: "[", count: 65) + String(repeating: "]", count: 65),
  ])
  func `what is no JSON is refused with status 400`(_ text: String) {
    let error = #expect(throws: APIError.self) { try parse(text) }
    #expect(error?.status == 400 && error?.message.contains("JSON") == true)
  }

  @Test func `numbers that JSON has not are written as impossible log probabilities`() {
    #expect(JSON.array([.number(-.infinity), .number(.nan)]).text == "[-9999.0,-9999.0]")
  }

  @Test(.seeded(default: 14)) func `mutated documents are read or refused, and nothing crashes`() {
    var random = SeededRandom(testSeed(default: 14))
    let source = Array(
      #"{"messages":[{"role":"user","content":"hé\u00e9"}],"n":1.5e3,"x":[null,true]}"#.utf8
    )
    for _ in 0..<5000 {
      var bytes = source
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let index = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[index] = UInt8.random(in: .min ... .max, using: &random)
        case 1: bytes.remove(at: index)
        default: bytes.insert(bytes[index], at: index)
        }
      }
      guard let value = try? JSON(parsing: bytes) else { continue }
      #expect((try? JSON(parsing: Array(value.text.utf8))) != nil)
    }
  }
}
