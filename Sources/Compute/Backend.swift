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
  /// Of these, the ones taken over from the executable before (`Backend.compile`), so not new.
  package var sharedWeightBytes: Int
  /// Keys and values of the live sessions.
  package var kvBytes: Int

  package init(
    mappedWeightBytes: Int,
    ownedWeightBytes: Int,
    sharedWeightBytes: Int,
    kvBytes: Int
  ) {
    self.mappedWeightBytes = mappedWeightBytes
    self.ownedWeightBytes = ownedWeightBytes
    self.sharedWeightBytes = sharedWeightBytes
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
  /// With `previous`, an executable that this kind of backend compiled before in this process, the
  /// new one takes over by reference what the two have in common: prepared weights, if the source
  /// has the same bytes at the same place, and KV caches with what they hold, if cache, limits and
  /// element type are the same. Only what is new is prepared; what only the old one has is freed
  /// with it. Another backend's executable is ignored.
  ///
  /// `previous` may run steps on another thread meanwhile, and goes on undisturbed until the new one
  /// first runs, clears, imports, copies or resumes. From then on the caches are the new one's: the
  /// old one must do none of these any more. If the new one is dropped before, the old one simply
  /// goes on. Each counts its slots' positions itself, from 0: `resume` brings the new one to where
  /// the old one was.
  ///
  /// `progress` is called with the fraction of the weights prepared so far, 0 to 1. Throws
  /// `ComputeError`, or the weight source's own error.
  func compile(
    _ program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    sharing previous: (any Executable)?,
    progress: (Double) -> Void
  ) throws -> any Executable
}

extension Backend {
  /// Prepares a program for repeated runs, sharing nothing.
  package func compile(
    _ program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    progress: (Double) -> Void
  ) throws -> any Executable {
    try compile(program, weights: weights, limits: limits, sharing: nil, progress: progress)
  }
}

/// A compiled program with its weights and caches.
///
/// Not thread-safe: one thread runs steps and moves what slots hold. A row's results do not depend on the
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

  /// Runs the step that has just been run once more, op by op, and returns where its results are first
  /// no finite numbers.
  ///
  /// Slots are as before in the end. Nil if all results are finite, or the backend cannot tell, which
  /// is what it answers if it does not say otherwise.
  func firstNonFinite(_ batch: Batch, inputs: [[Float]]) -> NonFinite?

  /// Forgets a slot's keys and values and gives their memory back.
  func clear(slot: Int)

  // What a cache holds of a slot and where the slot goes on are two things: steps move both on,
  // `importRows` and `copy` only the first, `resume` the second.

  /// Returns the position a slot's next row must have.
  func positionCount(slot: Int) -> Int

  /// Returns the positions a cache holds of a slot: all of them, or what its ring still has.
  ///
  /// `cache` is its index in `program.caches`, here and below.
  func heldPositions(cache: Int, slot: Int) -> Range<Int>

  /// Returns keys and values that a cache holds of a slot.
  ///
  /// - Throws: `ComputeError` with code `batch` if it does not hold all of `positions`.
  func exportRows(
    cache: Int,
    slot: Int,
    positions: Range<Int>
  ) throws(ComputeError) -> CacheRows

  /// Puts rows in place; the slot's position count stays until `resume`.
  ///
  /// Rows that touch or overlap the held positions join them, others replace them. Of more than a
  /// ring has room for, the last positions stay.
  ///
  /// - Throws: `ComputeError` with code `batch` if the rows do not fit the cache; nothing has changed
  ///   then.
  func importRows(_ rows: CacheRows, cache: Int, slot: Int) throws(ComputeError)

  /// Forgets what one cache holds of a slot; the slot's position count stays until `resume`.
  func forget(cache: Int, slot: Int)

  /// Makes `count` a slot's position count, and forgets the positions from there on: to go on after
  /// imports, or back to a prefix.
  ///
  /// - Throws: `ComputeError` with code `batch` if a cache does not hold what a row at `count` sees:
  ///   all before it, or the last `window - 1` of them; nothing has changed then.
  func resume(slot: Int, at count: Int) throws(ComputeError)

  /// Makes `target` hold the first `count` positions of `source`, as far as its rings still have
  /// them, and nothing else; `resume` puts them to use.
  ///
  /// - Throws: `ComputeError` with code `batch` if the slots are not two, or `source` has fewer
  ///   positions.
  func copy(slot source: Int, to target: Int, count: Int) throws(ComputeError)
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
