// Where a backend gets weights from. The model file's reader implements it; so do tests.

/// The bytes of a weight tensor or of some of its rows.
///
/// The bytes stay valid and unchanged as long as this object lives: it holds whatever owns them.
// @safe, @unchecked Sendable: the owner keeps the bytes valid, and nobody writes them after init.
@safe package final class WeightBytes: @unchecked Sendable {
  package let bytes: UnsafeRawBufferPointer
  private let owner: (any Sendable)?
  private let whenLetGo: (@Sendable () -> Void)?

  /// Holds `owner`, which must keep `bytes` valid, as long as this object lives.
  ///
  /// `whenLetGo` takes the bytes out of memory until they are read again; nil if the source cannot.
  package init(
    bytes: UnsafeRawBufferPointer,
    owner: (any Sendable)?,
    whenLetGo: (@Sendable () -> Void)? = nil
  ) {
    unsafe self.bytes = unsafe bytes
    self.owner = owner
    self.whenLetGo = whenLetGo
  }

  /// Says that the bytes are not needed for now, so that they need not stay in memory.
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
