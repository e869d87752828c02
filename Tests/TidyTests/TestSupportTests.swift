// The helpers that other tests lean on.

import Foundation
import TestSupport
import Testing

@Suite struct `Test support` {
  /// The first outputs of the published reference code (Vigna, splitmix64.c) for the seed 0.
  @Test func `a seed gives the sequence of SplitMix64`() {
    var random = SeededRandom(0)
    #expect(random.next() == 0xe220_a839_7b1d_cdaf)
    #expect(random.next() == 0x6e78_9e6a_a1b9_65f4)
    #expect(random.next() == 0x06c4_5d18_8009_454f)
  }

  @Test func `corrupted bytes replay with their seed and mostly differ`() {
    let bytes = [UInt8](0..<100)
    var changed = 0
    for seed in 0..<200 as Range<UInt64> {
      var (one, other) = (SeededRandom(seed), SeededRandom(seed))
      let result = one.corrupted(bytes)
      #expect(result == other.corrupted(bytes))
      if result != bytes { changed += 1 }
    }
    #expect(changed > 190)
  }

  @Test func `a temporary directory is private, and gone afterwards`() async throws {
    struct Stop: Error {}
    var paths: [String] = []
    try withTemporaryDirectory { path in
      paths.append(path)
      let attributes = try FileManager.default.attributesOfItem(atPath: path)
      #expect(attributes[.posixPermissions] as? Int == 0o700)
      try Data([1]).write(to: URL(filePath: path).appending(path: "file"))
    }
    await #expect(throws: Stop.self) {
      try await withTemporaryDirectory { path in
        paths.append(path)
        await Task.yield()
        throw Stop()
      }
    }
    #expect(paths.count == 2)
    for path in paths { #expect(!FileManager.default.fileExists(atPath: path)) }
  }

  @Test func `a comparison names the worst and the first place that departs`() {
    var got: [Float] = [0, 1, 2, 3, 4, 5]
    #expect(compare(got, got, tolerance: 0).matches)
    got[2] = 2.5
    got[4] = 3
    let report = compare(got, [0, 1, 2, 3, 4, 5], tolerance: 0.1, shape: [2, 3], name: "logits")
    #expect(!report.matches && report.failureCount == 2)
    #expect(report.firstIndex == 2 && report.worstIndex == 4 && report.maxAbs == 1)
    #expect("\(report)".contains("max-abs 1.0 at [1, 1]"))
    #expect("\(report)".contains("first at [0, 2]"))
  }

  @Test func `a NaN, an infinity or a missing value never passes`() {
    #expect(!compare([.nan], [.nan], tolerance: 1).matches)
    #expect(!compare([.infinity], [1], tolerance: 1).matches)
    #expect(compare([.infinity], [.infinity], tolerance: 0).matches)
    #expect(!compare([1], [1, 2], tolerance: 1).matches)
  }

  @Test(arguments: Goldens.random + ["demo-model"])
  func `every golden can be read and agrees with itself`(_ name: String) throws {
    let golden = try Goldens.load(name)
    #expect(golden.cases.count >= 4)
    for item in golden.cases {
      let logits = try golden.logits(item)
      let vocabulary = item.shape[1]
      #expect(item.shape[0] == item.ids.count && item.greedy.count == item.greedyMargins.count)
      // The first greedy token is where the last row of the prompt's logits is largest.
      let row = logits.suffix(vocabulary)
      let best = row.indices.max { row[$0] < row[$1] }.map { $0 - row.startIndex }
      #expect(best == item.greedy.first, "\(name) \(item)")
    }
    guard let layers = golden.layers else { return }
    let hidden = try golden.floats(layers.afterEachLayer)
    #expect(hidden.count == layers.inputStreams.shape.reduce(layers.afterEachLayer.shape[0], *))
    #expect(try golden.floats(layers.logits).count == layers.logits.shape.reduce(1, *))
  }
}
