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

/// Memory that an executable's weights take, in bytes.
package struct Footprint: Sendable, Hashable {
  /// Weights used in place from the model file.
  package var mappedWeightBytes: Int
  /// Weights repacked for the device.
  package var ownedWeightBytes: Int
  /// Of these, the ones taken over from the executable before (`Backend.compile`), so not new.
  package var sharedWeightBytes: Int

  package init(mappedWeightBytes: Int, ownedWeightBytes: Int, sharedWeightBytes: Int) {
    self.mappedWeightBytes = mappedWeightBytes
    self.ownedWeightBytes = ownedWeightBytes
    self.sharedWeightBytes = sharedWeightBytes
  }
}

/// Our code for one kind of device.
package protocol Backend: Sendable {
  /// The device, what it can do and what it has. Always the same.
  var device: DeviceDescription { get }

  /// Returns whether the backend can run an op; `compile` throws with code `unsupported` if not.
  ///
  /// It cannot what the device's description says it cannot, and may have more to refuse: operands that
  /// its kernels do not fit.
  func support(for op: Op) -> Support

  /// Prepares a program for repeated runs; `prepare` is what callers use.
  ///
  /// With `previous`, an executable that this kind of backend compiled before in this process, the
  /// new one takes over by reference what the two have in common: prepared weights, if the source
  /// has the same bytes at the same place, and the storages of KV caches, if cache, limits and element
  /// type are the same (`Executable.storage`). Only what is new is prepared; what only the old one has
  /// is freed with it. Another backend's executable is ignored.
  ///
  /// Called on any thread, also on several at once, while other executables of this backend run on
  /// theirs. `previous` may run steps on another thread meanwhile, so that of it only what never changes
  /// may be read, and goes on undisturbed until the new one is first used. From then on the storages
  /// are the new one's: the old one must not be used any more. If the new one is dropped before, the
  /// old one simply goes on. A reference to `previous` must not outlive the call.
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
  package func support(for op: Op) -> Support { device.support(for: op) }

  /// Prepares a program for repeated runs in the slots of sessions.
  ///
  /// With `previous`, what the two programs have in common is shared, as `compile` says; what the
  /// shared caches hold is held by the new runner, too. Each counts its slots' positions itself, from
  /// 0: `resume` brings the new one to where the old one was.
  ///
  /// - Throws: `ComputeError`, or the weight source's own error.
  package func prepare(
    _ program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    sharing previous: ProgramRunner? = nil,
    progress: (Double) -> Void
  ) throws -> ProgramRunner {
    let executable = try compile(
      program,
      weights: weights,
      limits: limits,
      sharing: previous?.executable,
      progress: progress
    )
    return ProgramRunner(executable, sharing: previous)
  }
}

/// A compiled program with its weights and the memory of its caches: what a backend makes.
///
/// It runs batches and stores rows. Which rows a slot has, and whether a batch goes on where the last one
/// ended, `ProgramRunner` knows, which is what callers use. A row's results do not depend on the other
/// rows of the batch, nor on how a session was cut into steps (batch invariance).
///
/// **Threads.** An executable is made on any thread and then belongs to one: the first that uses it or
/// its storages is the only one ever to do so, and the one that frees it. So a device whose objects are
/// bound to a thread (a context, a queue, a command pool) binds them at the first use, and releases them
/// in `deinit`. One that was never used has nothing bound, and is freed anywhere. A storage that two
/// executables share is freed by the last of them; both belong to the same thread.
package protocol Executable: AnyObject {
  var program: Program { get }
  var limits: ExecutableLimits { get }
  var footprint: Footprint { get }

  /// By cache of the program: where its rows are kept. Always the same objects.
  var storages: [any CacheStorage] { get }

  /// Runs one step.
  ///
  /// - Parameters:
  ///   - batch: The rows, checked against limits and caches.
  ///   - inputs: One array for each of `program.inputs`, of the sizes that the batch asks for.
  /// - Returns: One array for each of `program.outputs`.
  /// - Throws: `ComputeError` with code `batch` for rows that the program cannot take; nothing has run
  ///   then. Any other code says that the device failed on the way.
  func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]]

  /// Runs the step that has just been run once more, op by op, and returns where its results are first
  /// no finite numbers.
  ///
  /// Storages are as before in the end. Nil if all results are finite, or the backend cannot tell, which
  /// is what it answers if it does not say otherwise. Of attention it need not tell whether the keys and
  /// values were at fault.
  func firstNonFinite(_ batch: Batch, inputs: [[Float]]) -> NonFinite?
}

extension Executable {
  package func firstNonFinite(_ batch: Batch, inputs: [[Float]]) -> NonFinite? { nil }

  /// Returns the storage that an executable with these limits, which follows this one, may take over
  /// for a cache; nil if there is none.
  package func storage(of cache: Cache, limits: ExecutableLimits) -> (any CacheStorage)? {
    guard self.limits == limits, let index = program.caches.firstIndex(of: cache) else {
      return nil
    }
    return storages[index]
  }
}
