// The directory of fetched models, which huggingface_hub, llama.cpp and others share:
// models--ORG--NAME/{refs/REVISION, blobs/OBJECT, snapshots/COMMIT/PATH → ../../blobs/OBJECT}.

internal import Foundation
internal import ModelFiles
internal import Platform

/// The repositories on this machine.
package struct HubCache: Sendable {
  package let directory: String

  package init(_ directory: String) { self.directory = directory }

  func repository(_ name: RepositoryName) -> CachedRepository {
    CachedRepository(cache: directory, name: name)
  }

  /// The repositories that are there, by name.
  func repositories() -> [CachedRepository] {
    ModelPath.names(in: directory).compactMap { entry in
      guard entry.hasPrefix("models--") else { return nil }
      let parts = entry.dropFirst("models--".count).components(separatedBy: "--")
      return RepositoryName(parts.joined(separator: "/")).map(repository)
    }
  }
}

/// A repository in the cache.
struct CachedRepository {
  let cache: String
  let name: RepositoryName

  private var folder: String { "models--\(name.organisation)--\(name.name)" }
  var directory: String { "\(cache)/\(folder)" }
  var locks: String { "\(cache)/.locks/\(folder)" }
  var blobs: String { "\(directory)/blobs" }

  func blob(_ object: String) -> String { "\(blobs)/\(object)" }
  func lock(_ object: String) -> String { "\(locks)/\(object).lock" }
  func snapshot(_ commit: String) -> String { "\(directory)/snapshots/\(commit)" }

  /// Makes the directories in which files are fetched.
  func prepare() throws(HubError) {
    for path in [blobs, locks] { try makeDirectory(path) }
  }

  private func makeDirectory(_ path: String) throws(HubError) {
    let ends = path.indices.filter { path[$0] == "/" && $0 > path.startIndex } + [path.endIndex]
    for end in ends {
      let part = String(path[..<end])
      guard unsafe mkdir(part, 0o777) != 0 else { continue }
      // Others have made it, or may make it meanwhile.
      let code = errno
      guard !ModelPath.isDirectory(part) else { continue }
      let fault =
        ModelPath.exists(part) ? "is no directory" : "cannot make it: \(systemMessage(code))"
      throw HubError(
        .file,
        "\(fault); HF_HUB_CACHE names another directory for models",
        context: part
      )
    }
  }

  static func failure(_ what: String, _ path: String, _ error: any Error) -> HubError {
    let cause = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError ?? error as NSError
    let reason =
      cause.domain == NSPOSIXErrorDomain
      ? systemMessage(CInt(clamping: cause.code)) : cause.localizedDescription
    return HubError(.file, "cannot \(what) it: \(reason)", context: path)
  }

  /// Whether the content of a file is there, as far as its size tells.
  func has(_ file: HubFile) -> Bool {
    var status = stat()
    return unsafe lstat(blob(file.object), &status) == 0 && status.st_mode & S_IFMT == S_IFREG
      && Int(status.st_size) == file.byteCount
  }

  /// Whether a file that is there has the content that its name promises.
  ///
  /// - Throws: `HubError.file`, or `HubError.interrupted`.
  func isIntact(_ file: HubFile, _ cancellation: Cancellation) throws(HubError) -> Bool {
    let path = blob(file.object)
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw HubError(cannot: "read it", path) }
    defer { close(descriptor) }
    var digest = ObjectDigest(like: file.object, byteCount: file.byteCount)
    for first in stride(from: 0, to: file.byteCount, by: 1 << 20) {
      if cancellation.isCancelled { throw HubError(.interrupted, "interrupted", context: path) }
      let count = min(1 << 20, file.byteCount - first)
      do throws(SystemError) {
        digest.update(try PositionedIO.read(descriptor, count: count, at: first))
      } catch { throw HubError(cannot: "read it", path, error.number) }
    }
    return digest.finish() == file.object
  }

  /// Removes content that is not what its name promises.
  func discard(_ file: HubFile) { unsafe unlink(blob(file.object)) }

  // MARK: Revisions

  /// The file that has the commit of a branch or tag.
  func reference(_ revision: String) -> String { "\(directory)/refs/\(revision)" }

  /// The branches and tags that were a commit when they were fetched.
  func revisions(of commit: String) -> [String] {
    let walk = FileManager.default.enumerator(atPath: "\(directory)/refs")
    return (walk?.compactMap { $0 as? String } ?? []).filter { self.commit(of: $0) == commit }
      .sorted()
  }

  /// The commit that a revision was when it was fetched; nil if it was not.
  func commit(of revision: String) -> String? {
    if ContentName.isCommit(revision) { return revision }
    guard let text = try? String(contentsOfFile: reference(revision), encoding: .utf8) else {
      return nil
    }
    let commit = text.trimmingCharacters(in: .whitespacesAndNewlines)
    return ContentName.isCommit(commit) ? commit : nil
  }

  /// The commits that are there.
  var commits: [String] {
    ModelPath.names(in: "\(directory)/snapshots").filter(ContentName.isCommit)
  }

  /// The files of a commit whose content is there, by path.
  func files(of commit: String) -> [HubFile] {
    let root = snapshot(commit)
    guard let walk = FileManager.default.enumerator(atPath: root) else { return [] }
    return walk.compactMap { entry -> HubFile? in
      guard let path = entry as? String else { return nil }
      var status = stat()
      guard unsafe stat("\(root)/\(path)", &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
        return nil
      }
      // Where a file system has no links, the file itself stands there.
      let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(root)/\(path)")
      return HubFile(
        path: path,
        byteCount: Int(status.st_size),
        object: target.map { ($0 as NSString).lastPathComponent } ?? ""
      )
    }
    .sorted { $0.path < $1.path }
  }

  /// Gives fetched files the names that they have in a commit, and remembers which commit the revision is.
  func link(_ files: [HubFile], commit: String, revision: String) throws(HubError) {
    for file in files {
      let path = "\(snapshot(commit))/\(file.path)"
      try makeDirectory((path as NSString).deletingLastPathComponent)
      let depth = file.path.split(separator: "/").count + 1
      let target = String(repeating: "../", count: depth) + "blobs/\(file.object)"
      try link(path, target)
    }
    guard !ContentName.isCommit(revision) else { return }
    let path = reference(revision)
    try makeDirectory((path as NSString).deletingLastPathComponent)
    do {
      let new = try NewFile(replacing: path)
      try new.append(Array(commit.utf8))
      try new.commit()
    } catch { throw HubError(.file, error.message, context: path) }
  }

  private func link(_ path: String, _ target: String) throws(HubError) {
    if unsafe symlink(target, path) == 0 { return }
    // Another process may have made it meanwhile.
    if (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) == target { return }
    // A link to something else is not changed but replaced, so that whoever opens it meanwhile finds the old file or
    // the new. Its draft is not beside it, where a kill would leave it as a file of the model.
    let draft = "\(blobs)/\((target as NSString).lastPathComponent).trestle-link"
    unsafe unlink(draft)
    guard unsafe symlink(target, draft) == 0, unsafe rename(draft, path) == 0 else {
      let error = HubError(cannot: "link it to its content", path)
      unsafe unlink(draft)
      throw error
    }
  }
}

/// What a file takes on the disk: one with holes takes less than its size; 0 if there is none.
func sizeOnDisk(_ path: String) -> Int {
  var status = stat()
  guard unsafe lstat(path, &status) == 0 else { return 0 }
  return Int(status.st_blocks) * 512
}
