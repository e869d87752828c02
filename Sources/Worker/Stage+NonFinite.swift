// Infinities and NaNs end a step in the stage in which they arise, with their layer and cause.
// Otherwise they would be sampled as a token at the end of the pipeline.

internal import Compute
internal import Gemma
internal import Wire

extension Stage {
  /// Checks the activations that were received; a correct stage sends finite numbers only.
  func checkFinite(_ payloads: [[Float]]) throws(WorkerError) {
    guard payloads.allSatisfy(areFinite) else {
      throw WorkerError(
        .step,
        "the activations from the previous stage contain an infinity or a NaN",
        context: "epoch \(epoch)"
      )
    }
  }

  /// Returns the outcome of a step whose outputs are not all finite; nil if they are.
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
      "\(place): the weight \(name) contains an infinity or a NaN; the model file is damaged, or was written with it"
    case .overflow(let type):
      "\(place): keys or values are beyond \(Int(type.largestMagnitude)), the largest number in a cache"
        + " of \(type.rawValue); start with --kv-cache f32"
    case .kept: "\(place): cached keys or values of an earlier position are infinite or NaN"
    case .result:
      "\(place): its results are infinite or NaN, although all weights that it reads are finite"
    }
  }
}
