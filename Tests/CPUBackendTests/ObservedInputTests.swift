// What the CPU backend says of the inputs of products: the same as the reference, whatever the
// model, the types of its weights, the threads and the instructions; and that observing changes no
// result.

import BackendConformance
import CPUBackend
import Compute
import Foundation
import Gemma
import TestSupport
import Testing

private let seed = testSeed(default: 20_261_130)

/// The sums of a step, by weight.
///
/// Backends may tell of a weight with several ops in one part or in several.
private struct ObservedSums: Equatable {
  var sums: [WeightRef: [Float]] = [:]
  var rowCounts: [WeightRef: Int] = [:]

  init(_ inputs: [ObservedInput]) {
    for input in inputs {
      let zeros = Array(repeating: Float(0), count: input.sums.count)
      sums[input.weight] = zip(sums[input.weight] ?? zeros, input.sums).map { $0 + $1 }
      rowCounts[input.weight, default: 0] += input.rowCount
    }
  }

  /// The same without what met no row, which may be told or not.
  var met: ObservedSums {
    var result = self
    for (weight, count) in rowCounts where count == 0 {
      #expect(result.sums[weight]?.allSatisfy { $0 == 0 } == true, "\(weight.name)")
      result.sums[weight] = nil
      result.rowCounts[weight] = nil
    }
    return result
  }

  /// Where the sums of two backends lie apart by more than a share of the weight's largest sum.
  func differences(from other: ObservedSums, tolerance: Float) -> [String] {
    guard rowCounts == other.rowCounts else {
      let names = Set(rowCounts.keys).symmetricDifference(other.rowCounts.keys).map(\.name).sorted()
      let counts = rowCounts.filter { other.rowCounts[$0.key] != $0.value }.map {
        "\($0.key.name): \($0.value)"
      }
      return ["other rows: of \(names) one side tells alone; \(counts.sorted())"]
    }
    return sums.sorted { $0.key.name < $1.key.name }.compactMap { weight, values in
      let want = other.sums[weight] ?? []
      let limit = tolerance * (want.max() ?? 0)
      let report = compare(values, want, tolerance: limit, name: weight.name)
      return report.matches ? nil : "\(report)"
    }
  }
}

@Suite struct `Observed inputs on the CPU backend` {
  private let limits = ExecutableLimits(maxRows: 32, slots: 2, contextTokens: 64)

  /// Two slots, of whose rows some are wanted.
  private let batch = Batch(
    rows: (0..<21).map { index in
      let slot = index < 12 ? 1 : 0
      let position = slot == 1 ? index : index - 12
      return Row(
        slot: slot,
        position: position,
        token: Int32(index * 37 % 200 + 3),
        isWanted: index % 4 == 3
      )
    }
  )

  private func runner(
    _ name: String,
    on backend: any Backend,
    passesAllLayers: Bool = false,
    observes: Bool = true
  ) throws -> ProgramRunner {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    var config = checkpoint.config
    config.passesAllLayers = passesAllLayers
    var program = try config.lower(0..<config.layers.count, weights: checkpoint)
    program.observesInputs = observes
    return try backend.prepare(program, weights: checkpoint, limits: limits) { _ in }
  }

  private func sums(_ runner: ProgramRunner, _ batch: Batch) throws -> ObservedSums {
    _ = try runner.run(batch, inputs: [])
    return ObservedSums(runner.executable.observedInputs)
  }

  @Test(arguments: Goldens.random, [false, true])
  func `the sums are the reference's for every family, rows narrowed or not`(
    _ name: String,
    _ passesAllLayers: Bool
  ) throws {
    let cpu = try runner(
      name,
      on: try CPU(threads: 2, pinnedTo: nil, cacheType: .f32),
      passesAllLayers: passesAllLayers
    )
    let reference = try runner(name, on: ReferenceBackend(), passesAllLayers: passesAllLayers)
    let (got, want) = (try sums(cpu, batch), try sums(reference, batch))
    let wrong = got.differences(from: want, tolerance: 1e-4)
    #expect(wrong.isEmpty, "\(wrong)")
    // Logits are of wanted rows alone; so is all behind the last layer that others' keys and values
    // come from.
    let counts = Set(got.rowCounts.values)
    #expect(counts == [batch.rows.count, batch.wantedRows.count])
    let lastDown = try #require(
      got.rowCounts.first { $0.key.name.contains("layers.\(cpu.lastLayer).mlp.down") }
    )
    #expect(lastDown.value == (passesAllLayers ? batch.rows.count : batch.wantedRows.count))
  }

  /// Every product op with every type of weights: what counts is the input in f32, not what it is
  /// rounded to.
  @Test(arguments: [
    OpKind.expandStreams, .perLayerInputs, .laurel, .projectKV, .projectQueries, .matmul,
    .feedForward,
    .injectPerLayerInput, .mergeStreams, .logits,
  ])
  func `the sums are the reference's for every op and every type`(_ kind: OpKind) throws {
    let cpu = try CPU(threads: 2, pinnedTo: nil, cacheType: .f32)
    var observedTypes: Set<TensorType> = []
    for testCase in kind.cases(seed: seed) {
      var observing = testCase
      observing.program.observesInputs = true
      func sums(_ backend: any Backend) throws -> ObservedSums {
        let runner = try backend.prepare(
          observing.program,
          weights: observing.weights,
          limits: observing.limits
        ) {
          _ in
        }
        _ = try observing.run(on: runner, .together, seed: seed)
        return ObservedSums(runner.executable.observedInputs).met
      }
      let got = try sums(cpu)
      let want = try sums(ReferenceBackend())
      // Behind a product with int8 activations, another's input has their rounding.
      let wrong = got.differences(from: want, tolerance: max(2 * testCase.tolerance, 1e-4))
      #expect(wrong.isEmpty, "\(testCase.name): \(wrong)")
      observedTypes.formUnion(got.sums.keys.map(\.type))
    }
    #expect(!observedTypes.isEmpty)
    if kind == .matmul { #expect(observedTypes == Set(TensorType.allCases)) }
  }

  @Test func `a product's sums are those of its input, whatever its weights round it to`() throws {
    let backend = try CPU(threads: 2, pinnedTo: nil)
    for type in TensorType.allCases {
      let weights = RandomWeights(seed: seed, name: "observed")
      var program = Program(layers: 0..<1)
      let input = program.add(Buffer(name: "input", width: 256, rows: .all))
      let output = program.add(Buffer(name: "output", width: 8, rows: .all))
      let weight = weights.add("weight", rows: 8, columns: 256, type: type)
      program.inputs = [input]
      program.outputs = [output]
      program.ops = [.matmul(Matmul(input: input, weight: weight, output: output))]
      program.observesInputs = true
      let runner = try backend.prepare(program, weights: weights, limits: limits) { _ in }
      // Halves of small integers: their squares and the sums of these are exact.
      let values = (0..<(3 * 256)).map { Float($0 % 23 - 11) / 2 }
      let rows = (0..<3).map { Row(slot: 0, position: $0, token: 0, isWanted: false) }
      _ = try runner.run(Batch(rows: rows), inputs: [values])
      let want = (0..<256).map { column in
        (0..<3).reduce(Float(0)) { $0 + values[$1 * 256 + column] * values[$1 * 256 + column] }
      }
      #expect(
        runner.executable.observedInputs == [
          ObservedInput(weight: weight, sums: want, rowCount: 3)
        ],
        "\(type)"
      )
    }
  }

  @Test(arguments: ["gemma3-random-b", "gemma3n-random-a", "gemma4-random-a"])
  func `threads and instructions change no bit of the sums`(_ name: String) throws {
    let want = try runner(name, on: try CPU(threads: 1, pinnedTo: nil, cacheType: .f32))
    let expected = try sums(want, batch)
    for set in instructionSets {
      for threads in [1, 2, 3] {
        let backend = try CPU(threads: threads, pinnedTo: nil, cacheType: .f32, instructionSet: set)
        let got = try sums(try runner(name, on: backend), batch)
        #expect(got == expected, "\(set) on \(threads) threads")
      }
    }
  }

  @Test(arguments: Goldens.random)
  func `observing changes no bit of the logits`(_ name: String) throws {
    let backend = try CPU(threads: 2, pinnedTo: nil)
    let plain = try runner(name, on: backend, observes: false).run(batch, inputs: [])
    let observed = try runner(name, on: backend, observes: true).run(batch, inputs: [])
    #expect(plain.map { $0.map(\.bitPattern) } == observed.map { $0.map(\.bitPattern) })
  }

  @Test(arguments: ["gemma3-random-a", "gemma3n-random-a"])
  func `nothing is observed unless the program says so`(_ name: String) throws {
    let backends: [any Backend] = [try CPU(threads: 1, pinnedTo: nil), ReferenceBackend()]
    for backend in backends {
      let runner = try runner(name, on: backend, observes: false)
      _ = try runner.run(batch, inputs: [])
      #expect(runner.executable.observedInputs.isEmpty)
    }
  }

  @Test func `the sums are of the last step alone`() throws {
    let backends: [any Backend] = [try CPU(threads: 2, pinnedTo: nil), ReferenceBackend()]
    for backend in backends {
      let runner = try runner("gemma3n-random-a", on: backend)
      _ = try sums(runner, batch)
      // Nobody wants a row of this one: what is computed for wanted rows alone has met none.
      let rows = (0..<3).map {
        Row(slot: 0, position: 9 + $0, token: Int32(50 + $0), isWanted: false)
      }
      let second = try sums(runner, Batch(rows: rows)).met
      #expect(Set(second.rowCounts.values) == [3])
      #expect(
        !second.rowCounts.keys.contains {
          $0.name.contains("layers.29.") || $0.name.contains("embed_tokens.")
        }
      )
      // The same rows on their own caches give the same sums.
      let other = try self.runner("gemma3n-random-a", on: backend)
      _ = try sums(other, batch)
      #expect(try sums(other, Batch(rows: rows)).met == second)
    }
  }
}

extension ProgramRunner {
  fileprivate var lastLayer: Int { program.layers.upperBound - 1 }
}
