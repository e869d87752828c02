// The model's files as workers without them see them: first a description, then pieces.

internal import Content
internal import Gemma
internal import ModelFiles
internal import Platform
internal import Wire

/// Reads the files of a checkpoint and serves them to workers.
final class ServedFiles: Sendable {
  private struct Contents: Sendable {
    var description: ModelDescription
    var files: [MappedFile]
    /// The list of digests of each file, 32 bytes per piece.
    var digests: [[UInt8]]
  }

  private let checkpoint: Checkpoint
  private let fingerprint: Digest
  private let store: DigestStore?
  /// The description, made at the first request, because it takes reading all files from end to
  /// end.
  private let contents = Lock<Result<Contents, GemmaError>?>(nil)
  /// The fraction of the files that was read for the description, and whether to stop.
  private let progress = Lock((fraction: 0.0, isStopped: false))

  init(_ checkpoint: Checkpoint, fingerprint: Digest, store: DigestStore?) {
    self.checkpoint = checkpoint
    self.fingerprint = fingerprint
    self.store = store
  }

  /// Returns the reply to DescribeModel.
  func describe() -> Message {
    switch known() {
    case .success(let contents): .modelDescription(contents.description)
    case .failure(let error): Self.failure(error)
    }
  }

  /// The fraction of the files that was read so far for the description.
  var describedFraction: Double { progress.withLock { $0.fraction } }

  /// Makes a running `describe` fail soon.
  func stop() { progress.withLock { $0.isStopped = true } }

  /// Returns what has happened to the files since they were opened.
  func changes() -> [FileChange] { checkpoint.changes() }

  /// Returns the reply to a Pull.
  func answer(_ pull: Pull, _ peer: PeerID) -> WeightsAnswer {
    switch known() {
    case .failure(let error): return .send(Self.failure(error), to: peer)
    case .success(let contents):
      let description = contents.description
      guard pull.model == description.model else {
        let message = "the coordinator now serves another model, \(description.name)"
        return .send(.pullFailed(PullFailed(code: .model, message: message)), to: peer)
      }
      guard pull.id.file < description.files.count,
        description.files[pull.id.file].holds(pull.id)
      else {
        return .refuse(
          WireError(
            .malformed,
            "piece \(pull.id.chunk) of file \(pull.id.file) does not exist",
            context: "Pull"
          ),
          from: peer
        )
      }
      return .send(read(pull.id, contents), to: peer)
    }
  }

  private func read(_ id: ChunkID, _ contents: Contents) -> Message {
    let range = contents.description.files[id.file].range(of: id)
    do throws(GemmaError) {
      let data =
        id.isOfDigests
        ? Array(contents.digests[id.file][range])
        : try contents.files[id.file].read(offset: range.lowerBound, count: range.count)
      return .chunk(Chunk(id: id, data: data, receipt: .random(in: 1 ... .max)))
    } catch {
      return Self.failure(error)
    }
  }

  private static func failure(_ error: GemmaError) -> Message {
    .pullFailed(PullFailed(code: .model, message: "\(error)"))
  }

  private func known() -> Result<Contents, GemmaError> {
    contents.withLock { contents in
      if let contents { return contents }
      let made: Result<Contents, GemmaError>
      do {
        made = .success(try make())
      } catch let error as GemmaError {
        made = .failure(error)
      } catch {
        made = .failure(GemmaError(.file, "cannot be described", underlying: error))
      }
      contents = made
      return made
    }
  }

  private func make() throws -> Contents {
    let files = try checkpoint.files()
    let progress = progress
    // Streams may be running at the same time, so it uses half of the CPUs.
    let reader = ContentReader(keptIn: store, share: 0.5) { done, total in
      let isStopped = progress.withLock { progress in
        progress.fraction = max(progress.fraction, Double(done) / Double(total))
        return progress.isStopped
      }
      if isStopped { throw GemmaError(.file, "the coordinator is stopping") }
    }
    let digests = try Checkpoint.pieceDigests(of: files, size: Limits.chunkBytes, reader)
    let lists = digests.map { $0.flatMap(\.bytes) }
    let described = zip(files, lists).map { file, list in
      ModelFile(
        name: file.name,
        size: UInt64(file.file.size),
        headerBytes: UInt64(file.headerByteCount),
        digests: FilePiece.cut(0..<list.count, of: 0, size: Limits.chunkBytes)
          .map { Digest(of: Array(list[$0.bytes])) }
      )
    }
    return Contents(
      description: ModelDescription(
        fingerprint: fingerprint,
        name: Self.name(checkpoint.name),
        isDirectory: checkpoint.isDirectory,
        files: described
      ),
      files: files.map(\.file),
      digests: lists
    )
  }

  /// Shortens a name that is longer than the protocol allows.
  private static func name(_ name: String) -> String {
    var name = name
    while name.utf8.count > Limits.nameBytes { name.removeLast() }
    return name
  }
}
