// What always holds, on whole models: a result does not depend on where the layers are cut, on what
// else is in the batch, or on how a session was cut into steps. Bit for bit.

import CPUBackend
import Compute
import Foundation
import Gemma
import TestSupport
import Testing

@Suite struct `Invariance of whole models` {
  private let backend: CPU

  init() throws { backend = try CPU(threads: 1, pinnedTo: nil) }

  /// The checkpoint, and its longest case: far beyond the sliding window.
  private func model(_ name: String) throws -> (checkpoint: Checkpoint, tokens: [Int32]) {
    let cases = try Goldens.load(name).cases
    let longest = cases.map(\.ids).max { $0.count < $1.count } ?? []
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    #expect(
      longest.count > 2 * (checkpoint.config.layers.compactMap(\.attention.window).max() ?? 0)
    )
    return (checkpoint, longest.map(Int32.init))
  }

  private func pipeline(
    _ checkpoint: Checkpoint,
    _ split: [Int]? = nil,
    slots: Int = 4,
    passesAllLayers: Bool = false,
    maxRows: Int = 128,
    sharing previous: InProcessPipeline? = nil
  ) throws -> InProcessPipeline {
    try InProcessPipeline(
      checkpoint,
      backend: backend,
      split: split ?? [checkpoint.config.layers.count],
      limits: ExecutableLimits(maxRows: maxRows, slots: slots, contextTokens: 160),
      passesAllLayers: passesAllLayers,
      sharing: previous
    )
  }

  @Test(arguments: ["gemma3-random-b", "gemma3n-random-a"])
  func `weights of a model's file are prepared once, however often layers move`(
    _ name: String
  ) throws {
    let checkpoint = try model(name).checkpoint
    let layers = checkpoint.config.layers.count
    let first = try pipeline(checkpoint)
    let same = try pipeline(checkpoint, sharing: first).stages[0].executable.footprint
    #expect(same.ownedWeightBytes > 0 && same.sharedWeightBytes == same.ownedWeightBytes)
    // A stage that has lost its last layer has nothing new, but for a few rows that all layers' weights have together.
    let less = try pipeline(checkpoint, [layers - 1, 1], sharing: first).stages[0].executable
    #expect(less.footprint.sharedWeightBytes > less.footprint.ownedWeightBytes * 9 / 10)
  }

  private func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

  @Test(arguments: Goldens.gemma3n + Goldens.gemma4)
  func `every cut into two stages gives the same logits`(_ name: String) throws {
    let (checkpoint, tokens) = try model(name)
    let whole = bits(try pipeline(checkpoint).logits(tokens: tokens))
    for cut in 1..<checkpoint.config.layers.count {
      let split = [cut, checkpoint.config.layers.count - cut]
      let logits = try pipeline(checkpoint, split).logits(tokens: tokens, chunk: 37)
      #expect(bits(logits) == whole, "cut before layer \(cut)")
    }
  }

  @Test(.seeded(default: 11), arguments: Goldens.gemma3n + Goldens.gemma4)
  func `random splits into three and four stages give the same logits`(_ name: String) throws {
    let (checkpoint, tokens) = try model(name)
    let whole = bits(try pipeline(checkpoint).logits(tokens: tokens))
    var random = SeededRandom(testSeed(default: 11))
    for round in 0..<10 {
      var cuts: Set<Int> = []
      while cuts.count < 2 + round % 2 {
        cuts.insert(Int.random(in: 1..<checkpoint.config.layers.count, using: &random))
      }
      let ends = cuts.sorted() + [checkpoint.config.layers.count]
      let split = zip(ends, [0] + ends).map { $0 - $1 }
      let logits = try pipeline(checkpoint, split).logits(tokens: tokens)
      #expect(bits(logits) == whole, "split \(split)")
    }
  }

  @Test(.seeded(default: 17), arguments: Goldens.random)
  func `logits cut anywhere and put together are the same`(_ name: String) throws {
    let (checkpoint, tokens) = try model(name)
    let whole = bits(try pipeline(checkpoint).logits(tokens: tokens))
    let line = checkpoint.config.line
    var random = SeededRandom(testSeed(default: 17))
    for round in 0..<8 {
      let layers = Int.random(in: 1..<line.layerCount, using: &random)
      var rows = (0..<1 + round % 3).map { _ in
        Int.random(in: 1..<line.vocabularySize, using: &random)
      }
      // Now and then the last layer's stage computes no logits.
      if round.isMultiple(of: 3) { rows.append(0) }
      let ends = Set(rows).sorted() + [line.vocabularySize]
      let first = ModelSlice(layers: layers..<line.layerCount, vocabulary: 0..<ends[0])
      let slices =
        [ModelSlice(layers: 0..<layers), first]
        + zip(ends, ends.dropFirst()).map {
          ModelSlice(layers: line.layerCount..<line.layerCount, vocabulary: $0..<$1)
        }
      #expect(slices.allSatisfy(line.holds))
      let cut = try InProcessPipeline(
        checkpoint,
        backend: backend,
        slices: slices,
        limits: ExecutableLimits(maxRows: 128, slots: 4, contextTokens: 160)
      )
      #expect(bits(try cut.logits(tokens: tokens, chunk: 37)) == whole, "\(slices)")
    }
  }

  @Test func `a stage holds the weights of its own rows of the vocabulary alone`() throws {
    let (checkpoint, _) = try model("gemma3n-random-a")
    let line = checkpoint.config.line
    let size = line.vocabularySize
    func bytes(_ rows: Range<Int>) throws -> Int {
      let slice = ModelSlice(layers: line.layerCount..<line.layerCount, vocabulary: rows)
      let program = try checkpoint.config.lower(slice, weights: checkpoint)
      let limits = ExecutableLimits(maxRows: 4, slots: 1, contextTokens: 16)
      let runner = try backend.prepare(program, weights: checkpoint, limits: limits) { _ in }
      #expect(program.caches.isEmpty && runner.kvByteCount == 0)
      return runner.footprint.ownedWeightBytes + runner.footprint.mappedWeightBytes
    }
    let all = try bytes(0..<size)
    #expect(size.isMultiple(of: 64) && all > 0)
    #expect(try bytes(0..<size / 4) * 4 == all)
    #expect(try bytes(size / 4..<size) * 4 == all * 3)
  }

  @Test(arguments: Goldens.random)
  func `a session gives the same logits in any chunks and beside any others`(
    _ name: String
  ) throws {
    let (checkpoint, tokens) = try model(name)
    let whole = bits(try pipeline(checkpoint).logits(tokens: tokens))
    for chunk in [1, 3, 32] {
      let logits = try pipeline(checkpoint).logits(tokens: tokens, chunk: chunk)
      #expect(bits(logits) == whole, "chunks of \(chunk)")
    }
    // Beside two others: the same tokens shifted, step by step.
    let shared = try pipeline(checkpoint)
    let vocabulary = checkpoint.config.vocabularySize
    var logits: [Float] = []
    for position in tokens.indices {
      let rows = [1, 0, 2].map { slot in
        Row(
          slot: slot,
          position: position,
          token: (tokens[position] + Int32(slot)) % 256,
          isWanted: true
        )
      }
      let all = try shared.logits(Batch(rows: rows))
      logits += all[vocabulary..<(2 * vocabulary)]
    }
    // Slot 0 ran `tokens` modulo 256; so must the run alone.
    let alone = try pipeline(checkpoint).logits(tokens: tokens.map { $0 % 256 })
    #expect(bits(logits) == bits(alone))
  }

  @Test(arguments: Goldens.gemma3n + Goldens.gemma4)
  func `rows nobody wants change nothing for those somebody does`(_ name: String) throws {
    let (checkpoint, tokens) = try model(name)
    let vocabulary = checkpoint.config.vocabularySize
    let whole = try pipeline(checkpoint).logits(tokens: tokens)
    let last = Batch(
      rows: tokens.indices.map {
        Row(slot: 0, position: $0, token: tokens[$0], isWanted: $0 == tokens.count - 1)
      }
    )
    let (count, owners) = (checkpoint.config.layers.count, checkpoint.config.firstSharedLayer)
    // Cuts before the layer where rows end, behind it, and further on if there are layers.
    let cuts = Set([count / 3, owners, (owners + count) / 2]).filter { $0 < count }
    for split in [[count]] + cuts.map({ [$0, count - $0] }) {
      let logits = try pipeline(checkpoint, split).logits(last)
      #expect(bits(logits) == bits(Array(whole.suffix(vocabulary))), "split \(split)")
      let unskipped = try pipeline(checkpoint, split, passesAllLayers: true).logits(last)
      #expect(bits(unskipped) == bits(logits), "split \(split), no layer skipped")
    }
  }

  @Test func `a cleared slot is as new`() throws {
    let (checkpoint, tokens) = try model("gemma3n-random-a")
    let pipeline = try pipeline(checkpoint)
    let first = try pipeline.logits(tokens: tokens)
    pipeline.clear(slot: 0)
    #expect(bits(try pipeline.logits(tokens: tokens)) == bits(first))
  }

  @Test(.seeded(default: 23), arguments: Goldens.gemma3n + Goldens.gemma4)
  func `layers move between stages in the middle of a session`(_ name: String) throws {
    let (checkpoint, tokens) = try model(name)
    let layerCount = checkpoint.config.layers.count
    let vocabulary = checkpoint.config.vocabularySize
    let whole = bits(try pipeline(checkpoint).logits(tokens: tokens))
    var random = SeededRandom(testSeed(default: 23))
    for round in 0..<8 {
      let sharesAll = round.isMultiple(of: 2)
      var current: InProcessPipeline?
      var position = 0
      var splits: [[Int]] = []
      while position < tokens.count {
        let cut = Int.random(in: 1..<layerCount, using: &random)
        splits.append([cut, layerCount - cut])
        let next = try pipeline(
          checkpoint,
          [cut, layerCount - cut],
          maxRows: 8,
          sharing: sharesAll ? current : nil
        )
        if let current {
          let moved = try next.takeOver(slot: 1, count: position, from: current)
          #expect(sharesAll || moved > 0, "nothing had to be moved to new stages")
        }
        let end = min(tokens.count, position + Int.random(in: 10...40, using: &random))
        let got = try next.logits(tokens: Array(tokens[..<end]), from: position, chunk: 8, slot: 1)
        #expect(
          bits(got) == Array(whole[(position * vocabulary)..<(end * vocabulary)]),
          "splits \(splits), positions \(position)..<\(end)"
        )
        (current, position) = (next, end)
      }
      #expect(splits.count > 1)
    }
  }
}
