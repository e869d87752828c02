// The layouts of packed weights and their sizes, as C states them.

internal import Compute
internal import VulkanKernels

/// A layout of packed weights: tiles of some rows each, which follow one another.
enum PackedLayout: Hashable, Sendable {
  /// For products that read all columns: the kernels matmul_<type>_*.
  case byRows
  /// For products that read some columns: matmul_q4_0_columns.
  case byColumns

  /// Whether weights of a type can be packed by columns.
  static func hasColumns(_ type: TensorType) -> Bool { type == .q4_0 }

  /// The rows of a tile.
  var tileRows: Int {
    switch self {
    case .byRows: Int(VULKAN_TILE_ROWS)
    case .byColumns: Int(VULKAN_COLUMN_TILE_ROWS)
    }
  }

  /// The bytes of a tile of a weight.
  func tileByteCount(_ weight: WeightRef) -> Int {
    let byteCount =
      switch self {
      case .byRows: vulkan_tile_bytes(weight.type.number, Int64(weight.columns))
      case .byColumns: vulkan_column_tile_bytes(Int64(weight.columns))
      }
    precondition(byteCount > 0, "\(weight.name): no tiles of \(weight.columns) \(weight.type)")
    return Int(byteCount)
  }

  /// The vectors of 16 bytes from sixteen rows to the next, and from 256 columns to the next.
  func strides(_ weight: WeightRef) -> (tile: Int, chunk: Int) {
    let sixteen = tileByteCount(weight) * Int(VULKAN_TILE_ROWS) / tileRows
    let chunk =
      switch self {
      case .byRows: vulkan_chunk_bytes(weight.type.number)
      case .byColumns: vulkan_column_tile_bytes(Int64(VULKAN_CHUNK_COLUMNS))
      }
    return (sixteen / 16, Int(chunk) / 16)
  }

  /// Packs rows as files have them into whole tiles.
  func pack(
    _ weight: WeightRef,
    _ source: UnsafePointer<UInt8>,
    rows: Int,
    rowByteCount: Int,
    into packed: UnsafeMutablePointer<UInt8>
  ) {
    let columns = Int64(weight.columns)
    switch self {
    case .byRows:
      unsafe vulkan_pack(
        weight.type.number,
        source,
        Int64(rows),
        columns,
        Int64(rowByteCount),
        packed
      )
    case .byColumns:
      unsafe vulkan_pack_columns(source, Int64(rows), columns, Int64(rowByteCount), packed)
    }
  }
}
