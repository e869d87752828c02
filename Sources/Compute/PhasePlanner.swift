// Which calls may run side by side, and when one must wait for others: the hazards of what each reads
// and writes (read after write, write after read, write after write).

/// How a call's work is shared out to threads.
///
/// Calls that are split alike give a thread the same part each, so that it meets there only what it
/// wrote itself. A device that cannot promise that, as a GPU cannot promise which workgroup runs
/// where, splits all its calls in the way `other`.
package enum Split: Sendable, Hashable {
  /// By rows of a row set.
  case rows(RowSet)
  /// By heads of rows of a row set, `count` a row.
  case heads(RowSet, count: Int)
  /// By columns of planes that wide, in all rows.
  case columns(Int)
  /// In a way that no other call shares.
  case other
}

/// Sorts calls into phases, between which all threads wait for each other: at a barrier in memory, or
/// at one in a command buffer.
///
/// Calls of one phase may run side by side, but for those that are split alike: of these each thread
/// runs its parts in the order in which they were noted.
///
/// A call stands in the first phase in which all it depends on is done: as few waits as the
/// dependencies allow, whatever order the ops come in. LAuReL, for one, runs beside attention.
package struct PhasePlanner: Sendable {
  private struct Use: Sendable {
    var phase: Int
    /// How threads share the region out; nil if each reads what it likes.
    var split: Split?
  }

  /// By region, since it was last written: the writer and the readers.
  private var writers: [Region: Use] = [:]
  private var readers: [Region: [Use]] = [:]

  package init() {}

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
  package mutating func phase(
    reads: [Region] = [],
    wholeReads: [Region] = [],
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
  package func splitOfWriter(of region: Region) -> Split? { writers[region]?.split }

  /// The first phase for a call that must come after another: the same if both are split alike.
  private func after(_ other: Use, _ split: Split) -> Int {
    split != .other && other.split == split ? other.phase : other.phase + 1
  }
}
