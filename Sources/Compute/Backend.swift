// The one seam between the model and the devices: a backend compiles a program with its weights,
// and the executable runs it step by step.

/// What an executable must have room for.
package struct ExecutableLimits: Sendable, Hashable {
  /// The most rows a step may have.
  package var maxRows: Int
  /// How many sessions the caches hold at once.
  package var slots: Int
  /// The most positions of a session.
  package var contextTokens: Int

  package init(maxRows: Int, slots: Int, contextTokens: Int) {
    self.maxRows = maxRows
    self.slots = slots
    self.contextTokens = contextTokens
  }
}

/// Whether a backend can run an op.
package enum Support: Sendable, Hashable {
  case supported
  case unsupported(reason: String)
}

/// Memory an executable holds, in bytes.
package struct Footprint: Sendable, Hashable {
  /// Weights used in place from the model file.
  package var mappedWeightBytes: Int
  /// Weights repacked for the device.
  package var ownedWeightBytes: Int
  /// Keys and values of the live sessions.
  package var kvBytes: Int

  package init(mappedWeightBytes: Int, ownedWeightBytes: Int, kvBytes: Int) {
    self.mappedWeightBytes = mappedWeightBytes
    self.ownedWeightBytes = ownedWeightBytes
    self.kvBytes = kvBytes
  }
}

/// Our code for one kind of device.
package protocol Backend: Sendable {
  /// The device's name as the command line says it: `cpu`, `reference`.
  var device: String { get }

  /// Returns whether the backend can run an op; placement respects the answer.
  func support(for op: Op) -> Support

  /// Prepares a program for repeated runs.
  ///
  /// `progress` is called with the fraction of the weights prepared so far, 0 to 1. Throws
  /// `ComputeError`, or the weight source's own error.
  func compile(
    _ program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    progress: (Double) -> Void
  ) throws -> any Executable
}

/// A compiled program with its weights and caches.
///
/// Not thread-safe: one thread runs steps and clears slots. A row's results do not depend on the
/// other rows of the batch, nor on how a session was cut into steps (batch invariance).
package protocol Executable: AnyObject {
  var program: Program { get }
  var limits: ExecutableLimits { get }
  var footprint: Footprint { get }

  /// Runs one step.
  ///
  /// - Parameters:
  ///   - batch: The rows. A slot's positions must continue where its last step ended.
  ///   - inputs: One array for each of `program.inputs`, laid out as `Buffer` says.
  /// - Returns: One array for each of `program.outputs`.
  /// - Throws: `ComputeError` with code `batch` if batch and inputs do not fit; nothing has run then.
  func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]]

  /// Forgets a slot's keys and values and gives their memory back.
  func clear(slot: Int)
}

extension Executable {
  /// Checks a batch and its inputs against the program and the limits.
  package func validate(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) {
    try batch.validate(limits: limits)
    guard inputs.count == program.inputs.count else {
      throw ComputeError(
        .batch,
        "\(inputs.count) inputs, the program takes \(program.inputs.count)"
      )
    }
    for (id, input) in zip(program.inputs, inputs) {
      let expected = program[id].elementCount(in: batch)
      guard input.count == expected else {
        throw ComputeError(
          .batch,
          "input \(program[id].name) has \(input.count) values, \(expected) expected"
        )
      }
    }
  }
}
