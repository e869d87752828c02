// Numbers that are none: an infinity or a NaN ends the step where it comes up, with its layer and cause,
// instead of going on to where it would be drawn as a token.

internal import Compute
internal import Gemma
internal import Wire

extension Stage {
  /// Checks what has been handed on: an honest stage hands on finite numbers only.
  func checkFinite(_ payloads: [[Float]]) throws(WorkerError) {
    guard payloads.allSatisfy(areFinite) else {
      throw WorkerError(
        .step,
        "what the stage before has handed on is no finite number",
        context: "epoch \(epoch)"
      )
    }
  }

  /// Returns the end of a step whose outputs are not all finite; nil if they are.
  func nonFinite(_ outputs: [[Float]], of batch: Batch, inputs: [[Float]]) -> StepOutcome? {
    if outputs.allSatisfy(areFinite) { return nil }
    let program = runner.program
    var slots: Set<Int> = []
    for (id, values) in zip(program.outputs, outputs) where !areFinite(values) {
      let buffer = program[id]
      let rows = buffer.rows == .all ? Array(batch.rows.indices) : batch.wantedRows
      for plane in 0..<buffer.planes {
        for (index, row) in rows.enumerated() {
          let first = (plane * rows.count + index) * buffer.width
          if !areFinite(Array(values[first..<(first + buffer.width)])) {
            slots.insert(batch.rows[row].slot)
          }
        }
      }
    }
    return .notFinite(slots: slots.sorted(), reason: reason(batch, inputs))
  }

  private func reason(_ batch: Batch, _ inputs: [[Float]]) -> String {
    let program = runner.program
    guard let first = runner.firstNonFinite(batch, inputs: inputs) else {
      let layers = "\(program.layers.lowerBound)..<\(program.layers.upperBound)"
      return "results of layers \(layers) are infinite or NaN"
    }
    let op = program.ops[first.op]
    let place = program.layer(of: op).map { "layer \($0), \(op.name)" } ?? op.name
    return switch first.cause {
    case .weight(let name):
      "\(place): the weight \(name) holds an infinity or a NaN; the model file is damaged, or was saved so"
    case .overflow(let type):
      "\(place): keys or values are beyond \(Int(type.largestMagnitude)), the most that a cache"
        + " of \(type.rawValue) holds; start with --kv-cache f32"
    case .kept: "\(place): keys or values of an earlier position are infinite or NaN"
    case .result:
      "\(place): its results are infinite or NaN, though all weights it reads are finite"
    }
  }
}
