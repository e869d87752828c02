// How many lanes share which work, by the kind of device. No choice changes a result by a bit for products;
// sums over rows depend on `rowThreads`, which never changes on a device.

internal import Compute

/// How kernels are divided among lanes on one device.
struct Tuning: Sendable {
  /// The lanes of a workgroup that has a row, or a head, to itself.
  let rowThreads: Int
  /// The lanes of a workgroup whose lanes work on their own.
  let lanes = 64
  private let isSoftware: Bool
  private let maxSharedBytes: Int

  /// - Parameters:
  ///   - info: The device.
  ///   - isSoftware: Whether to divide as for an emulation; nil if the device is one.
  init(_ info: VulkanDeviceInfo, isSoftware: Bool? = nil) {
    let isSoftware = isSoftware ?? info.isSoftware
    self.isSoftware = isSoftware
    maxSharedBytes = info.maxSharedBytes
    // An emulated workgroup of more than one subgroup stops at every barrier and is continued.
    rowThreads = isSoftware ? info.subgroupSize : min(max(64, info.subgroupSize), info.maxGroupSize)
  }

  /// How a matrix product is divided.
  struct Product: Hashable {
    /// Lanes of a workgroup.
    var threads: Int
    /// Lanes that share the columns of a row.
    var kLanes: Int
    /// Rows of weights that a lane computes.
    var laneTiles: Int
    /// Rows of activations that a lane computes.
    var tokens: Int

    /// Rows of weights that a workgroup computes.
    var weightRows: Int { threads / kLanes * laneTiles }

    /// The specialization constants of the kernels.
    var constants: [UInt32] { [threads, kLanes, laneTiles, tokens].map { UInt32($0) } }
  }

  /// Returns how to divide the product of a weight with `rows` rows of activations.
  func product(rows: Int, _ layout: PackedLayout = .byRows) -> Product {
    if layout == .byColumns {
      // Sixteen lanes have the rows of a tile. Rows of activations that a lane has at once share what any
      // of them needs, and few of them need the same columns.
      let kLanes = isSoftware ? 1 : rows == 1 ? 16 : 8
      return Product(
        threads: 16 * kLanes,
        kLanes: kLanes,
        laneTiles: 8,
        tokens: rows == 1 ? 1 : isSoftware ? 4 : 2
      )
    }
    if isSoftware {
      // Each lane's loads cost several instructions, so what is loaded is used often. By these small
      // workgroups kernels know that this is an emulation (begin_i8.glsl).
      return rows == 1
        ? Product(threads: 16, kLanes: 1, laneTiles: 4, tokens: 1)
        : Product(threads: 16, kLanes: 1, laneTiles: 4, tokens: rows <= 4 ? 4 : 8)
    }
    // A single row is bound by memory: as many lanes as possible read at once. Many rows are bound by
    // arithmetic: a lane uses weights it has read for as many rows as fit its registers.
    return switch rows {
    case 1: Product(threads: 256, kLanes: 16, laneTiles: 1, tokens: 1)
    case 2...4: Product(threads: 256, kLanes: 16, laneTiles: 1, tokens: 4)
    case 5...8: Product(threads: 128, kLanes: 8, laneTiles: 1, tokens: 8)
    case 9...16: Product(threads: 64, kLanes: 1, laneTiles: 1, tokens: 16)
    default: Product(threads: 64, kLanes: 1, laneTiles: 1, tokens: 32)
    }
  }

  /// Returns how many query heads of a KV head a workgroup of attention takes: as many as fit its shared
  /// memory with their queries and scores.
  func attentionHeads(sharing: Int, headDim: Int) -> Int {
    [8, 4, 2].first { heads in
      sharing.isMultiple(of: heads)
        && 4 * heads * (headDim + Self.attentionSegment) <= maxSharedBytes - 1024
    } ?? 1
  }

  /// The positions that one workgroup of attention looks at: SEGMENT in segments.glsl.
  static let attentionSegment = 256
}
