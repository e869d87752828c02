// What a model is named by over the wire: the digest of everything that its description says.

package import Content

extension ModelDescription {
  /// Describes a model and names it by what is described.
  package init(
    fingerprint: Digest,
    name: String,
    isDirectory: Bool,
    files: [ModelFile]
  ) {
    self.init(
      model: fingerprint,
      fingerprint: fingerprint,
      name: name,
      isDirectory: isDirectory,
      files: files
    )
    model = root
  }

  /// The digest of everything but `model`: of a tree whose leaves are the files' pieces.
  package var root: Digest {
    var bytes = Array("trestle files 1\0".utf8) + fingerprint.bytes
    func add(_ number: UInt64) {
      bytes += (0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
    }
    func add(_ text: String) {
      add(UInt64(text.utf8.count))
      bytes += text.utf8
    }
    add(name)
    add(isDirectory ? 1 : 0)
    add(UInt64(files.count))
    for file in files {
      add(file.name)
      add(file.size)
      add(file.headerBytes)
      add(UInt64(file.digests.count))
      for digest in file.digests { bytes += digest.bytes }
    }
    return Digest(of: bytes)
  }
}
