// Weights copied into the imaginary device's memory, once each, and taken over by the executable that
// follows.

internal import Compute
internal import Synchronization

/// A weight in the device's memory.
// @safe, @unchecked Sendable: the bytes are written in init alone, and only read after.
@safe private final class UploadedWeight: @unchecked Sendable {
  let source: WeightBytes
  let bytes: UnsafeMutableRawBufferPointer
  private let context: DeviceContext

  init(_ source: WeightBytes, _ name: String, _ context: DeviceContext) throws(ComputeError) {
    let byteCount = unsafe source.bytes.count
    try context.allocate(byteCount, for: name)
    self.source = source
    self.context = context
    unsafe bytes = .allocate(byteCount: byteCount, alignment: 64)
    unsafe bytes.copyMemory(from: source.bytes)
  }

  deinit {
    unsafe context.free(bytes.count)
    unsafe bytes.deallocate()
  }

  var byteCount: Int { unsafe bytes.count }

  /// Whether it was made from these bytes, not merely from equal ones.
  func holds(_ other: WeightBytes) -> Bool {
    unsafe source.bytes.baseAddress == other.bytes.baseAddress
      && source.bytes.count == other.bytes.count
  }
}

/// The weights of one executable, as their source has them.
final class WeightUploads: WeightSource {
  private struct State {
    var uploaded: [WeightRef: UploadedWeight] = [:]
    /// The executable's before; nil as soon as this one is compiled.
    var previous: WeightUploads?
    var sharedByteCount = 0
  }

  private let source: any WeightSource
  private let context: DeviceContext
  private let state: Mutex<State>

  init(_ source: any WeightSource, _ context: DeviceContext, sharing previous: WeightUploads?) {
    self.source = source
    self.context = context
    state = Mutex(State(previous: previous))
  }

  /// Lets the executable before go: all that was to be taken over has been.
  func finish() { state.withLock { $0.previous = nil } }

  var byteCount: Int { state.withLock { $0.uploaded.values.reduce(0) { $0 + $1.byteCount } } }

  var sharedByteCount: Int { state.withLock { $0.sharedByteCount } }

  func bytes(of weight: WeightRef) throws -> WeightBytes {
    let bytes = try source.bytes(of: weight)
    let known = state.withLock { $0.previous }?.uploaded(weight).flatMap {
      $0.holds(bytes) ? $0 : nil
    }
    let upload = try known ?? UploadedWeight(bytes, weight.name, context)
    state.withLock { state in
      if known != nil { state.sharedByteCount += upload.byteCount }
      state.uploaded[weight] = upload
    }
    return unsafe WeightBytes(bytes: UnsafeRawBufferPointer(upload.bytes), owner: upload)
  }

  private func uploaded(_ weight: WeightRef) -> UploadedWeight? {
    state.withLock { $0.uploaded[weight] }
  }
}
