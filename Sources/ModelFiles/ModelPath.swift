// What a path that somebody gave for a model leads to: a GGUF file, a directory in Hugging Face layout,
// or something else, which is called what it is.

import Foundation
internal import Platform

/// Where a model lies.
package enum ModelPath: Sendable, Hashable {
  /// A GGUF file, of a model in parts the first.
  case gguf(String)
  /// A directory in Hugging Face layout.
  case huggingFace(String)

  /// Finds out what a path is; a directory that holds one GGUF model is that model.
  ///
  /// - Throws: `ModelFilesError` that says what is there instead of a model.
  package init(_ path: String) throws(ModelFilesError) {
    guard Self.exists(path) else { throw Self.missing(path) }
    guard unsafe access(path, Self.isDirectory(path) ? R_OK | X_OK : R_OK) == 0 else {
      throw Self.unreadable(path)
    }
    guard Self.isDirectory(path) else {
      if let fault = Self.partOfDirectory(path) { throw fault }
      self = .gguf(path)
      return
    }
    if Self.exists("\(path)/config.json") {
      self = .huggingFace(path)
      return
    }
    let names = Self.names(in: path)
    let files = names.filter(Self.isModelFile)
    switch files.count {
    case 0: throw Self.noModel(path, names)
    case 1: self = .gguf("\(path)/\(files[0])")
    default:
      throw ModelFilesError(
        .file,
        "the directory holds several .gguf files; give one of them: "
          + files.prefix(8).joined(separator: ", "),
        context: path
      )
    }
  }

  /// Whether a file's name is that of a GGUF model, or of the first part of one; projectors of images are not.
  package static func isModelFile(_ name: String) -> Bool {
    let small = name.lowercased()
    return small.hasSuffix(".gguf") && !small.contains("mmproj")
      && (SplitName(name)?.index ?? 1) == 1
  }

  /// Whether a directory is there.
  package static func isDirectory(_ path: String) -> Bool {
    var isDirectory: ObjCBool = false
    return unsafe FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
      && isDirectory.boolValue
  }

  /// Whether anything is there.
  package static func exists(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: path)
  }

  /// Returns the names of what a directory holds, in order; none if it cannot be read.
  package static func names(in directory: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).sorted()
  }

  // MARK: Paths that are not models

  /// What an unfinished download of this program is called: its first bytes may be right, and it has holes.
  package static let downloadSuffix = ".trestle-part"

  private static let downloadSuffixes = [
    downloadSuffix, ".incomplete", ".part", ".partial", ".crdownload", ".download", ".aria2",
    ".tmp",
  ]

  private static func unreadable(_ path: String) -> ModelFilesError {
    ModelFilesError(.file, "cannot open: \(systemMessage(errno))", context: path)
  }

  private static func missing(_ path: String) -> ModelFilesError {
    var status = stat()
    // A directory on the way that may not be entered hides whether it is there.
    if unsafe stat(path, &status) != 0, errno == EACCES { return unreadable(path) }
    if path.contains("://") {
      return ModelFilesError(
        .file,
        "is an address; give a path, or the name of a repository as in `trestle pull ORG/NAME`",
        context: path
      )
    }
    for suffix in downloadSuffixes where exists(path + suffix) {
      return ModelFilesError(
        .file,
        "is not there, but \(path + suffix) is: the download has not finished",
        context: path
      )
    }
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    let isName =
      parts.count == 2 && parts.allSatisfy { !$0.isEmpty && $0.first != "." && $0 != "~" }
    if isName, !path.hasSuffix(".gguf"), !exists(String(parts[0])) {
      return ModelFilesError(
        .file,
        "is not there; if it is a name on Hugging Face, `trestle pull \(path)` fetches it",
        context: path
      )
    }
    return ModelFilesError(.file, "cannot open: No such file or directory", context: path)
  }

  /// Returns the fault of a file that says little without its neighbours; nil for any other.
  private static func partOfDirectory(_ path: String) -> ModelFilesError? {
    let name = (path as NSString).lastPathComponent
    // A model file is told by its first bytes, whatever its name.
    if !name.hasSuffix(downloadSuffix),
      (try? MappedFile.open(path).read(offset: 0, count: GGUFFile.magic.count)) == GGUFFile.magic
    {
      return nil
    }
    for suffix in downloadSuffixes where name.hasSuffix(suffix) {
      return ModelFilesError(
        .file,
        "is a download that has not finished (\(suffix)); fetch it again",
        context: path
      )
    }
    if name.hasSuffix(".safetensors") || name.hasSuffix(".json") || name == "tokenizer.model" {
      return ModelFilesError(
        .unsupported,
        "is one file of a model's directory; give the directory that holds this file",
        context: path
      )
    }
    return nil
  }

  private static func noModel(_ path: String, _ names: [String]) -> ModelFilesError {
    if names.contains("adapter_config.json") {
      return ModelFilesError(
        .unsupported,
        "holds an adapter (LoRA), not a model; merge it into its base model first"
          + " (peft: merge_and_unload) and give the merged one",
        context: path
      )
    }
    if let projector = names.first(where: {
      $0.lowercased().hasSuffix(".gguf") && $0.lowercased().contains("mmproj")
    }) {
      return ModelFilesError(
        .file,
        "holds \(projector), a projector of images, but no model; fetch that, too",
        context: path
      )
    }
    if let part = names.first(where: { $0.hasSuffix(".gguf") }) {
      return ModelFilesError(
        .file,
        "holds \(part), but not the first part of that model; fetch all parts",
        context: path
      )
    }
    if let part = names.first(where: { name in downloadSuffixes.contains(where: name.hasSuffix) }) {
      return ModelFilesError(
        .file,
        "holds no config.json, but \(part): the download has not finished",
        context: path
      )
    }
    if names.contains(where: { $0.hasSuffix(".bin") || $0.hasSuffix(".pth") || $0.hasSuffix(".pt") }
    ) {
      return ModelFilesError(
        .unsupported,
        "holds PyTorch weights; only safetensors, with their config.json, and GGUF are read",
        context: path
      )
    }
    return ModelFilesError(
      .file,
      "holds no config.json and no .gguf file; give the directory of a model, or a .gguf file",
      context: path
    )
  }
}

/// The name of a part of a split model, `STEM-00001-of-00003.gguf`, as llama.cpp writes it
/// (llama_split_path).
package struct SplitName: Sendable, Hashable {
  package var stem: String
  /// From 1 on.
  package var index: Int
  package var count: Int

  package init?(_ name: String) {
    guard let match = name.wholeMatch(of: /(.*)-([0-9]{5})-of-([0-9]{5})\.gguf/),
      let index = Int(match.2), let count = Int(match.3), (1...max(count, 1)).contains(index)
    else { return nil }
    self.init(stem: String(match.1), index: index, count: count)
  }

  init(stem: String, index: Int, count: Int) {
    self.stem = stem
    self.index = index
    self.count = count
  }

  package var name: String { "\(stem)-\(Self.digits(index))-of-\(Self.digits(count)).gguf" }

  package func part(_ index: Int) -> SplitName { SplitName(stem: stem, index: index, count: count) }

  private static func digits(_ number: Int) -> String {
    let text = "\(number)"
    return String(repeating: "0", count: max(0, 5 - text.count)) + text
  }
}
