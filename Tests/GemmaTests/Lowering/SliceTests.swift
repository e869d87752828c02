// Slices of a model: which are pieces of its line, and what their programs take and leave.

import Compute
import Foundation
import Gemma
import TestSupport
import Testing

@Suite struct `Slices of a model` {
  private let line = ModelLine(layerCount: 18, vocabularySize: 262_144)

  private func slice(_ layers: Range<Int>, _ vocabulary: Range<Int> = 0..<0) -> ModelSlice {
    ModelSlice(layers: layers, vocabulary: vocabulary)
  }

  @Test func `a piece has no gap within and lies on the line`() {
    for good in [
      slice(0..<18), slice(3..<4), slice(0..<18, 0..<262_144), slice(17..<18, 0..<1),
      slice(18..<18, 0..<262_144), slice(18..<18, 64..<128),
    ] { #expect(line.holds(good), "\(good)") }
    for bad in [
      slice(0..<0), slice(18..<18), slice(18..<19), slice(-1..<3), slice(3..<4, 0..<64),
      slice(17..<18, 64..<128), slice(17..<17, 64..<128), slice(18..<18, 0..<262_145),
      slice(18..<18, -1..<4), slice(0..<18, 5..<5),
    ] { #expect(!line.holds(bad), "\(bad)") }
    #expect(line.isLast(slice(18..<18, 64..<262_144)))
    #expect(!line.isLast(slice(17..<18)) && !line.isLast(slice(17..<18, 0..<64)))
  }

  @Test(arguments: [262_144, 262_208, 262_400, 4096, 1024, 271, 64, 5, 1])
  func `pieces follow one another to the end of the vocabulary`(_ size: Int) {
    let line = ModelLine(layerCount: 3, vocabularySize: size)
    let pieces = (0..<line.pieceCount).map { line.slice(pieces: $0..<$0 + 1) }
    #expect(pieces.allSatisfy(line.holds))
    #expect(pieces.prefix(3).map(\.layers) == [0..<1, 1..<2, 2..<3])
    let rows = pieces.dropFirst(3).map(\.vocabulary)
    #expect(rows.first?.lowerBound == 0 && rows.last?.upperBound == size && rows.count <= 32)
    for (one, next) in zip(rows, rows.dropFirst()) { #expect(one.upperBound == next.lowerBound) }
    #expect(rows.dropLast().allSatisfy { $0.upperBound.isMultiple(of: line.rowGranule) })
    #expect(line.slice(pieces: 0..<line.pieceCount) == line.slice(layers: 0..<3))
    #expect(line.slice(pieces: 2..<3) == ModelSlice(layers: 2..<3))
    if rows.count > 1 {
      #expect(line.slice(pieces: 2..<4) == ModelSlice(layers: 2..<3, vocabulary: rows[0]))
    }
  }

  @Test(arguments: Goldens.random)
  func `a stage takes normed rows behind the last layer, and leaves them with its logits`(
    _ name: String
  ) throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    let (config, line) = (checkpoint.config, checkpoint.config.line)
    let (count, size) = (line.layerCount, line.vocabularySize)
    func program(_ slice: ModelSlice) throws -> Program {
      let program = try config.lower(slice, weights: checkpoint)
      try program.validate()
      #expect(program.layers == slice.layers && program.vocabulary == slice.vocabulary)
      return program
    }
    func widths(_ ids: [BufferID], _ program: Program) -> [[Int]] {
      ids.map { [program[$0].planes, program[$0].width] }
    }
    let hidden = [1, config.hiddenSize]
    let last = (count - 1)..<count
    let whole = try program(slice(last, 0..<size))
    #expect(widths(whole.outputs, whole) == [[1, size]])
    let some = try program(slice(last, 0..<7))
    #expect(widths(some.outputs, some) == [hidden, [1, 7]])
    let none = try program(slice(last))
    #expect(widths(none.outputs, none) == [hidden])
    let middle = try program(slice(count..<count, 7..<20))
    #expect(widths(middle.inputs, middle) == [hidden])
    #expect(widths(middle.outputs, middle) == [hidden, [1, 13]])
    let end = try program(slice(count..<count, 20..<size))
    #expect(widths(end.inputs, end) == [hidden] && widths(end.outputs, end) == [[1, size - 20]])
    for program in [middle, end] {
      #expect(program.ops.count == 1 && program.caches.isEmpty)
      #expect((program.inputs + program.outputs).allSatisfy { program[$0].rows == .wanted })
      #expect(program.ops.flatMap(\.weights).map(\.rows) == [program.vocabulary])
    }
    // What a slice reads adds up to the whole.
    let cost = checkpoint.decodeCost
    let cut = [
      slice(0..<3), slice(3..<count, 0..<7), slice(count..<count, 7..<size),
    ].map(cost.bytes)
    #expect(abs(cut.reduce(0, +) / cost.total - 1) < 1e-12 && cut.allSatisfy { $0 > 0 })
  }
}
