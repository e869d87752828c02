// The messages about weights in protobuf-c's structs and back.

internal import WireMessages

extension ModelFile {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__ModelFile> {
    let c = unsafe packer.make(trestle__model_file__init)
    unsafe c.pointee.name = packer.text(name, "ModelFile.name", limit: Limits.fileNameBytes)
    unsafe c.pointee.size = packer.size(size, "ModelFile.size", limit: Limits.fileBytes)
    unsafe c.pointee.header_bytes = packer.size(
      headerBytes,
      "ModelFile.headerBytes",
      limit: size
    )
    return unsafe c
  }

  init(unpacking c: Trestle__ModelFile) throws(WireError) {
    try unsafe Unpack.known(c.base, "ModelFile")
    try unsafe self.init(
      name: Unpack.text(c.name, "ModelFile.name", limit: Limits.fileNameBytes),
      size: Unpack.size(c.size, "ModelFile.size", limit: Limits.fileBytes),
      headerBytes: Unpack.size(c.header_bytes, "ModelFile.headerBytes", limit: c.size)
    )
  }
}

extension DescribeModel {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__DescribeModel> {
    unsafe packer.make(trestle__describe_model__init)
  }

  init(unpacking c: Trestle__DescribeModel) throws(WireError) {
    try unsafe Unpack.known(c.base, "DescribeModel")
    self.init()
  }
}

extension ModelDescription {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__ModelDescription> {
    let c = unsafe packer.make(trestle__model_description__init)
    unsafe c.pointee.model = packer.bytes(
      model.bytes,
      "ModelDescription.model",
      limit: Digest.byteCount
    )
    unsafe c.pointee.fingerprint = fingerprint
    unsafe c.pointee.name = packer.text(name, "ModelDescription.name", limit: Limits.nameBytes)
    unsafe c.pointee.is_directory = isDirectory ? 1 : 0
    unsafe (c.pointee.n_files, c.pointee.files) = packer.list(
      files,
      "ModelDescription.files",
      limit: Limits.modelFiles
    ) {
      unsafe $0.packed(packer)
    }
    return unsafe c
  }

  init(unpacking c: Trestle__ModelDescription) throws(WireError) {
    try unsafe Unpack.known(c.base, "ModelDescription")
    try unsafe self.init(
      model: Unpack.digest(c.model, "ModelDescription.model"),
      fingerprint: c.fingerprint,
      name: Unpack.text(c.name, "ModelDescription.name", limit: Limits.nameBytes),
      isDirectory: c.is_directory != 0,
      files: Unpack.list(
        c.n_files,
        c.files,
        "ModelDescription.files",
        limit: Limits.modelFiles,
        ModelFile.init(unpacking:)
      )
    )
  }
}

extension Pull {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Pull> {
    let c = unsafe packer.make(trestle__pull__init)
    unsafe c.pointee.model = packer.bytes(model.bytes, "Pull.model", limit: Digest.byteCount)
    unsafe c.pointee.file = packer.integer(id.file, "Pull.file", limit: Limits.modelFiles)
    unsafe c.pointee.chunk = packer.integer(id.chunk, "Pull.chunk", limit: Limits.chunks)
    return unsafe c
  }

  init(unpacking c: Trestle__Pull) throws(WireError) {
    try unsafe Unpack.known(c.base, "Pull")
    try unsafe self.init(
      model: Unpack.digest(c.model, "Pull.model"),
      id: ChunkID(
        file: Unpack.integer(c.file, "Pull.file", limit: Limits.modelFiles),
        chunk: Unpack.integer(c.chunk, "Pull.chunk", limit: Limits.chunks)
      )
    )
  }
}

extension Chunk {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Chunk> {
    let c = unsafe packer.make(trestle__chunk__init)
    unsafe c.pointee.file = packer.integer(id.file, "Chunk.file", limit: Limits.modelFiles)
    unsafe c.pointee.chunk = packer.integer(id.chunk, "Chunk.chunk", limit: Limits.chunks)
    unsafe c.pointee.data = packer.bytes(data, "Chunk.data", limit: Limits.chunkBytes)
    unsafe c.pointee.digest = packer.bytes(
      digest.bytes,
      "Chunk.digest",
      limit: Digest.byteCount
    )
    return unsafe c
  }

  init(unpacking c: Trestle__Chunk) throws(WireError) {
    try unsafe Unpack.known(c.base, "Chunk")
    try unsafe self.init(
      id: ChunkID(
        file: Unpack.integer(c.file, "Chunk.file", limit: Limits.modelFiles),
        chunk: Unpack.integer(c.chunk, "Chunk.chunk", limit: Limits.chunks)
      ),
      data: Unpack.bytes(c.data, "Chunk.data", limit: Limits.chunkBytes),
      digest: Unpack.digest(c.digest, "Chunk.digest")
    )
  }
}

extension PullFailed {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__PullFailed> {
    let c = unsafe packer.make(trestle__pull_failed__init)
    unsafe c.pointee.code = Trestle__FailureCode(code.rawValue)
    unsafe c.pointee.message = packer.prose(message)
    return unsafe c
  }

  init(unpacking c: Trestle__PullFailed) throws(WireError) {
    try unsafe Unpack.known(c.base, "PullFailed")
    try unsafe self.init(
      code: Unpack.enumeration(c.code.rawValue, "PullFailed.code"),
      message: Unpack.text(c.message, "PullFailed.message", limit: Limits.proseBytes)
    )
  }
}
