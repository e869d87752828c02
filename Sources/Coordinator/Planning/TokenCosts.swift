// What a token costs in each layer of one device: a token of a prompt, which is computed beside many others
// and whose output nobody wants, and a decoded token, for which all weights are read.

/// The cost of a token on one device, layer by layer.
package struct TokenCosts: Sendable, Hashable {
  /// Microseconds of a token of a prompt, by layer; 0 behind the layer in which it ends.
  package var prompt: [Double]
  /// Microseconds of the only token of a step that decodes, by layer.
  package var decode: [Double]
  /// Microseconds of the logits of a decoded token.
  package var logits: Double
  /// The first layer that a prompt's tokens do not reach; the layer count if there is none.
  package var firstSkippedLayer: Int
}

extension PipelineCosts {
  /// Returns what tokens cost on a device; `promptRows` of a prompt are in a step.
  package func tokenCosts(on device: Int, promptRows: Int) -> TokenCosts {
    let rows = max(1, promptRows)
    return TokenCosts(
      prompt: (0..<layerCount).map { layerTime($0, on: device, .prompt(rows)) / Double(rows) },
      decode: (0..<layerCount).map { layerTime($0, on: device, .decoding(1)) },
      logits: logitsTime(0..<shape.vocabularySize, on: device, .decoding(1)),
      firstSkippedLayer: shape.firstSkippedLayer
    )
  }
}

extension TokenCosts {
  /// The costs as a sentence without its full stop.
  package var text: String {
    let layers = [0..<firstSkippedLayer, firstSkippedLayer..<prompt.count].filter { !$0.isEmpty }
    let sums = { (costs: [Double]) in
      layers.map { layers in
        let sum = costs[layers].reduce(0, +)
        return "\(decimal(sum / 1000, 3)) ms in layers \(layers.lowerBound)..<\(layers.upperBound)"
      }
      .joined(separator: ", ")
    }
    return "a prompt's token takes \(sums(prompt)); a decoded token \(sums(decode)), "
      + "\(decimal(logits / 1000, 3)) ms in the logits"
  }
}
