// The ops without their operands, for the lists of ops that a device supports and of ops that must
// have tests.

/// A kind of op.
package enum OpKind: String, Sendable, Hashable, CaseIterable {
  case embed, expandStreams, perLayerInputs, altupPredict, norm, laurel, projectKV, appendKV
  case projectQueries, attend, matmul, addNormed, feedForward, altupCorrect, injectPerLayerInput
  case keepWanted, mergeStreams, logits
}

extension Op {
  // A new op does not compile until it has a kind, and a new kind does not compile until it has
  // conformance cases.
  package var kind: OpKind {
    switch self {
    case .embed: .embed
    case .expandStreams: .expandStreams
    case .perLayerInputs: .perLayerInputs
    case .altupPredict: .altupPredict
    case .norm: .norm
    case .laurel: .laurel
    case .projectKV: .projectKV
    case .appendKV: .appendKV
    case .projectQueries: .projectQueries
    case .attend: .attend
    case .matmul: .matmul
    case .addNormed: .addNormed
    case .feedForward: .feedForward
    case .altupCorrect: .altupCorrect
    case .injectPerLayerInput: .injectPerLayerInput
    case .keepWanted: .keepWanted
    case .mergeStreams: .mergeStreams
    case .logits: .logits
    }
  }

  /// The op's name as the documents spell it.
  package var name: String { kind.rawValue }
}
