// Programs and fingerprints, held to digests that were recorded once: whatever describes a model, what
// is computed must stay the same to the last number, and processes of different builds must agree on
// what they hold.

import Compute
import Content
import Gemma
import TestSupport
import Testing

@Suite struct `Programs` {
  /// The cuts of a model that are followed.
  enum Cut: String, CaseIterable {
    case whole, layerByLayer, halves, vocabulary, passesAllLayers

    /// Lowers the stages of the cut.
    func programs(_ checkpoint: Checkpoint) throws -> [Program] {
      var config = checkpoint.config
      let (count, rows) = (config.layers.count, config.vocabularySize)
      func lower(_ layers: Range<Int>, _ vocabulary: Range<Int>? = nil) throws -> Program {
        guard let vocabulary else { return try config.lower(layers, weights: checkpoint) }
        let slice = ModelSlice(layers: layers, vocabulary: vocabulary)
        return try config.lower(slice, weights: checkpoint)
      }
      switch self {
      case .whole: return [try lower(0..<count)]
      case .layerByLayer: return try (0..<count).map { try lower($0..<$0 + 1) }
      case .halves:
        // Before the layer where rows narrow, in the middle, and where no layer owns a cache any more.
        return try [config.firstSharedLayer - 1, count / 2, config.firstSharedLayer]
          .filter { (1..<count).contains($0) }
          .flatMap { [try lower(0..<$0), try lower($0..<count)] }
      case .vocabulary:
        return [
          try lower(0..<count, 0..<0), try lower(count - 1..<count, 0..<5),
          try lower(count..<count, 5..<9), try lower(count..<count, 9..<rows),
        ]
      case .passesAllLayers:
        config.passesAllLayers = true
        return [try lower(0..<count), try lower(0..<1), try lower(count - 1..<count)]
      }
    }
  }

  @Test(arguments: RecordedModel.all)
  func `are those that were recorded, op for op`(_ recorded: RecordedModel) throws {
    try recorded.open { checkpoint in
      for cut in Cut.allCases {
        let digest = Self.digest(try cut.programs(checkpoint))
        #expect(digest == recorded.programs[cut.rawValue], "\(cut)")
      }
    }
  }

  @Test(arguments: RecordedModel.all)
  func `belong to models with the fingerprints that were recorded`(
    _ recorded: RecordedModel
  ) throws {
    try recorded.open { checkpoint in
      let fingerprint = try checkpoint.fingerprint().description
      #expect(fingerprint == recorded.fingerprint)
    }
  }

  private static func digest(_ programs: [Program]) -> String {
    var text = ""
    for program in programs { append(program, to: &text) }
    return String(Digest(of: Array(text.utf8)).description.prefix(32))
  }

  /// Writes all values that a value consists of, one behind the other; what is nil is left out.
  ///
  /// Names of fields and types do not count, so that they may change.
  private static func append(_ value: Any, to text: inout String) {
    switch value {
    case let number as Float: text += "\(number.bitPattern) "
    case let number as Int: text += "\(number) "
    case let truth as Bool: text += "\(truth) "
    case let string as String: text += "\(string) "
    default:
      let mirror = Mirror(reflecting: value)
      if mirror.displayStyle == .collection { text += "\(mirror.children.count): " }
      if mirror.displayStyle == .enum {
        text += "\(mirror.children.first?.label ?? String(describing: value)) "
      }
      // Whether inputs are observed is decided behind lowering.
      for child in mirror.children where child.label != "observesInputs" {
        append(child.value, to: &text)
      }
    }
  }
}
