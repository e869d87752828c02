// The fingerprint of a model: a digest of every byte that affects what it computes. Processes
// compare it to make sure that they have the same model.

internal import Compute
package import Content
package import ModelFiles

/// Collects the parts of a fingerprint in a fixed order.
struct Fingerprint {
  private var bytes: [UInt8] = Array("trestle model 1\0".utf8)

  var digest: Digest { Digest(of: bytes) }

  mutating func combine(_ text: String) {
    combine(text.utf8.count)
    bytes += text.utf8
  }

  mutating func combine(_ number: Int) {
    bytes += (0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
  }

  mutating func combine(_ number: Float?) {
    combine(number.map { Int($0.bitPattern) } ?? -1)
  }

  mutating func combine(_ digest: Digest) { bytes += digest.bytes }

  // EOS tokens are left out, because they end a turn but do not change what a stage computes.
  //
  // Sizes that may differ between layers are written once, for the first layer, and again for each
  // layer that differs from it. This keeps the fingerprints from the time when all layers had the
  // same sizes.
  mutating func combine(_ config: ModelConfig) {
    precondition(!config.layers.isEmpty, "a model without layers")
    let first = config.layers[0]
    combine(config.architecture.rawValue)
    for size in [
      config.vocabularySize, config.hiddenSize, first.headCount, first.kvHeadCount,
      first.headDim, config.contextTokens, config.normsValues ? 1 : 0, config.layers.count,
    ] { combine(size) }
    for number in [
      config.normEpsilon, config.normGainOffset, first.attentionScale, config.finalSoftcap,
    ] { combine(number) }
    for layer in config.layers {
      combine(layer.attention.window ?? 0)
      combine(layer.rope.theta)
      combine(layer.rope.positionScale)
      combine(layer.kvSource)
      combine(layer.feedForwardSize)
      combine(layer.sparsityDeviations)
      combineDifferences(of: layer, from: first)
    }
    if config.scalesLayers { combine("layer scale") }
    if let altUp = config.altUp {
      combine(altUp.streamCount)
      combine(altUp.activeStream)
      combine(altUp.scalesActiveStream ? 1 : 0)
    }
    if let laurel = config.laurel { combine(laurel.rank) }
    if let perLayerInput = config.perLayerInput {
      combine(perLayerInput.size)
      combine(perLayerInput.vocabularySize)
    }
  }

  private mutating func combineDifferences(of layer: LayerRecord, from first: LayerRecord) {
    let own = [layer.headCount, layer.kvHeadCount, layer.headDim]
    if own != [first.headCount, first.kvHeadCount, first.headDim] {
      combine("heads")
      for size in own { combine(size) }
    }
    if layer.attentionScale != first.attentionScale {
      combine("scale")
      combine(layer.attentionScale)
    }
    if let pairs = layer.rope.rotatedPairs, pairs != layer.headDim / 2 {
      combine("rotated pairs")
      combine(pairs)
    }
    if layer.valuesAreKeys { combine("values are keys") }
  }
}

extension Checkpoint {
  /// Returns the digest of the config and of all bytes of the weights in use.
  ///
  /// For a part of a model, returns the fingerprint that was given when it was opened.
  ///
  /// The same weights and config have the same fingerprint, however they are distributed over
  /// files. Two stages work together only if their fingerprints are equal.
  ///
  /// - Parameter reader: Reads the files, unless it has their digests in its cache.
  /// - Returns: The fingerprint.
  /// - Throws: What the reader's progress throws, or `GemmaError.file` if a file cannot be read or
  ///   has changed since it was opened.
  package func fingerprint(_ reader: ContentReader = ContentReader()) throws -> Digest {
    if let identity { return identity.fingerprint }
    var files: [(file: MappedFile, ranges: [Range<Int>])] = []
    var indices: [ObjectIdentifier: Int] = [:]
    var places: [(file: Int, range: Int)] = []
    for tensor in weights.map(\.tensor) {
      let id = ObjectIdentifier(tensor.file)
      let index = indices[id] ?? files.count
      if indices[id] == nil {
        indices[id] = index
        files.append((tensor.file, []))
      }
      places.append((index, files[index].ranges.count))
      files[index].ranges.append(tensor.offset..<(tensor.offset + tensor.byteCount))
    }
    let digests = try reader.digests(of: files, .tensors)
    var fingerprint = Fingerprint()
    fingerprint.combine(config)
    for (weight, place) in zip(weights, places) {
      fingerprint.combine(weight.name.canonical)
      fingerprint.combine(weight.type.rawValue)
      fingerprint.combine(weight.tensor.byteCount)
      fingerprint.combine(digests[place.file][place.range])
    }
    return fingerprint.digest
  }

  /// Returns the digests of a file's pieces.
  ///
  /// - Parameters:
  ///   - files: Files of the model.
  ///   - size: The bytes of a piece.
  ///   - reader: Reads the files, unless it has their digests in its cache.
  /// - Returns: One list for each file.
  /// - Throws: The same as `fingerprint`.
  package static func pieceDigests(
    of files: [File],
    size: Int,
    _ reader: ContentReader
  ) throws -> [[Digest]] {
    try reader.digests(
      of: files.map { file in
        let whole = 0..<file.file.size
        return (file.file, FilePiece.cut(whole, of: 0, size: size).map(\.bytes))
      },
      .pieces
    )
  }

  /// Returns how the files of the weights have changed since they were opened, the worst change
  /// first.
  package func changes() -> [FileChange] {
    var seen: Set<ObjectIdentifier> = []
    let files = (weights.map(\.tensor) + ignoredTensors).map(\.file)
      .filter { seen.insert(ObjectIdentifier($0)).inserted }
    let changes = files.compactMap { $0.change() }
    return [.cut, .written, .replaced].flatMap { kind in changes.filter { $0.kind == kind } }
  }
}
