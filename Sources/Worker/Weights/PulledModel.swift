// A model of which this machine has no file: the worker pulls the headers when it starts, and the
// tensors of its layers when they are assigned to it.

package import Compute
package import Content
package import Gemma
package import Logging
package import Wire

/// The source of a worker's weights.
package enum WorkerModel: Sendable {
  /// A file or directory of this machine, which was read from end to end.
  case local(Checkpoint, fingerprint: Digest)
  case pulled(PulledModel)

  package var checkpoint: Checkpoint {
    switch self {
    case .local(let checkpoint, _): checkpoint
    case .pulled(let model): model.checkpoint
    }
  }

  /// The fingerprint of config and weights.
  var fingerprint: Digest {
    switch self {
    case .local(_, let fingerprint): fingerprint
    case .pulled(let model): model.fingerprint
    }
  }
}

/// The coordinator's model, as far as it was pulled.
package final class PulledModel: WeightSource, Sendable {
  /// A checkpoint over the sparse files of the cache: it gives the config and describes the
  /// tensors.
  ///
  /// The tensors' bytes come from `bytes(of:)`.
  package let checkpoint: Checkpoint
  /// The fingerprint of config and weights, from the description.
  let fingerprint: Digest
  private let puller: WeightsPuller
  private let cache: ModelCache

  /// Asks which model the coordinator serves, and pulls its headers.
  ///
  /// - Parameters:
  ///   - coordinator: The coordinator's endpoint.
  ///   - security: How to connect to it.
  ///   - directory: Where the weights of all models are cached.
  ///   - bytesPerSecond: The rate limit of pulls; nil for no limit.
  ///   - logger: Where to log.
  ///   - check: Called several times a second; may throw to stop.
  /// - Throws: What `check` throws; `WorkerError` if the coordinator does not answer, or the
  ///   weights cannot be stored; `GemmaError` if its files are not a valid model.
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

  /// Makes sure that the weights of a program are in the cache.
  ///
  /// - Parameters:
  ///   - program: The program to be prepared.
  ///   - check: Called several times a second; may throw to stop.
  ///   - progress: Called with the fraction that has arrived.
  /// - Throws: What `check` throws; `WorkerError` if the weights cannot be pulled or stored. What
  ///   has arrived by then stays in the cache.
  func fetch(
    _ program: Program,
    check: () throws -> Void,
    progress: (Double) -> Void
  ) throws {
    // Another coordinator, with another model, may serve here by now; the cache alone would not
    // show it.
    let served = try puller.describe(check: check)
    guard served.model == cache.description.model else {
      throw WorkerError(
        .weights,
        "the coordinator now serves another model, \(served.name), and not \(cache.description.name); "
          + "restart this worker to pull that one"
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
      else { throw WorkerError(.weights, "the coordinator's model has no file \(extent.file)") }
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
