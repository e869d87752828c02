// The weights of a model, one of them with other values than its file has.

package import Compute

/// A weight source that changes a bf16 weight on its way.
package struct ChangedWeights: WeightSource {
  private let source: any WeightSource
  private let name: String
  private let change: @Sendable (_ bits: inout [UInt16]) -> Void

  /// - Parameters:
  ///   - source: Where the weights come from.
  ///   - name: The canonical name of the one to change, stored as bf16.
  ///   - change: Changes the bits of its rows, [rows, columns].
  package init(
    _ source: any WeightSource,
    _ name: String,
    _ change: @escaping @Sendable (inout [UInt16]) -> Void
  ) {
    self.source = source
    self.name = name
    self.change = change
  }

  package func bytes(of weight: WeightRef) throws -> WeightBytes {
    let bytes = try source.bytes(of: weight)
    guard weight.name == name else { return bytes }
    precondition(weight.type == .bf16, "\(name) is \(weight.type)")
    var bits = unsafe (0..<(bytes.bytes.count / 2)).map {
      unsafe bytes.bytes.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self)
    }
    change(&bits)
    let memory = Memory(bits)
    return unsafe WeightBytes(bytes: UnsafeRawBufferPointer(memory.bits), owner: memory)
  }

  // Sendable: written in init only.
  @safe private final class Memory: @unchecked Sendable {
    let bits: UnsafeMutableBufferPointer<UInt16>

    init(_ values: [UInt16]) {
      unsafe bits = .allocate(capacity: values.count)
      _ = unsafe bits.initialize(from: values)
    }

    deinit { unsafe bits.deallocate() }
  }
}

extension UInt16 {
  /// NaN and the infinity of bf16.
  package static let nanOfBFloat16: UInt16 = 0x7FC0
  package static let infinityOfBFloat16: UInt16 = 0x7F80

  /// The bits of a bf16 with a greater magnitude, by a power of two.
  package func scaled(byPowerOfTwo exponent: UInt16) -> UInt16 {
    self & 0x7FFF == 0 ? self : self + exponent << 7
  }
}
