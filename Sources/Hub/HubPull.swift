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
  /// Another process fetches a file.
  func waits(for path: String)
  /// So many bytes more are there.
  func advances(by byteCount: Int)
}

/// A model that is in the cache, and what it consists of.
package struct FetchedModel: Sendable {
  package var reference: ModelReference
  package var revision: String
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

  /// - Parameters:
  ///   - settings: The hub, the cache, and who asks.
  ///   - cancellation: Ends it; what has come stays for the next time.
  package init(_ settings: HubSettings, cancellation: Cancellation) {
    self.settings = settings
    self.cancellation = cancellation
  }

  /// Fetches what is missing of a model.
  ///
  /// - Parameters:
  ///   - reference: The model.
  ///   - revision: A branch, a tag or a commit.
  ///   - observer: Whom to tell.
  /// - Returns: The model, whole.
  /// - Throws: `HubError`, and what the observer throws at the beginning.
  package func run(
    _ reference: ModelReference,
    revision: String,
    _ observer: some PullObserver
  ) throws -> FetchedModel {
    guard FilePath.isValid(revision) else {
      throw HubError(.name, "is no name of a revision", context: revision)
    }
    let cache = HubCache(settings.cache)
    let repository = cache.repository(reference.repository)
    let api = HubAPI(
      settings: settings,
      repository: reference.repository,
      cancellation: cancellation
    )
    let commit = try api.commit(of: revision)
    let selection = try FileSelection(try api.files(of: commit), reference)
    let missing = selection.files.filter { !repository.has($0) }
    let needed = missing.reduce(0) { $0 + $1.byteCount }
    try observer.begins(
      reference,
      fileCount: selection.files.count,
      byteCount: selection.files.reduce(0) { $0 + $1.byteCount },
      missingByteCount: needed
    )
    try repository.prepare()
    try checkSpace(missing, repository)
    for file in missing {
      // A file that comes with another digest is fetched once more: a line may have changed a bit.
      do throws(HubError) { try fetch(file, commit, repository, observer) } catch {
        guard error.code == .digest else { throw error }
        observer.advances(by: -file.byteCount)
        try fetch(file, commit, repository, observer)
      }
    }
    try repository.link(selection.files, commit: commit, revision: revision)
    let root = repository.snapshot(commit)
    return FetchedModel(
      reference: reference,
      revision: revision,
      commit: commit,
      path: selection.entry.map { "\(root)/\($0)" } ?? root,
      files: selection.files
    )
  }

  private func fetch(
    _ file: HubFile,
    _ commit: String,
    _ repository: CachedRepository,
    _ observer: some PullObserver
  ) throws(HubError) {
    let lock = try FileLock(repository.lock(file.object), cancellation: cancellation) {
      observer.waits(for: file.path)
    }
    defer { withExtendedLifetime(lock) {} }
    // Another process may have fetched it meanwhile.
    guard !repository.has(file) else { return observer.advances(by: file.byteCount) }
    let partial = try PartialFile(repository.blob(file.object), byteCount: file.byteCount)
    observer.advances(by: partial.presentByteCount)
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
      "\(Self.gigabytes(needed)) are missing of \(repository.name), and the disk has \(Self.gigabytes(free)) free;"
        + " make room (`trestle models`, `trestle rm`), or name another directory as HF_HUB_CACHE",
      context: settings.cache
    )
  }

  private static func gigabytes(_ byteCount: Int) -> String {
    byteCount.formatted(.byteCount(style: .file))
  }
}
