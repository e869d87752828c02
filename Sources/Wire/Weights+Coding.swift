// The messages about weights in protobuf-c's structs and back.

internal import Content
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
    unsafe (c.pointee.n_digests, c.pointee.digests) = packer.digests(
      digests,
      "ModelFile.digests",
      limit: Limits.digestChunks
    )
    return unsafe c
  }

  init(unpacking c: Trestle__ModelFile) throws(WireError) {
    try unsafe Unpack.known(c.base, "ModelFile")
    try unsafe self.init(
      name: Unpack.text(c.name, "ModelFile.name", limit: Limits.fileNameBytes),
      size: Unpack.size(c.size, "ModelFile.size", limit: Limits.fileBytes),
      headerBytes: Unpack.size(c.header_bytes, "ModelFile.headerBytes", limit: c.size),
      digests: Unpack.digests(
        c.n_digests,
        c.digests,
        "ModelFile.digests",
        limit: Limits.digestChunks
      )
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
    unsafe c.pointee.model = packer.digest(model)
    unsafe c.pointee.fingerprint = packer.digest(fingerprint)
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
      fingerprint: Unpack.digest(c.fingerprint, "ModelDescription.fingerprint"),
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
    unsafe c.pointee.model = packer.digest(model)
    unsafe c.pointee.file = packer.integer(id.file, "Pull.file", limit: Limits.modelFiles)
    unsafe c.pointee.chunk = packer.integer(id.chunk, "Pull.chunk", limit: Limits.chunks)
    unsafe c.pointee.of_digests = id.isOfDigests ? 1 : 0
    return unsafe c
  }

  init(unpacking c: Trestle__Pull) throws(WireError) {
    try unsafe Unpack.known(c.base, "Pull")
    try unsafe self.init(
      model: Unpack.digest(c.model, "Pull.model"),
      id: ChunkID(
        file: Unpack.integer(c.file, "Pull.file", limit: Limits.modelFiles),
        chunk: Unpack.integer(c.chunk, "Pull.chunk", limit: Limits.chunks),
        isOfDigests: c.of_digests != 0
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
    unsafe c.pointee.of_digests = id.isOfDigests ? 1 : 0
    unsafe c.pointee.receipt = receipt
    return unsafe c
  }

  init(unpacking c: Trestle__Chunk) throws(WireError) {
    try unsafe Unpack.known(c.base, "Chunk")
    try unsafe self.init(
      id: ChunkID(
        file: Unpack.integer(c.file, "Chunk.file", limit: Limits.modelFiles),
        chunk: Unpack.integer(c.chunk, "Chunk.chunk", limit: Limits.chunks),
        isOfDigests: c.of_digests != 0
      ),
      data: Unpack.bytes(c.data, "Chunk.data", limit: Limits.chunkBytes),
      receipt: c.receipt
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

extension PullReceipt {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__PullReceipt> {
    let c = unsafe packer.make(trestle__pull_receipt__init)
    unsafe (c.pointee.n_receipts, c.pointee.receipts) = packer.numbers(
      receipts,
      "PullReceipt.receipts",
      limit: Limits.pulls
    )
    return unsafe c
  }

  init(unpacking c: Trestle__PullReceipt) throws(WireError) {
    try unsafe Unpack.known(c.base, "PullReceipt")
    try unsafe self.init(
      receipts: Unpack.numbers(
        c.n_receipts,
        c.receipts,
        "PullReceipt.receipts",
        limit: Limits.pulls
      )
    )
  }
}

extension ModelPending {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__ModelPending> {
    let c = unsafe packer.make(trestle__model_pending__init)
    unsafe c.pointee.fraction = packer.finite(fraction, "ModelPending.fraction")
    return unsafe c
  }

  init(unpacking c: Trestle__ModelPending) throws(WireError) {
    try unsafe Unpack.known(c.base, "ModelPending")
    try unsafe self.init(fraction: Unpack.finite(c.fraction, "ModelPending.fraction"))
  }
}
