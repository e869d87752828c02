// Which pieces of a model a device cannot run, and why: its backend has no kernel for an op, or for the
// type of a weight. What it has too little memory for is another matter (`Inability`).

package import Compute
package import Gemma

/// The pieces of a model that are never placed on a device.
package struct DeviceObstacles: Sendable, Hashable {
  /// Why, by layer.
  private var layers: [Int: String] = [:]
  /// Why it cannot compute logits; nil if it can.
  private var logits: String?

  /// Nothing stands in the way.
  package init() {}

  /// Asks a device, or its backend, for every op of a model.
  package init(_ ops: ModelOps, support: (Op) -> Support) {
    for (layer, ops) in ops.layers.enumerated() {
      layers[layer] = Self.firstReason(ops, support)
    }
    logits = Self.firstReason(ops.logits, support)
  }

  private static func firstReason(_ ops: [Op], _ support: (Op) -> Support) -> String? {
    for op in ops {
      if case .unsupported(let reason) = support(op) { return "op \(op.name): \(reason)" }
    }
    return nil
  }

  package var isEmpty: Bool { layers.isEmpty && logits == nil }

  /// Returns whether not a single piece of a model can be placed on the device.
  package func excludesAll(of line: ModelLine) -> Bool {
    layers.count == line.layerCount && logits != nil
  }

  /// Adds what a worker has failed to prepare, for the reason that it gave.
  mutating func add(layers refused: [Int], logits lacksLogits: Bool, _ reason: String) {
    for layer in refused where layers[layer] == nil { layers[layer] = reason }
    if lacksLogits, logits == nil { logits = reason }
  }

  /// Returns why a slice cannot be placed on the device, with the layer; nil if it can.
  package func obstacle(to slice: ModelSlice) -> String? {
    for layer in slice.layers {
      if let reason = layers[layer] { return "cannot run layer \(layer): \(reason)" }
    }
    guard !slice.vocabulary.isEmpty, let logits else { return nil }
    return "cannot compute logits: \(logits)"
  }
}
