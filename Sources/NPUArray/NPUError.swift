// What can be wrong with a program or a design for the array, in words that name the place.

/// Why a program, a design or its bytes are refused.
package struct NPUError: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Code: Sendable, Hashable {
    /// Text that is no assembly.
    case syntax
    /// An operand that an instruction cannot have.
    case operand
    /// A number that its field cannot hold.
    case range
    /// Instructions that cannot be issued together.
    case bundle
    /// Bytes that are no instruction, or no command of the array.
    case bytes
    /// An array that stands still, and will for ever.
    case standstill
  }

  package var code: Code
  /// What is wrong, with the value at fault.
  package var message: String
  /// Where: a line of a source, a bundle, a tile; empty if there is only one place.
  package var place: String

  package init(_ code: Code, _ message: String, at place: String = "") {
    self.code = code
    self.message = message
    self.place = place
  }

  package var description: String { place.isEmpty ? message : "\(place): \(message)" }
}
