// What can be wrong with the source of a grammar.

/// Why a grammar was not compiled.
package struct GrammarError: Error, Hashable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// The text is not JSON, GBNF or a regular expression.
    case malformed
    /// A keyword, or a way to use one, that is known and not supported.
    case unsupported
    /// Nothing satisfies it.
    case unsatisfiable
    /// It would take more time or memory than one grammar may.
    case limit
  }

  package var code: Code
  /// What is wrong, with the values, as a sentence without its full stop.
  package var message: String
  /// Where: a JSON pointer that ends in the keyword (`#/properties/a/not`), or a line of GBNF; may
  /// be empty.
  package var path: String

  init(_ code: Code, _ message: String, at path: String = "") {
    self.code = code
    self.message = message
    self.path = path
  }

  package var description: String {
    path.isEmpty
      ? "grammar.\(code.rawValue): \(message)" : "grammar.\(code.rawValue): \(message) (\(path))"
  }
}
