// The error of whoever reads a model: of its files here, of what they mean in the modules above.

internal import Compute

/// Why a model could not be read or used.
///
/// What reads a config or a tokenizer throws it too, since to whoever gives a model a wrong byte and a
/// wrong value are faults of one file; so no look-up of a key needs to translate an error.
package struct ModelFilesError: Error, Sendable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// The path cannot be opened or read.
    case file
    /// The bytes are not what the format says: truncated, out of range, contradictory.
    case format
    /// Well-formed, but of a kind we do not know: an architecture, a type, a version.
    case unsupported
    /// A required metadata key or config field is missing or absurd.
    case config
    /// A tensor is missing, or its shape or type is not the config's.
    case tensor
    /// The tokenizer is missing or broken, or text cannot be tokenized.
    case tokenizer
    /// The chat template is missing or unknown.
    case template
  }

  package var code: Code
  package var message: String
  /// The file, key or tensor.
  package var context: String
  package var underlying: (any Error)?

  package init(
    _ code: Code,
    _ message: String,
    context: String = "",
    underlying: (any Error)? = nil
  ) {
    self.code = code
    self.message = message
    self.context = context
    self.underlying = underlying
  }

  /// One line: names come from files, and a damaged one must not break a log into lines.
  package var description: String {
    let place = context.isEmpty ? "" : " (\(context))"
    let cause = underlying.map { ": \($0)" } ?? ""
    return "model.\(code.rawValue): \(message)\(place)\(cause)".printable
  }
}
