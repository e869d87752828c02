// A device that there is not: with memory of its own, caches in f16, an op it cannot do, and objects that
// live on one thread. It stands for the devices that will come: what it is made of is all that one must
// write, and nobody above the seam knows of it.

package import Compute

/// An imaginary GPU.
///
/// Weights and caches lie in a memory of limited size. A stage's ops are recorded in phases with a
/// barrier between two, and those of one phase run in an order that nobody may rely on. What each op
/// computes is the reference's, with keys and values rounded to f16.
package struct FakeGPU: Backend {
  package let device: DeviceDescription
  private let context: DeviceContext
  /// What computes its ops; nil for the reference, with caches in the device's memory.
  private let arithmetic: (any Backend)?

  /// The op that no kernel was written for.
  package static let missingOp = OpKind.laurel

  /// - Parameters:
  ///   - memoryByteCount: The device's memory.
  ///   - arithmetic: A backend whose kernels it borrows, so that its answers are that backend's bit for bit.
  package init(memoryByteCount: Int = 256 << 20, arithmetic: (any Backend)? = nil) {
    self.arithmetic = arithmetic
    var device = DeviceDescription(
      kind: .gpu,
      name: "fake-gpu",
      memory: DeviceMemory(
        byteCount: UInt64(memoryByteCount),
        isHostMemory: false,
        isSharedByWorkers: true
      ),
      hostThreads: 1,
      preferredRows: 32,
      rateHint: 8
    )
    device.isEmulated = true
    device.ops = OpKind.allCases.map { op in
      op == Self.missingOp
        ? OpSupport(op: op, support: .unsupported(reason: "\(op.rawValue) has no kernel"))
        : OpSupport(op: op)
    }
    device.weightTypes = TensorType.allCases.map { type in
      type == .iq4_xs
        ? WeightTypeSupport(type: type, support: .unsupported(reason: "no kernel reads it"))
        : WeightTypeSupport(type: type)
    }
    device.cacheTypes = [.f16]
    device.sensors = DeviceSensors(monitors: ["fakegpu"])
    self.device = device
    context = DeviceContext(memoryByteCount: memoryByteCount)
  }

  /// Bytes of the device's memory that are taken.
  package var usedByteCount: Int { context.usedByteCount }

  /// Takes the device away, as a driver that was reset does: whatever runs on it fails.
  package func lose() { context.lose() }

  package func compile(
    _ program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    sharing previous: (any Executable)?,
    progress: (Double) -> Void
  ) throws -> any Executable {
    try program.validate()
    for (index, op) in program.ops.enumerated() {
      if case .unsupported(let reason) = support(for: op) {
        throw ComputeError(.unsupported, reason, context: "op \(index), \(op.name)")
      }
    }
    let context = context
    // What another context has made is in another memory.
    let previous = (previous as? FakeGPUExecutable).flatMap { $0.context === context ? $0 : nil }
    let uploads = WeightUploads(weights, context, sharing: previous?.uploads)
    let commands = CommandBuffer(program)
    let kernels: any Backend =
      arithmetic
      ?? ReferenceBackend(device) { cache, limits in
        try FakeGPUCache(cache, limits, context)
      }
    let ops = try kernels.compile(
      commands.recorded,
      weights: uploads,
      limits: limits,
      sharing: previous?.ops,
      progress: progress
    )
    uploads.finish()
    return FakeGPUExecutable(program, commands, ops, uploads, context)
  }
}

/// A program recorded for the device, with its weights uploaded.
final class FakeGPUExecutable: Executable {
  let program: Program
  let commands: CommandBuffer
  /// The recorded ops; its storages are in the device's memory.
  let ops: any Executable
  let uploads: WeightUploads
  let context: DeviceContext
  private var isBound = false

  init(
    _ program: Program,
    _ commands: CommandBuffer,
    _ ops: any Executable,
    _ uploads: WeightUploads,
    _ context: DeviceContext
  ) {
    self.program = program
    self.commands = commands
    self.ops = ops
    self.uploads = uploads
    self.context = context
  }

  deinit {
    // What was never used has nothing on a thread.
    precondition(!isBound || context.isCurrent, "an executable freed on a thread not its own")
  }

  var limits: ExecutableLimits { ops.limits }
  var storages: [any CacheStorage] { ops.storages }

  var footprint: Footprint {
    Footprint(
      mappedWeightBytes: 0,
      ownedWeightBytes: uploads.byteCount,
      sharedWeightBytes: uploads.sharedByteCount
    )
  }

  func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]] {
    try context.bind()
    isBound = true
    return try ops.run(batch, inputs: inputs)
  }

  func firstNonFinite(_ batch: Batch, inputs: [[Float]]) -> NonFinite? {
    guard var found = ops.firstNonFinite(batch, inputs: inputs) else { return nil }
    found.op = commands.order[found.op]
    return found
  }
}
