// Fetching a model: which files it has, which of them are missing, and these one after the other.

internal import Foundation
internal import Platform

/// What is told while a model is fetched.
package protocol PullObserver: Sendable {
  /// Before the first byte: what there is to fetch.
  func begins(
    _ reference: ModelReference,
    fileCount: Int,
    byteCount: Int,
    missingByteCount: Int
  ) throws
  /// The hub was asked, and is asked again after a failure.
  func retries(after error: HubError)
  /// Files that are there are hashed again.
  func checks(_ reference: ModelReference, byteCount: Int)
  /// A file was not what its name promises, and is fetched again.
  func finds(damaged path: String)
  /// Another process fetches a file.
  func waits(for path: String)
  /// So many bytes more have come.
  func advances(by byteCount: Int)
  /// So many bytes more were there before, or have come to another process.
  func finds(byteCount: Int)
}

/// A model that is in the cache, and what it consists of.
package struct FetchedModel: Sendable {
  package var reference: ModelReference
  package var commit: String
  /// What to open: the GGUF file, the first of its parts, or the directory.
  package var path: String
  package var files: [HubFile]
  package var byteCount: Int { files.reduce(0) { $0 + $1.byteCount } }
}

/// Fetches models.
package struct HubPull: Sendable {
  private let settings: HubSettings
  private let cancellation: Cancellation
  private let verifies: Bool

  /// - Parameters:
  ///   - settings: The hub, the cache, and who asks.
  ///   - cancellation: Ends it; what has come stays for the next time.
  ///   - verifies: Whether to hash what is there, which is otherwise taken by its name and size.
  package init(_ settings: HubSettings, cancellation: Cancellation, verifies: Bool = false) {
    self.settings = settings
    self.cancellation = cancellation
    self.verifies = verifies
  }

  /// Fetches what is missing of a model.
  ///
  /// - Parameters:
  ///   - reference: The model.
  ///   - observer: Whom to tell.
  /// - Returns: The model, whole.
  /// - Throws: `HubError`, and what the observer throws at the beginning.
  package func run(
    _ reference: ModelReference,
    _ observer: some PullObserver
  ) throws -> FetchedModel {
    let cache = HubCache(settings.cache)
    let repository = cache.repository(reference.repository)
    let api = HubAPI(
      settings: settings,
      repository: reference.repository,
      cancellation: cancellation,
      onRetry: { observer.retries(after: $0) }
    )
    let commit = try api.commit(of: reference.wantedRevision)
    let selection = try FileSelection(try api.files(of: commit), reference)
    if verifies {
      try verify(selection.files.filter(repository.has), repository, reference, observer)
    }
    let missing = selection.files.filter { !repository.has($0) }
    let present = missing.map {
      PartialFile.presentByteCount(repository.blob($0.object), byteCount: $0.byteCount)
    }
    try observer.begins(
      reference,
      fileCount: selection.files.count,
      byteCount: selection.files.reduce(0) { $0 + $1.byteCount },
      missingByteCount: missing.reduce(0) { $0 + $1.byteCount } - present.reduce(0, +)
    )
    try repository.prepare()
    try checkSpace(missing, repository)
    for (file, present) in zip(missing, present) {
      // A file that comes with another digest is fetched once more: a line may have changed a bit.
      do throws(HubError) { try fetch(file, knowing: present, commit, repository, observer) } catch
      {
        guard error.code == .digest else { throw error }
        try fetch(file, knowing: file.byteCount, commit, repository, observer)
      }
    }
    for file in selection.files where !repository.has(file) {
      throw HubError(.file, "was removed while the model was fetched", context: file.path)
    }
    try repository.link(selection.files, commit: commit, revision: reference.wantedRevision)
    let root = repository.snapshot(commit)
    return FetchedModel(
      reference: reference,
      commit: commit,
      path: selection.entry.map { "\(root)/\($0)" } ?? root,
      files: selection.files
    )
  }

  private func verify(
    _ files: [HubFile],
    _ repository: CachedRepository,
    _ reference: ModelReference,
    _ observer: some PullObserver
  ) throws(HubError) {
    observer.checks(reference, byteCount: files.reduce(0) { $0 + $1.byteCount })
    // What two files have in common is gone after the first.
    for file in files where repository.has(file) {
      guard try !repository.isIntact(file, cancellation) else { continue }
      observer.finds(damaged: file.path)
      repository.discard(file)
    }
  }

  // `known`: how many of its bytes the observer has been told of.
  private func fetch(
    _ file: HubFile,
    knowing known: Int,
    _ commit: String,
    _ repository: CachedRepository,
    _ observer: some PullObserver
  ) throws(HubError) {
    let lock = try FileLock(repository.lock(file.object), cancellation: cancellation) {
      observer.waits(for: file.path)
    }
    defer { withExtendedLifetime(lock) {} }
    // Another process may have fetched it meanwhile.
    guard !repository.has(file) else {
      return observer.finds(byteCount: file.byteCount - known)
    }
    let partial = try PartialFile(repository.blob(file.object), byteCount: file.byteCount)
    observer.finds(byteCount: partial.presentByteCount - known)
    let allowed = CharacterSet.urlPathAllowed.subtracting(CharacterSet(charactersIn: ";+"))
    let path = file.path.addingPercentEncoding(withAllowedCharacters: allowed) ?? file.path
    let download = FileDownload(
      file,
      at: "\(settings.endpoint)/\(repository.name)/resolve/\(commit)/\(path)",
      into: partial,
      settings,
      repository.name,
      cancellation: cancellation,
      onBytes: { observer.advances(by: $0) }
    )
    try download.run()
  }

  /// What a file system is left with, at least.
  private static let reserveByteCount = 64 << 20

  private func checkSpace(_ files: [HubFile], _ repository: CachedRepository) throws(HubError) {
    var needed = 0
    for file in files {
      let present = sizeOnDisk(repository.blob(file.object) + PartialFile.dataSuffix)
      needed += max(0, file.byteCount - present)
    }
    guard needed > 0 else { return }
    var status = statvfs()
    guard unsafe statvfs(repository.blobs, &status) == 0 else { return }
    let free = Int(status.f_bavail) * Int(status.f_frsize)
    guard free < needed + Self.reserveByteCount else { return }
    throw HubError(
      .space,
      "\(describe(bytes: UInt64(needed))) are missing of \(repository.name), and the disk has "
        + "\(describe(bytes: UInt64(free))) free, of which \(describe(bytes: UInt64(Self.reserveByteCount))) stay free;"
        + " make room (`trestle models`, `trestle rm`), or name another directory as HF_HUB_CACHE",
      context: settings.cache
    )
  }
}
