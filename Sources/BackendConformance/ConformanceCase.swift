// One program to try a backend with, and which programs try each op.

package import Compute

/// A small program with weights and sessions to run through it.
package struct ConformanceCase: Sendable {
  package var name: String
  package var program: Program
  package var weights: RandomWeights
  /// By slot: how many positions its session has.
  package var lengths: [Int]
  /// The largest difference from the reference that passes.
  ///
  /// As a share of the largest magnitude expected; 0 asks for the same bits.
  package var tolerance: Float
  package var inputKind = InputKind.real
  /// The program's inputs are multiplied by this power of two.
  package var inputExponent = 0
  package var vocabularySize = 40
  package var maxRows = 24

  /// What the program's inputs look like.
  package enum InputKind: Sendable {
    /// Uniform in -1...1.
    case real
    /// Numbers that int8 activations hold exactly: k / 32 with |k| <= 127, and each 32 consecutive
    /// values reach 127 / 32. A quantised product then differs from the reference by the rounding
    /// of its f32 sums alone, which catches what a tolerance for int8 activations would hide.
    case exactInt8
  }

  package var limits: ExecutableLimits {
    ExecutableLimits(
      maxRows: maxRows,
      slots: lengths.count,
      contextTokens: max(lengths.max() ?? 1, 1)
    )
  }
}

/// Tolerances and their reasons, as shares of the largest magnitude expected.
package enum Tolerance {
  /// No rounding happens, or the same roundings in the same order.
  package static let exact: Float = 0
  /// f32 sums of up to 1000 terms in 16 lanes, against f64: about 60 roundings of 6e-8 each, and
  /// some cancellation.
  package static let float: Float = 2e-5
  /// Activations rounded to int8 inside the op: 1/254 of the block's largest for each, which a sum
  /// of many averages down; two such products follow each other.
  package static let int8: Float = 3e-2
  /// Keys and values in f16: 2⁻¹² of each, and scores over a head of 256 err by the sum of its keys'
  /// errors.
  package static let f16Cache: Float = 4e-3
  /// Keys and values in blocks of int8: 1/254 of the block's largest for each.
  package static let q8Cache: Float = 5e-2
}

extension OpKind {
  /// Returns the cases that try this op.
  package func cases(seed: UInt64) -> [ConformanceCase] {
    let cases = CaseMaker(seed: seed)
    return switch self {
    case .embed: cases.embed()
    case .expandStreams: cases.expandStreams()
    case .perLayerInputs: cases.perLayerInputs()
    case .altupPredict: cases.altupPredict()
    case .norm: cases.norm()
    case .laurel: cases.laurel()
    case .projectKV: cases.projectKV()
    case .appendKV: Array(cases.attend().prefix(4))
    case .projectQueries: cases.projectQueries()
    case .attend: Array(cases.attend().dropFirst(4))
    case .matmul: cases.matmul()
    case .addNormed: cases.addNormed()
    case .feedForward: cases.feedForward()
    case .altupCorrect: cases.altupCorrect()
    case .injectPerLayerInput: cases.injectPerLayerInput()
    case .keepWanted: cases.keepWanted()
    case .mergeStreams: cases.mergeStreams()
    case .logits: cases.logits()
    }
  }
}
