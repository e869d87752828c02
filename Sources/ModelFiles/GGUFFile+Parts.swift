// Models in several GGUF files, as llama-gguf-split makes them: the first part has the metadata, all
// have tensors, and each says which of how many it is (gguf-py/gguf/constants.py, Keys.Split).

import Foundation

extension GGUFFile {
  /// A file of the model.
  package struct Part: Sendable {
    /// The file itself, open.
    package let file: MappedFile
    /// The bytes before its tensors.
    package let headerByteCount: Int
  }

  /// More parts are refused: a part of llama-gguf-split has at least some tensors.
  private static let partLimit = 1024

  /// Returns the model whose first part this is, with the tensors of all parts; this file if it is
  /// no part of a model.
  ///
  /// - Throws: `ModelFilesError` that names the part that is missing or is another model's, or the first
  ///   part if this is a later one.
  func withAllParts() throws(ModelFilesError) -> GGUFFile {
    let count = try integer("split.count") ?? 1
    guard count > 1 else { return self }
    let index = try integer("split.no") ?? 0
    let fileName = (path as NSString).lastPathComponent
    guard count <= Self.partLimit, (0..<count).contains(index) else {
      throw ModelFilesError(
        .format,
        "is part \(index) of \(count); at most \(Self.partLimit) parts are read",
        context: path
      )
    }
    guard let name = SplitName(fileName), name.index == index + 1, name.count == count else {
      let expected = SplitName(stem: "NAME", index: index + 1, count: count).name
      throw ModelFilesError(
        .file,
        "is part \(index + 1) of \(count) of a model, and must be named \(expected) for the other"
          + " parts to be found",
        context: path
      )
    }
    guard index == 0 else {
      throw ModelFilesError(
        .file,
        "is part \(index + 1) of \(count) of a model; give the first part, \(name.part(1).name)",
        context: path
      )
    }
    var whole = self
    for index in 1..<count {
      let part = try otherPart(name.part(index + 1), index)
      whole.tensors += part.tensors
      whole.parts += part.parts
    }
    try whole.checkTensors()
    return whole
  }

  private func otherPart(_ name: SplitName, _ index: Int) throws(ModelFilesError) -> GGUFFile {
    let directory = (path as NSString).deletingLastPathComponent
    let partPath = directory.isEmpty ? name.name : "\(directory)/\(name.name)"
    guard ModelPath.exists(partPath) else {
      throw ModelFilesError(
        .file,
        "is the first of \(name.count) parts of a model, and \(name.name) is not beside it; fetch all"
          + " parts into one directory",
        context: path
      )
    }
    let part = try GGUFFile(MappedFile.open(partPath))
    let (said, count) = (try part.integer("split.no"), try part.integer("split.count"))
    guard said == index, count == name.count else {
      throw ModelFilesError(
        .format,
        "says it is part \((said ?? 0) + 1) of \(count ?? 1), its name says \(index + 1) of"
          + " \(name.count)",
        context: partPath
      )
    }
    return part
  }

  private func checkTensors() throws(ModelFilesError) {
    var names: Set<String> = []
    for tensor in tensors where !names.insert(tensor.name).inserted {
      throw ModelFilesError(
        .format,
        "tensor \(tensor.name) stands in two parts of the model",
        context: tensor.file.path
      )
    }
    guard let count = try integer("split.tensors.count"), count != tensors.count else { return }
    throw ModelFilesError(
      .format,
      "split.tensors.count is \(count), the parts hold \(tensors.count) tensors",
      context: path
    )
  }
}
