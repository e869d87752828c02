// What a kernel call reads and writes, and when threads must wait for each other.

internal import CPUKernels
internal import Compute

/// A piece of memory that calls touch as a whole or row by row.
struct Region: Hashable {
  enum Space: Hashable {
    /// Index: the program's buffer; part: the plane.
    case buffer
    /// Index: the number of the scratch buffer; part: the plane.
    case scratch
    case cache
    case rotations
  }

  var space: Space
  var index: Int
  var part = 0
  /// What of the plane this is.
  var view = View.values

  enum View: Hashable {
    case values
    /// The int8 copy.
    case quantised
    /// The list of the columns that are not zero.
    case selected
  }

  /// The int8 copy of this plane.
  var quantised: Region { seen(as: .quantised) }

  /// The list of this plane's columns that are not zero.
  var selected: Region { seen(as: .selected) }

  private func seen(as view: View) -> Region {
    var region = self
    region.view = view
    return region
  }
}

/// A plane of rows as a kernel operand, and the region it is.
@safe struct RowPlane {
  var region: Region
  var operand: cpu_plane
  var rows: RowSet

  var width: Int { unsafe Int(operand.width) }
}

/// How a kernel's work is shared out to threads.
enum Split: Hashable {
  /// Thread `t` does the same rows in every such call over the same row set.
  case rows(RowSet)
  /// By columns or heads: a thread needs what others wrote.
  case other
}

/// Follows which regions are in use since the threads last waited for each other.
struct HazardTracker {
  private var reads: [Region: Set<Split>] = [:]
  private var writes: [Region: Split] = [:]

  /// Notes a call and returns whether the threads must first wait for the calls before.
  ///
  /// They need not if no region is in conflict, or if both calls split it by the same rows, so that
  /// each thread meets only its own.
  mutating func note(reads: [Region], writes: [Region], split: Split) -> Bool {
    let agrees = { (other: Split) in
      if case .rows = split { return other == split }
      return false
    }
    let conflicts =
      (reads + writes).contains { region in self.writes[region].map { !agrees($0) } ?? false }
      || writes.contains { region in self.reads[region].map { !$0.allSatisfy(agrees) } ?? false }
    if conflicts {
      self.reads = [:]
      self.writes = [:]
    }
    for region in reads { self.reads[region, default: []].insert(split) }
    for region in writes { self.writes[region] = split }
    return conflicts
  }
}
