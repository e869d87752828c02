// The error of the Compute module and of every backend.

/// Why a program could not be validated, compiled or run.
package struct ComputeError: Error, Sendable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// The program contradicts itself, for example a buffer read before it is written.
    case invalidProgram
    /// The backend has no kernel for an op, a type or a shape.
    case unsupported
    /// A weight is missing or has another shape or type than the program says.
    case weight
    /// A batch does not fit the executable: rows, slots, positions or inputs.
    case batch
    /// The device, or its machine, has too little memory.
    case memory
    /// The device failed, is gone, or is not to be had as asked; what it held is lost.
    case device
  }

  package var code: Code
  package var message: String
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

  package var description: String {
    let place = context.isEmpty ? "" : " (\(context))"
    let cause = underlying.map { ": \($0)" } ?? ""
    return "compute.\(code.rawValue): \(message)\(place)\(cause)"
  }
}
