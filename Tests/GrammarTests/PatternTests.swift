// Regular expressions of JSON Schema.

import Testing

@testable import Grammar

@Suite struct `Patterns` {
  private func machine(_ pattern: String, anchored: Bool = false) throws -> CharacterMachine {
    try CharacterMachine(pattern: pattern, isAnchored: anchored, at: "")
  }

  @Test(arguments: [
    ("a.c", ["abc", "xaccx", "a\"c"], ["ac", "a\nc"]),
    ("^a+b?$", ["a", "aab"], ["b", "xa", "abb"]),
    ("^(foo|bar)?$", ["", "foo", "bar"], ["foobar"]), ("^$", [""], ["a"]), ("", ["", "a"], []),
    ("^a|b$", ["ax", "xb", "b"], ["xa", "bx"]),
    ("^[^a-c]{2,3}$", ["de", "def"], ["d", "defg", "ad"]),
    ("^\\d+\\.\\d{2}$", ["1.23"], ["1.2", "١.٢٣"]), ("^\\w+\\s\\S+$", ["a_1 é"], ["é a"]),
    ("^[\\w.-]+@[a-z]+$", ["a.b-c@d"], ["@d"]), ("^\\u00e9\\x41\\u{1F600}$", ["éA😀"], ["e"]),
    ("^(?:a(?<n>b)c)*$", ["", "abcabc"], ["ab"]), ("^a{,3}$", ["a{,3}"], ["a"]),
    ("^[]a]$", [], ["a", "]"]),
    ("^\\p{Lu}\\p{L}*$", ["Éa", "A"], ["éa", "1"]), ("^[\\d-x]+$", ["1-x"], ["y"]),
    ("^a*?b+?$", ["aab"], ["a"]),
    ("^\\/\\-\\.$", ["/-."], ["x"]), ("^[a-]$", ["a", "-"], ["b"]), ("x(^a)", [], ["xa", "a"]),
  ])
  func `match as ECMA-262 says`(_ pattern: String, _ good: [String], _ bad: [String]) throws {
    let machine = try machine(pattern)
    for text in good { #expect(machine.accepts(text), "\(pattern) refuses \(text)") }
    for text in bad { #expect(!machine.accepts(text), "\(pattern) accepts \(text)") }
  }

  @Test(arguments: [
    "(?=a)", "(?!a)", "(?<=a)b", "(a)\\1", "\\bword", "\\k<n>", "\\p{Script=Greek}",
  ])
  func `what is not regular is refused`(_ pattern: String) {
    #expect(refusal(.pattern(pattern))?.code == .unsupported)
  }

  @Test(arguments: ["(", ")", "[a", "a**", "*", "[b-a]", "a{3,2}", "\\", "\\u12", "(?<n", "^*"])
  func `what is malformed is refused`(_ pattern: String) {
    #expect(refusal(.pattern(pattern))?.code == .malformed)
  }

  @Test func `what needs too many states is refused`() {
    #expect(refusal(.pattern("(a|b)*a(a|b){30}"))?.code == .limit)
    #expect(refusal(.pattern("((((a{1000}){1000}){1000}){1000})"))?.code == .limit)
    #expect(refusal(.pattern("a{3000}"))?.code == .limit)
  }

  @Test func `machines are joined and turned around`() throws {
    let both = try machine("^a").intersection(machine("b$"), at: "")
    #expect(both.accepts("ab") && !both.accepts("a") && !both.accepts("b"))
    let neither = try machine("^a").complement.intersection(machine("b$").complement, at: "")
    #expect(neither.accepts("") && neither.accepts("ba") && !neither.accepts("ab"))
    #expect(try machine("^a$").intersection(machine("^b$"), at: "").isEmpty)
    #expect(try machine("").complement.isEmpty)
    #expect(CharacterMachine(trimming: []).complement.accepts("x"))
  }

  @Test func `a pattern constrains the whole text`() throws {
    let grammar = try CompiledGrammar(.pattern("[a-c]+é?\"?"))
    for text in ["a", "abcé", "c\""] { #expect(accepts(grammar, text)) }
    for text in ["", "d", "aé é"] { #expect(!accepts(grammar, text)) }
  }
}
