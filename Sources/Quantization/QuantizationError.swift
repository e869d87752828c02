// The errors of this module.

/// An error of a quantiser.
package struct QuantizationError: Error, Sendable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// The source cannot be quantised as it is asked for.
    case source
    /// Importance data does not fit.
    case importance
    /// The recipe cannot be followed.
    case recipe
    /// Values are infinite or NaN, or too large for a type.
    case values
  }

  package let code: Code
  package let message: String
  /// The file or tensor at fault; empty if the message says it.
  package let context: String

  package init(_ code: Code, _ message: String, context: String = "") {
    self.code = code
    self.message = message
    self.context = context
  }

  package var description: String {
    "quantization.\(code.rawValue): \(context.isEmpty ? "" : "\(context): ")\(message)"
  }
}
