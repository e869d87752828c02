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

/// Sorts calls into phases, between which all threads wait for each other.
///
/// A call stands in the first phase in which all it depends on is done: as few waits as the
/// dependencies allow, whatever order the ops come in. LAuReL, for one, runs beside attention.
struct PhasePlanner {
  private struct Use {
    var phase: Int
    var split: Split
  }

  /// By region, since it was last written: the writer and the readers.
  private var writers: [Region: Use] = [:]
  private var readers: [Region: [Use]] = [:]

  /// Notes a call and returns its phase.
  ///
  /// Calls of one phase run in the order they are noted in.
  mutating func phase(reads: [Region], writes: [Region], split: Split) -> Int {
    var phase = 0
    for region in reads + writes {
      if let writer = writers[region] { phase = max(phase, after(writer, split)) }
    }
    for region in writes {
      for reader in readers[region] ?? [] { phase = max(phase, after(reader, split)) }
    }
    let use = Use(phase: phase, split: split)
    for region in reads { readers[region, default: []].append(use) }
    for region in writes {
      writers[region] = use
      readers[region] = []
    }
    return phase
  }

  /// The first phase for a call that must come after another: the same if both split what they share
  /// by the same rows, so that each thread meets only its own.
  private func after(_ other: Use, _ split: Split) -> Int {
    if case .rows = split, other.split == split { return other.phase }
    return other.phase + 1
  }
}
