// The models of the cache: finding one, listing all, removing one.

internal import Foundation
internal import ModelFiles

/// A model in the cache.
package struct CachedModel: Sendable, Hashable {
  package var reference: ModelReference
  package var commit: String
  /// What to open.
  package var path: String
  package var byteCount: Int
  /// False if parts of it are missing.
  package var isComplete: Bool
}

extension HubCache {
  /// Returns a model that is there, whole; nil if there is none.
  ///
  /// - Throws: `HubError.ambiguous`.
  package func model(_ reference: ModelReference) throws(HubError) -> CachedModel? {
    let repository = repository(reference.repository)
    guard let commit = repository.commit(of: reference.wantedRevision) else { return nil }
    let files = repository.files(of: commit)
    let selection: FileSelection
    do throws(HubError) { selection = try FileSelection(files, reference) } catch {
      guard error.code == .ambiguous else { return nil }
      throw error
    }
    let root = repository.snapshot(commit)
    let model = CachedModel(
      reference: reference,
      commit: commit,
      path: selection.entry.map { "\(root)/\($0)" } ?? root,
      byteCount: selection.files.reduce(0) { $0 + $1.byteCount },
      isComplete: true
    )
    // A selection has all parts of a GGUF model, but a directory may lack weights.
    return selection.entry != nil || isWhole(directory: root, files) ? model : nil
  }

  /// Whether a directory has all files that its index of weights names.
  private func isWhole(directory: String, _ files: [HubFile]) -> Bool {
    guard let index = try? JSONObject.read("\(directory)/model.safetensors.index.json") else {
      return true
    }
    guard let map = try? index.object("weight_map") else { return false }
    let names = Set(files.map(\.path))
    return map.fields.values.allSatisfy { value in
      guard case .string(let name) = value else { return false }
      return names.contains(name)
    }
  }

  /// The models that are there, by name: each is found by its name.
  package func models() -> [CachedModel] {
    repositories().flatMap { repository in
      repository.commits.flatMap { models(of: repository, commit: $0) }
    }
    .sorted { "\($0.reference)" < "\($1.reference)" }
  }

  private func models(of repository: CachedRepository, commit: String) -> [CachedModel] {
    let files = repository.files(of: commit)
    // Whoever names no revision means the branch main.
    let revisions = repository.revisions(of: commit)
    let revision = revisions.contains("main") ? nil : revisions.first ?? commit
    let names = FileSelection.names(of: files.map(\.path).filter(FileSelection.isModel))
    let root = repository.snapshot(commit)
    let size = Dictionary(
      files.map { ($0.path, $0.byteCount) },
      uniquingKeysWith: { first, _ in first }
    )
    var models = files.filter { FileSelection.isModel($0.path) }.map { file in
      let parts = FileSelection.parts(of: file.path)
      return CachedModel(
        reference: ModelReference(
          repository.name,
          quantisation: names[file.path],
          revision: revision
        ),
        commit: commit,
        path: "\(root)/\(file.path)",
        byteCount: parts.reduce(0) { $0 + (size[$1] ?? 0) },
        isComplete: parts.allSatisfy { size[$0] != nil }
      )
    }
    // Where there are GGUF files, the repository's name means one of those.
    if models.isEmpty, size["config.json"] != nil,
      files.contains(where: { $0.path.hasSuffix(".safetensors") })
    {
      models.append(
        CachedModel(
          reference: ModelReference(repository.name, revision: revision),
          commit: commit,
          path: root,
          byteCount: files.reduce(0) { $0 + $1.byteCount },
          isComplete: isWhole(directory: root, files)
        )
      )
    }
    return models
  }

  /// Unfinished downloads.
  ///
  /// - Returns: For each repository that has any, the bytes that they take on the disk.
  package func unfinished() -> [(repository: RepositoryName, byteCount: Int)] {
    repositories().compactMap { repository in
      let parts = ModelPath.names(in: repository.blobs).filter(Self.isUnfinished)
      guard !parts.isEmpty else { return nil }
      return (repository.name, parts.reduce(0) { $0 + Hub.sizeOnDisk(repository.blob($1)) })
    }
  }

  private static func isUnfinished(_ name: String) -> Bool {
    [".incomplete", PartialFile.dataSuffix, PartialFile.marksSuffix].contains(where: name.hasSuffix)
  }

  // MARK: Removing

  /// What `remove` would remove.
  package struct Removal: Sendable {
    fileprivate var repository: CachedRepository
    /// The files of a commit; nil for the whole repository.
    fileprivate var part: (commit: String, files: [HubFile])?
    /// The files' names; none for the whole repository.
    package var names: [String] { part?.files.map(\.path) ?? [] }
  }

  /// Finds out what is removed with a model.
  ///
  /// - Parameter reference: The model, of the branch main if no revision is named; without a quantisation all files
  ///   of that revision; without both the whole repository, with what is unfinished.
  /// - Returns: It, for `remove`.
  /// - Throws: `HubError.missing` if it is not there, `HubError.ambiguous`, `HubError.file` if all of it is
  ///   elsewhere.
  package func removal(of reference: ModelReference) throws(HubError) -> Removal {
    let repository = repository(reference.repository)
    guard ModelPath.isDirectory(repository.directory) else {
      throw HubError(.missing, "is not in the cache (\(directory))", context: "\(reference)")
    }
    if reference.quantisation == nil, reference.revision == nil {
      // Somebody may keep it on another disk, or anything may be there.
      let place = try? FileManager.default.destinationOfSymbolicLink(atPath: repository.directory)
      if let place {
        throw HubError(
          .file,
          "is a link to \(place), which is not followed; remove that, and then the link",
          context: repository.directory
        )
      }
      return Removal(repository: repository, part: nil)
    }
    guard let commit = repository.commit(of: reference.wantedRevision),
      repository.commits.contains(commit)
    else { throw absent(reference) }
    let files = repository.files(of: commit)
    guard let wanted = reference.quantisation else {
      return Removal(repository: repository, part: (commit, files))
    }
    let models = files.map(\.path).filter(FileSelection.isModel)
    let entries = FileSelection.entries(of: wanted, models)
    guard let entry = entries.first else { throw absent(reference) }
    guard entries.count == 1 else { throw FileSelection.ambiguous(entries, reference) }
    let parts = FileSelection.parts(of: entry)
    return Removal(
      repository: repository,
      part: (commit, files.filter { parts.contains($0.path) })
    )
  }

  private func absent(_ reference: ModelReference) -> HubError {
    let known = models().filter { $0.reference.repository == reference.repository }
      .map { "\($0.reference)" }
    let isUnfinished = unfinished().contains { $0.repository == reference.repository }
    return HubError(
      .missing,
      "is not in the cache" + (known.isEmpty ? "" : "; there is \(known.joined(separator: ", "))")
        + (isUnfinished
          ? "; what is unfinished goes with all of \(reference.repository)" : ""),
      context: "\(reference)"
    )
  }

  /// Removes files of a model, and the content that no other file of its repository has.
  ///
  /// - Returns: The bytes that are free now.
  /// - Throws: `HubError.file`.
  package func remove(_ removal: Removal) throws(HubError) -> Int {
    let repository = removal.repository
    let before = Self.sizeOnDisk(below: repository.directory)
    guard let (commit, files) = removal.part else {
      try Self.remove(repository.directory)
      if ModelPath.exists(repository.locks) { try Self.remove(repository.locks) }
      return before
    }
    for file in files { try Self.remove("\(repository.snapshot(commit))/\(file.path)") }
    if repository.files(of: commit).isEmpty {
      try Self.remove(repository.snapshot(commit))
      for revision in repository.revisions(of: commit) {
        try Self.remove(repository.reference(revision))
      }
    }
    // Other content without a name may belong to a model that is being fetched.
    let used = Set(repository.commits.flatMap { repository.files(of: $0).map(\.object) })
    for object in Set(files.map(\.object)).subtracting(used)
    where ContentName.isObject(object) && ModelPath.exists(repository.blob(object)) {
      try Self.remove(repository.blob(object))
    }
    return before - Self.sizeOnDisk(below: repository.directory)
  }

  /// Removes a file, a link (not what it leads to) or a directory.
  private static func remove(_ path: String) throws(HubError) {
    do { try FileManager.default.removeItem(atPath: path) } catch {
      throw CachedRepository.failure("remove", path, error)
    }
  }

  private static func sizeOnDisk(below directory: String) -> Int {
    guard let walk = FileManager.default.enumerator(atPath: directory) else { return 0 }
    return walk.reduce(0) {
      $0 + (($1 as? String).map { Hub.sizeOnDisk("\(directory)/\($0)") } ?? 0)
    }
  }
}
