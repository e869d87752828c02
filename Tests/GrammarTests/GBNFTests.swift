// Grammars in llama.cpp's format.

import Testing

@testable import Grammar

@Suite struct `GBNF` {
  private func check(_ text: String, valid: [String], invalid: [String]) throws {
    let grammar = try CompiledGrammar(.gbnf(text))
    for value in valid { #expect(accepts(grammar, value), "\(text) refuses \(value)") }
    for value in invalid { #expect(!accepts(grammar, value), "\(text) accepts \(value)") }
  }

  @Test func `rules have alternatives, groups and repetitions`() throws {
    try check(
      """
      # A comment.
      root ::= "a" b* | c   # Another.
      b ::= [x-z]{2,3}
      c ::= ("q" | "r"
        | "s")+ d?
      d ::= "!"{2} | "?"{1,} | "."{,2}
      """,
      valid: ["a", "axy", "axyzxy", "q", "rs", "q!!", "q???", "q..", "s"],
      invalid: ["ax", "b", "", "q!", "q...", "a!!"]
    )
  }

  @Test func `classes are of characters`() throws {
    try check(
      "root ::= [^a-c\\n\\]] [\\x41-\\u0043é😀-] .",
      valid: ["dAx", "éé€", "x😀\n", "[-\\"],
      invalid: ["aAx", "]Ax", "\nAx", "dDx", "dA", "dAxx"]
    )
    let grammar = try CompiledGrammar(.gbnf("root ::= ."))
    #expect(!accepts(grammar, [0xC3]))
    #expect(!accepts(grammar, [0xED, 0xA0, 0x80]))
    #expect(!accepts(grammar, [0xC0, 0x80]))
    #expect(accepts(grammar, [0xF4, 0x8F, 0xBF, 0xBF]))
  }

  @Test func `texts have escapes`() throws {
    try check(
      #"root ::= "\"\\\n\x41\u00e9\U0001F600[\]""#,
      valid: ["\"\\\nAé😀[]"],
      invalid: ["A"]
    )
  }

  @Test func `recursion is a stack`() throws {
    try check(
      "root ::= \"(\" root \")\" | \"\"",
      valid: ["", "()", "((()))"],
      invalid: ["(", ")", "(()", "())"]
    )
    try check(
      "root ::= x y\nx ::= \"a\" x?\ny ::= \"b\" y | \"b\"",
      valid: ["ab", "aabbb"],
      invalid: ["a", "b", "aba"]
    )
  }

  @Test(arguments: [
    "root ::= root \"a\" | \"b\"", "root ::= x? root \"a\" | \"b\"\nx ::= \"y\"",
    "root ::= a\na ::= b \"1\" | \"2\"\nb ::= a | \"3\"", "root ::= (\"\" root)* \"x\"",
  ])
  func `a rule that begins with itself is refused`(_ text: String) {
    #expect(refusal(.gbnf(text))?.code == .unsupported)
  }

  @Test(arguments: [
    ("root ::= x", "line 1"), ("a ::= \"b\"", ""), ("root ::= \"a", "line 1"),
    ("root ::= \"a\"\nroot ::= \"b\"", "line 2"), ("root = \"a\"", "line 1"),
    ("root ::= (\"a\"", "line 1"),
    ("root ::= [a", "line 1"), ("root ::= \"a\"{3,2}", "line 1"), ("root ::= [b-a]", "line 1"),
    ("\n\nroot ::= \"a\" )", "line 3"), ("", ""), ("root ::= *", "line 1"),
    ("root ::= \"\\x4\"", "line 1"),
  ])
  func `what is malformed is refused by its line`(_ text: String, _ line: String) {
    let error = refusal(.gbnf(text))
    #expect(error?.code == .malformed)
    #expect(error?.path == line)
  }

  @Test func `a rule that never ends is refused`() {
    #expect(refusal(.gbnf("root ::= \"a\" root"))?.code == .unsatisfiable)
  }
}
