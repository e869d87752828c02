// The model's files as workers without them see them: described once, then in pieces.

internal import Gemma
internal import Wire

/// Reads the files of a checkpoint for others.
final class ServedFiles: Sendable {
  private struct Contents: Sendable {
    var description: ModelDescription
    var files: [MappedFile]
  }

  private let checkpoint: Checkpoint
  /// Made when somebody first asks: it takes reading the headers.
  private let contents = Lock<Result<Contents, GemmaError>?>(nil)

  init(_ checkpoint: Checkpoint) { self.checkpoint = checkpoint }

  /// Returns the answer to DescribeModel.
  func describe() -> Message {
    switch known() {
    case .success(let contents): .modelDescription(contents.description)
    case .failure(let error): Self.failure(error)
    }
  }

  /// Returns the answer to a Pull.
  func answer(_ pull: Pull, _ peer: PeerID) -> WeightsAnswer {
    switch known() {
    case .failure(let error): return .send(Self.failure(error), to: peer)
    case .success(let contents):
      let description = contents.description
      guard pull.model == description.model else {
        let message = "another model is served by now, \(description.name)"
        return .send(.pullFailed(PullFailed(code: .model, message: message)), to: peer)
      }
      guard pull.id.file < description.files.count,
        pull.id.chunk < description.files[pull.id.file].chunkCount
      else {
        return .refuse(
          WireError(
            .malformed,
            "piece \(pull.id.chunk) of file \(pull.id.file) is not there",
            context: "Pull"
          ),
          from: peer
        )
      }
      return .send(read(pull.id, contents), to: peer)
    }
  }

  private func read(_ id: ChunkID, _ contents: Contents) -> Message {
    let range = contents.description.files[id.file].range(ofChunk: id.chunk)
    do throws(GemmaError) {
      let data = try contents.files[id.file].read(offset: range.lowerBound, count: range.count)
      return .chunk(Chunk(id: id, data: data, digest: Digest(of: data)))
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
      let made = Result { () throws(GemmaError) in try make() }
      contents = made
      return made
    }
  }

  private func make() throws(GemmaError) -> Contents {
    let files = try checkpoint.files()
    var description = ModelDescription(
      model: Digest(of: []),
      fingerprint: checkpoint.fingerprint,
      name: Self.name(checkpoint.name),
      isDirectory: checkpoint.format == .huggingFace,
      files: files.map {
        ModelFile(
          name: $0.name,
          size: UInt64($0.file.size),
          headerBytes: UInt64($0.headerByteCount)
        )
      }
    )
    // Two layouts of the same weights have the same fingerprint, but other bytes in other places.
    var text = "\(description.fingerprint) \(description.isDirectory) \(description.name)"
    for file in description.files { text += "\n\(file.size) \(file.headerBytes) \(file.name)" }
    var identity = Array(text.utf8)
    for file in files {
      let header = try file.file.read(offset: 0, count: file.headerByteCount)
      identity += Digest(of: header).bytes
    }
    description.model = Digest(of: identity)
    return Contents(description: description, files: files.map(\.file))
  }

  /// Cuts a name that is longer than the protocol carries.
  private static func name(_ name: String) -> String {
    var name = name
    while name.utf8.count > Limits.nameBytes { name.removeLast() }
    return name
  }
}
