// Which calls may stand in one phase: the hazards of what they read and write.

import Compute
import TestSupport
import Testing

@Suite struct `Phase planner` {
  private func region(_ index: Int) -> Region { Region(space: .buffer, index: index) }

  /// Plans a call that writes region 0, then another, and returns the second's phase.
  private func phase(
    writtenBy writer: Split,
    reads: [Region] = [],
    wholeReads: [Region] = [],
    writes: [Region] = [],
    by split: Split
  ) -> Int {
    var planner = PhasePlanner()
    #expect(planner.phase(writes: [region(0)], split: writer) == 0)
    return planner.phase(reads: reads, wholeReads: wholeReads, writes: writes, split: split)
  }

  private static let shared: [Split] = [
    .rows(.all), .rows(.wanted), .heads(.all, count: 8), .heads(.all, count: 2),
    .heads(.wanted, count: 8), .columns(256), .columns(2048),
  ]

  @Test func `a thread does not wait for what it wrote itself`() {
    for (index, writer) in Self.shared.enumerated() {
      for (other, reader) in Self.shared.enumerated() {
        let waits = index == other ? 0 : 1
        #expect(phase(writtenBy: writer, reads: [region(0)], by: reader) == waits)
        #expect(phase(writtenBy: writer, writes: [region(0)], by: reader) == waits)
      }
    }
  }

  @Test func `it waits for all where it may read everything`() {
    for split in Self.shared + [.other] {
      #expect(phase(writtenBy: split, wholeReads: [region(0)], by: split) == 1, "\(split)")
    }
    #expect(phase(writtenBy: .other, reads: [region(0)], by: .other) == 1)
  }

  @Test func `nobody overwrites what another may still read`() {
    for split in Self.shared + [.other] {
      var planner = PhasePlanner()
      _ = planner.phase(wholeReads: [region(0)], writes: [region(1)], split: split)
      let phase = planner.phase(writes: [region(0)], split: split)
      #expect(phase == 1, "\(split)")
    }
    var planner = PhasePlanner()
    _ = planner.phase(reads: [region(0)], writes: [], split: .columns(64))
    #expect(planner.phase(writes: [region(0)], split: .rows(.all)) == 1)
  }

  @Test func `planes, caches and derived copies are regions of their own`() {
    let (first, second) = (Plane(BufferID(index: 0), 0), Plane(BufferID(index: 0), 1))
    let others = [
      Region(second), Region(CacheID(index: 0)), Region(first).quantised, Region(first).selected,
      Region(space: .scratch, index: 0), Region(space: .rotations, index: 0),
    ]
    var planner = PhasePlanner()
    #expect(planner.phase(writes: [Region(first)], split: .other) == 0)
    for other in others {
      #expect(planner.phase(reads: [other], writes: [], split: .other) == 0, "\(other)")
    }
    #expect(planner.phase(reads: [Region(first)], writes: [], split: .other) == 1)
  }

  /// Calls of random regions, on a device that does each call as a whole.
  @Test(.seeded(default: 53)) func `calls of one phase never touch what another of it writes`() {
    var random = SeededRandom(testSeed(default: 53))
    for _ in 0..<fuzzIterations(default: 200) {
      var planner = PhasePlanner()
      var calls: [(reads: Set<Int>, writes: Set<Int>, phase: Int)] = []
      for _ in 0..<20 {
        let reads = Set((0..<2).map { _ in Int.random(in: 0..<6, using: &random) })
        let writes = Set([Int.random(in: 0..<6, using: &random)])
        let phase = planner.phase(
          wholeReads: reads.map(region),
          writes: writes.map(region),
          split: .other
        )
        var earliest = 0
        for before in calls {
          let isHazard =
            !before.writes.isDisjoint(with: reads.union(writes))
            || !before.reads.isDisjoint(with: writes)
          if isHazard {
            #expect(before.phase < phase)
            earliest = max(earliest, before.phase + 1)
          }
        }
        #expect(phase == earliest, "a wait for nothing")
        calls.append((reads, writes, phase))
      }
    }
  }

  @Test func `an op's regions are its buffers' planes and its cache`() {
    var program = Program(layers: 0..<1)
    let streams = program.add(Buffer(name: "streams", planes: 3, width: 8, rows: .all))
    let keys = program.add(Buffer(name: "keys", width: 4, rows: .all))
    let values = program.add(Buffer(name: "values", width: 4, rows: .all))
    let output = program.add(Buffer(name: "output", width: 8, rows: .all))
    let cache = program.add(Cache(layer: 0, kvHeadCount: 1, headDim: 4, window: nil))
    let append = Op.appendKV(AppendKV(keys: keys, values: values, cache: cache))
      .regions(in: program)
    #expect(append.reads == [Region(Plane(keys)), Region(Plane(values))])
    #expect(append.writes == [Region(cache)])
    let attend = Op.attend(
      Attend(queries: output, cache: cache, headCount: 2, scale: 1, output: output)
    ).regions(in: program)
    #expect(attend.reads == [Region(Plane(output)), Region(cache)])
    #expect(attend.writes == [Region(Plane(output))])
    let merge = Op.mergeStreams(
      MergeStreams(
        streams: streams,
        projections: [],
        norm: NormParameters(weight: nil, gainOffset: 0, epsilon: 0),
        output: output
      )
    ).regions(in: program)
    #expect(merge.reads == (0..<3).map { Region(Plane(streams, $0)) })
  }
}
