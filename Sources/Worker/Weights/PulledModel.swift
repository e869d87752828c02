// A model of which this machine has no file: its headers are pulled when the worker starts, the tensors
// of its layers when they are assigned.

package import Compute
package import Content
package import Gemma
package import Logging
package import Wire

/// Where a worker's weights come from.
package enum WorkerModel: Sendable {
  /// A file or directory of this machine, read from end to end.
  case local(Checkpoint, fingerprint: Digest)
  case pulled(PulledModel)

  package var checkpoint: Checkpoint {
    switch self {
    case .local(let checkpoint, _): checkpoint
    case .pulled(let model): model.checkpoint
    }
  }

  /// Of config and weights.
  var fingerprint: Digest {
    switch self {
    case .local(_, let fingerprint): fingerprint
    case .pulled(let model): model.fingerprint
    }
  }
}

/// The coordinator's model, as far as it was pulled.
package final class PulledModel: WeightSource, Sendable {
  /// Of files with holes: for the config, and for what the tensors are.
  ///
  /// Their bytes come from `bytes(of:)`.
  package let checkpoint: Checkpoint
  /// Of config and weights, as described.
  let fingerprint: Digest
  private let puller: WeightsPuller
  private let cache: ModelCache

  /// Learns what the coordinator serves and pulls the headers.
  ///
  /// - Parameters:
  ///   - coordinator: Whom to ask.
  ///   - security: How it is reached.
  ///   - directory: Where the weights of all models are kept.
  ///   - bytesPerSecond: How fast to pull at most; nil for no limit.
  ///   - logger: Where to log.
  ///   - check: Called several times a second; may throw to stop.
  /// - Throws: What `check` throws; `WorkerError` if the coordinator does not answer, or the weights
  ///   cannot be kept; `GemmaError` if its model is none.
  package init(
    from coordinator: Endpoint,
    security: Security,
    cacheDirectory directory: String,
    bytesPerSecond: Double?,
    logger: Logger,
    check: () throws -> Void
  ) throws {
    puller = WeightsPuller(
      coordinator: coordinator,
      security: security,
      bytesPerSecond: bytesPerSecond,
      logger: logger
    )
    let description = try puller.describe(check: check)
    fingerprint = description.fingerprint
    cache = try ModelCache(root: directory, description)
    try Self.fetch(cache.headerChunks, "headers", cache, puller, check: check) { _ in }
    checkpoint = try Checkpoint.open(
      cache.modelPath,
      as: Checkpoint.Identity(name: description.name, fingerprint: description.fingerprint)
    )
  }

  /// Makes sure that the weights of a program are here.
  ///
  /// - Parameters:
  ///   - program: What is to be prepared.
  ///   - check: Called several times a second; may throw to stop.
  ///   - progress: Called with the fraction that is here.
  /// - Throws: What `check` throws; `WorkerError` if they cannot be had or kept. What has come by then
  ///   stays in the cache.
  func fetch(
    _ program: Program,
    check: () throws -> Void,
    progress: (Double) -> Void
  ) throws {
    // Another coordinator may serve here by now: what is in the cache would not tell.
    let served = try puller.describe(check: check)
    guard served.model == cache.description.model else {
      throw WorkerError(
        .weights,
        "another model is served by now, \(served.name), not \(cache.description.name); start this "
          + "worker again to pull that"
      )
    }
    let refs = Set(program.ops.flatMap(\.weights))
    try Self.fetch(
      Set(chunks(of: refs)).sorted(),
      "layers \(program.layers.lowerBound)..<\(program.layers.upperBound)",
      cache,
      puller,
      check: check,
      progress: progress
    )
  }

  package func bytes(of ref: WeightRef) throws -> WeightBytes {
    guard cache.holds(try chunks(of: [ref])) else {
      throw WorkerError(.weights, "\(ref.name), rows \(ref.rows), was not pulled")
    }
    return try checkpoint.bytes(of: ref)
  }

  private func chunks(of refs: Set<WeightRef>) throws -> [ChunkID] {
    try checkpoint.extents(of: refs).flatMap { extent in
      guard let file = cache.description.files.firstIndex(where: { $0.name == extent.file })
      else { throw WorkerError(.weights, "\(extent.file) is no file of the coordinator's model") }
      return cache.chunks(of: file, extent.bytes)
    }
  }

  private static func fetch(
    _ chunks: [ChunkID],
    _ what: String,
    _ cache: ModelCache,
    _ puller: WeightsPuller,
    check: () throws -> Void,
    progress: (Double) -> Void
  ) throws {
    let began = ContinuousClock.now
    let lists = try cache.inspect(cache.digestChunks(of: chunks), each: check).missing
    if !lists.isEmpty { _ = try puller.pull(lists, into: cache, check: check) {} }
    let contents = try cache.inspect(chunks, each: check)
    var here = chunks.count - contents.missing.count
    let tally =
      contents.missing.isEmpty
      ? PullTally()
      : try puller.pull(contents.missing, into: cache, check: check) {
        here += 1
        progress(Double(here) / Double(chunks.count))
      }
    let seconds = max(1e-3, (ContinuousClock.now - began) / .seconds(1))
    puller.logger.info(
      tally.chunkCount == 0 ? "weights found in the cache" : "weights pulled",
      metadata: [
        "what": "\(what)", "pulled_bytes": "\(tally.byteCount)",
        "bytes": "\(chunks.reduce(0) { $0 + cache.byteCount($1) })",
        "mended_pieces": "\(contents.damagedCount)",
        "bytes_per_second": "\(Int(Double(tally.byteCount) / seconds))",
        "cache": "\(cache.modelPath)",
      ]
    )
  }
}
