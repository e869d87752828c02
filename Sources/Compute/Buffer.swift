// The named regions of memory that the ops of a program read and write: row buffers, which live for
// one step, and KV caches, which live as long as a session.

/// Which rows of a batch a buffer holds.
package enum RowSet: String, Sendable, Hashable {
  /// Every row of the batch.
  case all
  /// Only the wanted rows (see `Row.isWanted`).
  case wanted
}

/// A row buffer of a program.
package struct Buffer: Sendable, Hashable {
  package var name: String
  /// How many consecutive `[rows, width]` planes the buffer has: 4 for AltUp streams, otherwise 1.
  package var planes: Int
  package var width: Int
  package var rows: RowSet

  // Layout: [planes, rows, width] f32 with no gap between planes, so the bytes in memory are those
  // that are sent to the next stage.
  package init(name: String, planes: Int = 1, width: Int, rows: RowSet) {
    self.name = name
    self.planes = planes
    self.width = width
    self.rows = rows
  }

  /// Returns how many f32 values the buffer holds for a batch.
  package func elementCount(in batch: Batch) -> Int {
    planes * batch.count(of: rows) * width
  }
}

/// The index of a row buffer in `Program.buffers`.
package struct BufferID: Sendable, Hashable {
  package var index: Int
  package init(index: Int) { self.index = index }
}

/// One `[rows, width]` plane of a buffer.
package struct Plane: Sendable, Hashable {
  package var buffer: BufferID
  package var index: Int
  package init(_ buffer: BufferID, _ index: Int = 0) {
    self.buffer = buffer
    self.index = index
  }
}

/// The keys and values of one layer for all sessions of a stage.
///
/// A backend chooses its own layout. Fixed is only which positions an `attend` op sees: for the row
/// at position `p`, the positions `0...p`, or the last `window` of them, its own included.
package struct Cache: Sendable, Hashable {
  /// The layer whose keys and values these are.
  package var layer: Int
  package var kvHeadCount: Int
  package var headDim: Int
  /// How many positions a row sees, its own included; nil for all.
  package var window: Int?

  package init(layer: Int, kvHeadCount: Int, headDim: Int, window: Int?) {
    self.layer = layer
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.window = window
  }

  /// The width of a row of keys, or of values: `[kvHeadCount, headDim]`.
  package var width: Int { kvHeadCount * headDim }
}

/// The index of a cache in `Program.caches`.
package struct CacheID: Sendable, Hashable {
  package var index: Int
  package init(index: Int) { self.index = index }
}
