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
///
/// Calls that are split alike give a thread the same part each, so that it meets there only what it
/// wrote itself.
enum Split: Hashable {
  /// By rows of a row set.
  case rows(RowSet)
  /// By heads of rows of a row set, `count` a row.
  case heads(RowSet, count: Int)
  /// By columns of planes that wide, in all rows.
  case columns(Int)
  /// In a way that no other call shares.
  case other
}

/// Sorts calls into phases, between which all threads wait for each other.
///
/// A call stands in the first phase in which all it depends on is done: as few waits as the
/// dependencies allow, whatever order the ops come in. LAuReL, for one, runs beside attention.
struct PhasePlanner {
  private struct Use {
    var phase: Int
    /// How threads share the region out; nil if each reads what it likes.
    var split: Split?
  }

  /// By region, since it was last written: the writer and the readers.
  private var writers: [Region: Use] = [:]
  private var readers: [Region: [Use]] = [:]

  /// Notes a call and returns its phase.
  ///
  /// Calls of one phase run in the order they are noted in.
  ///
  /// - Parameters:
  ///   - reads: Of these a thread reads the part that is its own by `split`.
  ///   - wholeReads: Of these a thread may read everything.
  ///   - writes: Of these a thread writes the part that is its own by `split`.
  ///   - split: How the call is shared out.
  /// - Returns: The number of the phase, from 0.
  mutating func phase(
    reads: [Region],
    wholeReads: [Region],
    writes: [Region],
    split: Split
  ) -> Int {
    var phase = 0
    for region in reads + writes {
      if let writer = writers[region] { phase = max(phase, after(writer, split)) }
    }
    for region in wholeReads {
      if let writer = writers[region] { phase = max(phase, writer.phase + 1) }
    }
    for region in writes {
      for reader in readers[region] ?? [] { phase = max(phase, after(reader, split)) }
    }
    for region in reads {
      readers[region, default: []].append(Use(phase: phase, split: split))
    }
    for region in wholeReads {
      readers[region, default: []].append(Use(phase: phase, split: nil))
    }
    for region in writes {
      writers[region] = Use(phase: phase, split: split)
      readers[region] = []
    }
    return phase
  }

  /// Returns how the call that wrote a region last was split; nil if none has.
  func splitOfWriter(of region: Region) -> Split? { writers[region]?.split }

  /// The first phase for a call that must come after another: the same if both are split alike.
  private func after(_ other: Use, _ split: Split) -> Int {
    split != .other && other.split == split ? other.phase : other.phase + 1
  }
}
