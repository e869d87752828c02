// Regions of memory for the detection of hazards: what a call reads and writes, by name and not by
// address.

/// A region of memory that calls read and write as a whole or row by row.
package struct Region: Sendable, Hashable {
  package enum Space: Sendable, Hashable {
    /// A row buffer of the program, by its index; `part` is the plane.
    case buffer
    /// A KV cache of the program, by its index.
    case cache
    /// A buffer that the backend adds for its own calls, by the backend's number; `part` is the
    /// plane.
    case scratch
    /// The RoPE rotations of a step's rows, which the backend computes once for many calls, by its
    /// number.
    case rotations
  }

  /// Which form of a plane a region is: its values, or data that a backend derives from them.
  package enum View: Sendable, Hashable {
    case values
    /// The int8 copy.
    case quantised
    /// The list of the columns that are not zero.
    case selected
    /// The int8 copy with one scale for a row.
    case rowQuantised
    /// The sums of a product, before they are scaled.
    case sums
  }

  package var space: Space
  package var index: Int
  package var part: Int
  package var view = View.values

  package init(space: Space, index: Int, part: Int = 0) {
    self.space = space
    self.index = index
    self.part = part
  }

  /// A plane of a row buffer of the program.
  package init(_ plane: Plane) {
    self.init(space: .buffer, index: plane.buffer.index, part: plane.index)
  }

  /// A cache of the program.
  package init(_ cache: CacheID) { self.init(space: .cache, index: cache.index) }

  /// The int8 copy of this plane.
  package var quantised: Region { seen(as: .quantised) }

  /// The list of this plane's columns that are not zero.
  package var selected: Region { seen(as: .selected) }

  /// The int8 copy of this plane with one scale for a row.
  package var rowQuantised: Region { seen(as: .rowQuantised) }

  /// The sums of the product whose result this plane is.
  package var sums: Region { seen(as: .sums) }

  private func seen(as view: View) -> Region {
    var region = self
    region.view = view
    return region
  }
}
