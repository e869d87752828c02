// Runs a case's sessions through an executable, cut into steps in different ways.

package import Compute

/// How sessions are cut into steps.
package enum Schedule: String, Sendable, CaseIterable {
  /// As many rows a step as fit, slot after slot: prefill in chunks.
  case together
  /// One row a step: decode.
  case alone
  /// Steps of random size with rows of several slots, as a busy coordinator makes them.
  case mixed
}

/// What a program put out for one row: its part of each output, planes one behind the other.
package typealias RowOutputs = [RowKey: [Float]]

/// A position of a session.
package struct RowKey: Sendable, Hashable, Comparable {
  package var slot: Int
  package var position: Int

  package static func < (left: RowKey, right: RowKey) -> Bool {
    (left.slot, left.position) < (right.slot, right.position)
  }
}

extension ConformanceCase {
  /// Compiles the case for a backend and runs all its sessions.
  package func run(on backend: any Backend, _ schedule: Schedule, seed: UInt64) throws -> RowOutputs
  {
    let runner = try backend.prepare(program, weights: weights, limits: limits) { _ in }
    return try run(on: runner, schedule, seed: seed)
  }

  /// Runs all sessions of the case, from their first position.
  package func run(
    on runner: ProgramRunner,
    _ schedule: Schedule,
    seed: UInt64
  ) throws -> RowOutputs {
    var outputs: RowOutputs = [:]
    for batch in batches(schedule, seed: seed) {
      let inputs = program.inputs.map { input($0, batch, seed: seed) }
      let values = try runner.run(batch, inputs: inputs)
      collect(values, batch, into: &outputs)
    }
    return outputs
  }

  /// Returns the row of a position; the same whatever the schedule.
  private func row(slot: Int, position: Int, seed: UInt64) -> Row {
    var generator = Generator(seed: seed, name: "row \(slot) \(position)")
    // Some tokens lie beyond smaller tables.
    let token = Int32.random(in: 0..<Int32(vocabularySize), using: &generator)
    let isLast = position == lengths[slot] - 1
    let isWanted = isLast || generator.next() % 2 == 0
    return Row(slot: slot, position: position, token: token, isWanted: isWanted)
  }

  /// Returns the steps of a schedule.
  package func batches(_ schedule: Schedule, seed: UInt64) -> [Batch] {
    var next = Array(repeating: 0, count: lengths.count)
    var generator = Generator(seed: seed, name: "batches")
    var batches: [Batch] = []
    while let first = next.indices.first(where: { next[$0] < lengths[$0] }) {
      var rows: [Row] = []
      // Slots of a step in any order, for mixed steps.
      let slots = schedule == .mixed ? Array(next.indices).shuffled(using: &generator) : [first]
      for slot in schedule == .together ? Array(next.indices) : slots {
        let room = maxRows - rows.count
        let left = lengths[slot] - next[slot]
        let count =
          switch schedule {
          case .together: min(room, left)
          case .alone: min(1, left)
          case .mixed: min(room, left, Int.random(in: 0...6, using: &generator))
          }
        for _ in 0..<count {
          rows.append(row(slot: slot, position: next[slot], seed: seed))
          next[slot] += 1
        }
      }
      batches.append(Batch(rows: rows))
    }
    return batches
  }

  /// Returns a program input for a batch: [planes, rows, width].
  private func input(_ id: BufferID, _ batch: Batch, seed: UInt64) -> [Float] {
    let buffer = program[id]
    var values: [Float] = []
    for plane in 0..<buffer.planes {
      batch.forEach(in: buffer.rows) { _, row in
        let name = "\(buffer.name) \(plane) \(row.slot) \(row.position)"
        var generator = Generator(seed: seed, name: name)
        for column in 0..<buffer.width {
          switch inputKind {
          case .real: values.append(generator.uniform())
          case .exactInt8:
            let quant =
              column.isMultiple(of: 32) ? 127 : Int.random(in: -127...127, using: &generator)
            values.append(Float(generator.next() & 1 == 0 ? quant : -quant) / 32)
          }
        }
      }
    }
    return values.map { Float(sign: .plus, exponent: inputExponent, significand: $0) }
  }

  /// Files a step's outputs by row.
  private func collect(_ values: [[Float]], _ batch: Batch, into outputs: inout RowOutputs) {
    for (id, output) in zip(program.outputs, values) {
      let buffer = program[id]
      let rowCount = batch.count(of: buffer.rows)
      batch.forEach(in: buffer.rows) { index, row in
        let key = RowKey(slot: row.slot, position: row.position)
        for plane in 0..<buffer.planes {
          let first = (plane * rowCount + index) * buffer.width
          outputs[key, default: []] += output[first..<(first + buffer.width)]
        }
      }
    }
  }
}
