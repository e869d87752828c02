// A model whose answers anybody can work out: each layer mixes whole numbers instead of vectors, over
// the positions that the layer sees. What a client must get follows here from the prompt and the
// sampling alone, without stages, slots, caches or steps. TokenExecutable.swift computes the same
// inside the real workers.

import Compute
import Gemma
import ModelFiles
import Wire

@testable import Coordinator
@testable import Worker

/// A model of small whole numbers.
///
/// A position's state begins with its token. Each layer makes a key of it and mixes the state with the
/// keys of all positions that the layer sees. So the state behind the last layer, and with it the logits,
/// follow from every token before; one that is lost, repeated or foreign shows.
struct TokenModel: Sendable {
  var vocabularySize: Int
  var layers = Harness.layers
  /// Tokens to continue with, by position; other positions draw theirs.
  var script: [Int: Int32] = [:]

  init(vocabularySize: Int) { self.vocabularySize = vocabularySize }

  // MARK: Arithmetic

  /// Mixes two numbers to one below 2^24, the whole numbers that an f32 holds exactly.
  ///
  /// The finalizer of MurmurHash3 for 32 bits: every bit of the input changes half of the output's.
  static func mix(_ left: UInt32, _ right: UInt32) -> UInt32 {
    var mixed = left ^ (right &* 0x9E37_79B1)
    mixed = (mixed ^ (mixed >> 16)) &* 0x85EB_CA6B
    mixed = (mixed ^ (mixed >> 13)) &* 0xC2B2_AE35
    return (mixed ^ (mixed >> 16)) & 0xFF_FFFF
  }

  /// Returns the state that a token begins with.
  static func embedded(_ token: Int32) -> UInt32 { mix(1, UInt32(bitPattern: token)) }

  /// Returns the key that a layer keeps of a state.
  static func key(_ state: UInt32) -> UInt32 { mix(state, 2) }

  /// Returns what a key adds to the sum of those that are seen; positions change places for nothing.
  static func weight(_ key: UInt32, at position: Int) -> UInt32 { mix(key, UInt32(position)) }

  /// Multiples of 2^-10 below 8: 4096 of them, so that twelve bits of a state choose where to begin.
  private static let spread = (0..<4096).map { Float(mix(3, UInt32($0)) % 8192) / 1024 }

  /// Returns some rows of the logits behind a state.
  ///
  /// All are exact in f32: 12 bits of the state, 4 more for the offset of a script, 10 behind the point.
  func logits(_ state: UInt32, position: Int, rows: Range<Int>) -> [Float] {
    let base = Float(state >> 12)
    let start = Int(state & 4095)
    var logits = rows.map { base + Self.spread[(start + $0) & 4095] }
    // The structure tokens of a small vocabulary would end every other answer.
    for token in 0..<3 where rows.contains(token) { logits[token - rows.lowerBound] -= 64 }
    if let token = script[position + 1].map({ Int($0) }), rows.contains(token) {
      logits[token - rows.lowerBound] = base + 64
    }
    return logits
  }

  // MARK: What must come out

  /// Reads tokens one after the other.
  private struct Reader {
    let layers: [LayerRecord]
    /// By layer that owns keys: the sums of all keys before each position.
    var sums: [[UInt32]]
    var position = -1

    init(_ layers: [LayerRecord]) {
      self.layers = layers
      sums = layers.map { _ in [0] }
    }

    /// Returns the state behind the last layer.
    mutating func read(_ token: Int32) -> UInt32 {
      position += 1
      var state = embedded(token)
      for (layer, record) in layers.enumerated() {
        let source = record.kvSource
        if source == layer {
          let last = sums[layer][position]
          sums[layer].append(last &+ weight(key(state), at: position))
        }
        let first = record.attention.window.map { max(0, position - $0 + 1) } ?? 0
        state = mix(state, sums[source][position + 1] &- sums[source][first])
      }
      return state
    }
  }

  /// Returns the logits that follow some tokens.
  func logits(_ tokens: [Int32]) -> [Float] {
    var reader = Reader(layers)
    let state = tokens.reduce(0) { _, token in reader.read(token) }
    return logits(state, position: tokens.count - 1, rows: 0..<vocabularySize)
  }

  /// Returns the log probability of a token that comes behind others.
  func score(_ tokens: [Int32], target: Int32) -> Double {
    Sampler.logProbability(of: target, logits: logits(tokens))
  }

  /// What a session must get: the tokens that follow a prompt, until one of `ends`, or so many, and none
  /// that its constraint rules out.
  func continuation(
    of prompt: [Int32],
    _ sampling: Sampling,
    count: Int,
    ends: Set<Int32> = [],
    constraint: (any TokenConstraint)? = nil
  ) -> [Int32] {
    var constraint = constraint
    var reader = Reader(layers)
    var state = prompt.reduce(0) { _, token in reader.read(token) }
    var tokens = prompt
    while tokens.count < prompt.count + count {
      let position = tokens.count - 1
      var logits = logits(state, position: position, rows: 0..<vocabularySize)
      if let mask = constraint?.allowed {
        for index in logits.indices where !mask.allows(Int32(index)) { logits[index] = -.infinity }
      }
      let token = Sampler.sample(
        logits: logits,
        history: tokens,
        position: position,
        SamplingParameters(sampling)
      )
      if ends.contains(token) { break }
      tokens.append(token)
      constraint?.accept(token)
      state = reader.read(token)
    }
    return Array(tokens[prompt.count...])
  }
}

/// The weights of a config by their shapes; nobody reads their bytes.
struct WeightShapes: WeightDirectory, WeightSource {
  private var shapes: [WeightName: [Int]] = [:]

  init(_ config: ModelConfig) {
    for (name, shape) in config.neededWeights { shapes[name] = shape }
  }

  func weight(_ name: WeightName, rows: Range<Int>?) throws(GemmaError) -> WeightRef {
    guard let shape = shapes[name] else {
      throw GemmaError(.tensor, "the model has no weight \(name.canonical)")
    }
    return WeightRef(
      name: name.canonical,
      rows: rows ?? 0..<shape.dropLast().reduce(1, *),
      columns: shape[shape.count - 1],
      type: .f32
    )
  }

  func bytes(of weight: WeightRef) throws -> WeightBytes {
    throw ComputeError(.weight, "\(weight.name) has a shape and no bytes")
  }
}
