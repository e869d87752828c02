// Where a backend gets weights from. The reader of model files implements it, and so do tests.

/// The bytes of a weight tensor or of some of its rows.
///
/// The bytes stay valid and unchanged as long as this object lives, because it keeps their owner
/// alive.
// @safe, @unchecked Sendable: the owner keeps the bytes valid, and nobody writes them after init.
@safe package final class WeightBytes: @unchecked Sendable {
  package let bytes: UnsafeRawBufferPointer
  private let owner: (any Sendable)?
  private let whenLetGo: (@Sendable () -> Void)?

  /// Keeps `owner` alive, which keeps `bytes` valid.
  ///
  /// `whenLetGo` evicts the bytes from memory until they are read again; nil if the source cannot
  /// do that.
  package init(
    bytes: UnsafeRawBufferPointer,
    owner: (any Sendable)?,
    whenLetGo: (@Sendable () -> Void)? = nil
  ) {
    unsafe self.bytes = unsafe bytes
    self.owner = owner
    self.whenLetGo = whenLetGo
  }

  /// Declares that the bytes are not needed for now, so that they may be evicted from memory.
  ///
  /// They remain valid.
  package func letGo() { whenLetGo?() }
}

/// A source of weights by canonical name.
package protocol WeightSource: Sendable {
  /// Returns the bytes of `weight.rows`, row-major, in `weight.type`.
  ///
  /// - Throws: If the tensor is missing or has another shape or type.
  func bytes(of weight: WeightRef) throws -> WeightBytes
}
