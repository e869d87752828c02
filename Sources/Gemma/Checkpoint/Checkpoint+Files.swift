// The files of a model, and where in them some of its weights are. This is for processes that send
// a model to another machine or have only a part of it.

package import Compute
import Foundation
package import ModelFiles

extension Checkpoint {
  /// A file that is read to open the model, or for its weights.
  package struct File: Sendable {
    /// The file's name without its directory.
    package var name: String
    package var file: MappedFile
    /// How many bytes at the start describe where the tensors are; the whole of a JSON file.
    package var headerByteCount: Int
  }

  /// A range of a file.
  package struct Extent: Sendable, Hashable {
    /// The file, as in `File.name`.
    package var file: String
    package var bytes: Range<Int>

    package init(file: String, bytes: Range<Int>) {
      self.file = file
      self.bytes = bytes
    }
  }

  /// Whether `open` must be given the directory of the files rather than one of them.
  package var isDirectory: Bool { (gguf?.parts.count ?? 2) > 1 }

  /// Returns the files that `open` and the backends read; the tokenizer's files are not included.
  ///
  /// - Throws: `GemmaError` if one of them has been removed.
  package func files() throws(GemmaError) -> [File] {
    if let gguf {
      return gguf.parts.map { part in
        File(
          name: Self.name(of: part.file),
          file: part.file,
          headerByteCount: part.headerByteCount
        )
      }
    }
    var files: [File] = []
    for name in HuggingFaceDirectory.describingFiles(in: path) {
      let file = try MappedFile.open("\(path)/\(name)")
      files.append(File(name: name, file: file, headerByteCount: file.size))
    }
    var shards: [String: File] = [:]
    for tensor in weights.map(\.tensor) + ignoredTensors {
      let name = Self.name(of: tensor.file)
      let first = min(shards[name]?.headerByteCount ?? .max, tensor.offset)
      shards[name] = File(name: name, file: tensor.file, headerByteCount: first)
    }
    return files + shards.values.sorted { $0.name < $1.name }
  }

  /// Returns the ranges of the files that hold some weights.
  ///
  /// - Throws: `GemmaError.tensor` if the model lacks one of the weights or one of the rows.
  package func extents(of refs: some Sequence<WeightRef>) throws(GemmaError) -> [Extent] {
    var extents: [Extent] = []
    for ref in refs {
      let weight = try find(ref.name)
      try check(ref.rows, of: weight)
      let rowByteCount = weight.tensor.byteCount / weight.tensor.rowCount
      let start = weight.tensor.offset + ref.rows.lowerBound * rowByteCount
      extents.append(
        Extent(
          file: Self.name(of: weight.tensor.file),
          bytes: start..<(start + ref.rows.count * rowByteCount)
        )
      )
    }
    return extents
  }

  private static func name(of file: MappedFile) -> String {
    (file.path as NSString).lastPathComponent
  }
}
