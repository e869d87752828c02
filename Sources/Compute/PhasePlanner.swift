// Which calls may run concurrently, and which must wait for others because of hazards between what
// they read and write (read after write, write after read, write after write).

/// How a call's work is divided among threads.
///
/// If calls are split in the same way, each thread has the same part of all of them, so it reads
/// only what it has written itself. A device that cannot guarantee this uses `other` for all calls.
/// A GPU is one, because it does not guarantee which workgroup runs where.
package enum Split: Sendable, Hashable {
  /// By the rows of a row set.
  case rows(RowSet)
  /// By the heads of the rows of a row set, with `count` heads in each row.
  case heads(RowSet, count: Int)
  /// By columns, in all rows of planes of this width.
  case columns(Int)
  /// In a way that has nothing in common with other calls.
  case other
}

/// Sorts calls into phases.
///
/// Between two phases all threads wait for each other, at a barrier in memory or in a command
/// buffer.
///
/// Calls of one phase may run concurrently. If some of them are split in the same way, each thread
/// runs its parts of these in the order in which they were added.
///
/// A call is put into the first phase in which everything that it depends on is complete. So there
/// are as few waits as the dependencies allow, whatever the order of the ops. LAuReL, for example,
/// runs beside attention.
package struct PhasePlanner: Sendable {
  private struct Use: Sendable {
    var phase: Int
    /// How the region is divided among threads; nil if each thread may read all of it.
    var split: Split?
  }

  /// The last writer of each region, and its readers since then.
  private var writers: [Region: Use] = [:]
  private var readers: [Region: [Use]] = [:]

  package init() {}

  /// Adds a call and returns its phase.
  ///
  /// Calls of one phase run in the order in which they were added.
  ///
  /// - Parameters:
  ///   - reads: Regions of which a thread reads only its own part, according to `split`.
  ///   - wholeReads: Regions of which a thread may read everything.
  ///   - writes: Regions of which a thread writes its own part, according to `split`.
  ///   - split: How the call is divided among threads.
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

  /// Returns the split of the call that wrote a region last; nil if none has.
  package func splitOfWriter(of region: Region) -> Split? { writers[region]?.split }

  /// Returns the first phase for a call that must come after another; it is the same phase if both
  /// are split in the same way.
  private func after(_ other: Use, _ split: Split) -> Int {
    split != .other && other.split == split ? other.phase : other.phase + 1
  }
}
