// The one seam between the model and the devices: a backend compiles a program with its weights,
// and the executable runs it step by step.

/// The sizes that an executable must support.
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
  /// Repacked weights that are shared with the previous executable (`Backend.compile`), and so take
  /// no new memory; they are included in `ownedWeightBytes`.
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
  /// Ops that the device's description excludes are not supported. A backend may refuse more, such
  /// as operands that its kernels do not fit.
  func support(for op: Op) -> Support

  /// Tries the device itself, as far as small programs would not reach it.
  ///
  /// The default implementation does nothing: most devices run small programs as they run large ones.
  ///
  /// - Throws: `ComputeError` with code `device` if it is wrong or has failed.
  func test() throws(ComputeError)

  /// Prepares a program for repeated runs; `prepare` is what callers use.
  ///
  /// `previous` is an executable that this kind of backend has compiled before in this process. The
  /// new one takes over by reference what the two have in common: prepared weights, if the source
  /// has the same bytes at the same address, and the storages of KV caches, if cache, limits and
  /// element type are the same (`Executable.storage`). Only the rest is prepared; what only the old
  /// one uses is freed with it. An executable of another backend is ignored.
  ///
  /// This is called on any thread, also on several at once, while other executables of this backend
  /// run on theirs. `previous` may run steps on another thread meanwhile, so only those parts of it
  /// that never change may be read. It goes on undisturbed until the new one is first used. From
  /// then on the storages belong to the new one, and the old one must not be used any more. If the
  /// new one is dropped before its first use, the old one remains usable. A reference to `previous`
  /// must not outlive the call.
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

  package func test() throws(ComputeError) {}

  /// Prepares a program for repeated runs in the slots of sessions.
  ///
  /// With `previous`, the parts that the two programs have in common are shared, as `compile` says,
  /// and so are the contents of the shared caches. Each runner counts the positions of its slots
  /// itself, from 0; `resume` sets those of the new one to where the old one was.
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

/// A compiled program with its weights and the memory of its caches, made by a backend.
///
/// It runs batches and stores rows. `ProgramRunner`, which callers use, keeps track of the rows
/// that a slot has and checks that a batch continues where the last one ended. A row's results
/// depend neither on the other rows of the batch nor on how a session was cut into steps (batch
/// invariance).
///
/// **Threads.** An executable may be made on any thread. The first thread that uses it or its
/// storages owns it: no other thread may use it, and this thread must free it. So a device whose
/// objects are bound to a thread (a context, a queue, a command pool) binds them at the first use
/// and releases them in `deinit`. An executable that was never used has nothing bound and may be
/// freed on any thread. A storage that two executables share is freed with the last of them; both
/// belong to the same thread.
package protocol Executable: AnyObject {
  var program: Program { get }
  var limits: ExecutableLimits { get }
  var footprint: Footprint { get }

  /// The storage of each cache of the program. These are always the same objects.
  var storages: [any CacheStorage] { get }

  /// Runs one step.
  ///
  /// - Parameters:
  ///   - batch: The rows, already checked against limits and caches.
  ///   - inputs: One array for each of `program.inputs`, of the sizes that the batch needs.
  /// - Returns: One array for each of `program.outputs`.
  /// - Throws: `ComputeError` with code `batch` for rows that the program does not accept; then
  ///   nothing has run. Any other code means that the device has failed during the step.
  func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]]

  /// Runs the last step again, op by op, and returns where its results first contain an infinity or
  /// a NaN.
  ///
  /// The contents of the storages are the same afterwards. Returns nil if all results are finite,
  /// or if the backend cannot find the place; the default implementation always returns nil. For
  /// attention the backend need not find out whether the keys and values were the cause.
  func firstNonFinite(_ batch: Batch, inputs: [[Float]]) -> NonFinite?

  /// The inputs of each product of the last step, if the program observes them; in the order of its ops.
  ///
  /// AltUp's routers and coefficients are no products in this sense. The default implementation has none: a
  /// backend that does not observe must refuse such programs in `compile`.
  var observedInputs: [ObservedInput] { get }
}

extension Executable {
  package var observedInputs: [ObservedInput] { [] }

  package func firstNonFinite(_ batch: Batch, inputs: [[Float]]) -> NonFinite? { nil }

  /// Returns the storage of a cache that the next executable may take over if it has these limits;
  /// nil if there is none.
  package func storage(of cache: Cache, limits: ExecutableLimits) -> (any CacheStorage)? {
    guard self.limits == limits, let index = program.caches.firstIndex(of: cache) else {
      return nil
    }
    return storages[index]
  }
}
