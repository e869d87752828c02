// What the coordinator gives to workers without a model: the very bytes of its files, and no others.

import Content
import Foundation
import Glibc
import Gemma
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `Weights desk` {
  private let peer = PeerID([1])
  private let directory = Goldens.checkpoint("gemma3n-random-c")

  private func served() throws -> (files: ServedFiles, description: ModelDescription) {
    let files = try serve(directory.path)
    guard case .modelDescription(let description) = files.describe() else {
      throw WireError(.malformed, "\(files.describe())")
    }
    return (files, description)
  }

  private func serve(_ path: String) throws -> ServedFiles {
    let checkpoint = try Checkpoint.open(path)
    return ServedFiles(checkpoint, fingerprint: try checkpoint.fingerprint(), store: nil)
  }

  private func desk() throws -> WeightsDesk {
    let checkpoint = try Checkpoint.open(directory.path)
    return try WeightsDesk(checkpoint, fingerprint: checkpoint.fingerprint())
  }

  private func failure(_ answer: WeightsAnswer) -> PullFailed? {
    if case .send(.pullFailed(let failure), _) = answer { failure } else { nil }
  }

  @Test func `all pieces together are the files`() throws {
    let (files, description) = try served()
    #expect(description.isDirectory)
    #expect(description.root == description.model)
    #expect(description.name == "gemma3n-random-c")
    for (index, file) in description.files.enumerated() {
      var bytes: [UInt8] = []
      var digests: [UInt8] = []
      for chunk in 0..<file.chunkCount {
        let id = ChunkID(file: index, chunk: chunk)
        let answer = files.answer(Pull(model: description.model, id: id), peer)
        guard case .send(.chunk(let chunk), peer) = answer else {
          Issue.record("\(answer)")
          return
        }
        #expect(chunk.id == id)
        bytes += chunk.data
        digests += Digest(of: chunk.data).bytes
      }
      let want = try Data(contentsOf: directory.appending(path: file.name))
      #expect(Data(bytes) == want, "\(file.name)")
      // The list of digests is that of the pieces, and the description that of the list.
      let id = ChunkID(file: index, chunk: 0, isOfDigests: true)
      let answer = files.answer(Pull(model: description.model, id: id), peer)
      guard case .send(.chunk(let list), peer) = answer else {
        Issue.record("\(answer)")
        return
      }
      #expect(list.data == digests && list.id == id)
      #expect(file.digests == [Digest(of: digests)])
    }
  }

  @Test func `another layout of the same weights is another model`() throws {
    let (_, description) = try served()
    let other = try serve(Goldens.checkpoint("gemma3n-random-b").path)
    guard case .modelDescription(let another) = other.describe() else {
      Issue.record("\(other.describe())")
      return
    }
    #expect(another.model != description.model)
    let (_, again) = try served()
    #expect(again == description)
  }

  @Test func `a piece of another model is refused in words, one that is not there as nonsense`()
    throws
  {
    let (files, description) = try served()
    let other = Pull(model: Digest(of: [9]), id: ChunkID(file: 0, chunk: 0))
    let message = try #require(failure(files.answer(other, peer))?.message)
    #expect(message.contains("now serves another model, gemma3n-random-c"))
    let count = description.files.count
    for (file, chunk) in [
      (count, 0), (0, description.files[0].chunkCount), (Limits.modelFiles, Limits.chunks),
    ] {
      let pull = Pull(model: description.model, id: ChunkID(file: file, chunk: chunk))
      guard case .refuse(let error, peer) = files.answer(pull, peer) else {
        Issue.record("file \(file), piece \(chunk) was served")
        continue
      }
      #expect(error.code == .malformed)
      #expect(error.message.contains("piece \(chunk) of file \(file)"))
    }
  }

  @Test func `a file that is cut short while it is served is a failure in words`() throws {
    try withTemporaryDirectory { temporary in
      let copy = "\(temporary)/model"
      try FileManager.default.copyItem(atPath: directory.path, toPath: copy)
      let files = try serve(copy)
      guard case .modelDescription(let description) = files.describe() else { return }
      let index = try #require(description.files.indices.last)
      let name = description.files[index].name
      try #require(unsafe truncate("\(copy)/\(name)", 1000) == 0)
      let pull = Pull(model: description.model, id: ChunkID(file: index, chunk: 3))
      let message = try #require(failure(files.answer(pull, peer))?.message)
      #expect(message.contains(name) && message.contains("shorter"), "\(message)")
    }
  }

  @Test func `its thread answers what the loop has it take, and only that`() throws {
    let desk = try desk()
    #expect(try !desk.take(.commit(Commit(epoch: 1)), from: peer))
    for _ in 0..<50 { #expect(try desk.take(.describeModel(DescribeModel()), from: peer)) }
    let first = try answers(desk, count: 50)
    // However often it was asked for before it came, it came once.
    let descriptions = first.compactMap {
      if case .send(.modelDescription(let description), peer) = $0 { description } else { nil }
    }
    #expect(descriptions.count == 1)
    let description = try #require(descriptions.first)
    for case .send(.modelPending(let pending), _) in first {
      #expect((0...1).contains(pending.fraction))
    }
    let index = try #require(description.files.firstIndex { $0.chunkCount > Limits.pulls })
    for chunk in 0..<Limits.pulls {
      let pull = Pull(model: description.model, id: ChunkID(file: index, chunk: chunk))
      #expect(try desk.take(.pull(pull), from: peer))
    }
    let chunks = try answers(desk, count: Limits.pulls).compactMap { answer in
      if case .send(.chunk(let chunk), peer) = answer { chunk } else { nil }
    }
    #expect(chunks.map(\.id.chunk) == Array(0..<Limits.pulls))
    // No more comes before it has said that these have.
    let pull = Pull(model: description.model, id: ChunkID(file: index, chunk: 0))
    #expect(try desk.take(.pull(pull), from: peer))
    usleep(50_000)
    #expect(desk.takeAnswers().isEmpty)
    let receipt = PullReceipt(receipts: [chunks[3].receipt])
    #expect(try desk.take(.pullReceipt(receipt), from: peer))
    #expect(try answers(desk, count: 1).count == 1)
    desk.close()
  }

  @Test func `what happens to its files is told once, by name`() throws {
    try withTemporaryDirectory { temporary in
      let copy = "\(temporary)/model"
      try FileManager.default.copyItem(atPath: directory.path, toPath: copy)
      let checkpoint = try Checkpoint.open(copy)
      let desk = try WeightsDesk(checkpoint, fingerprint: checkpoint.fingerprint())
      let name = try #require(
        try checkpoint.files().map(\.name).first { $0.hasSuffix(".safetensors") }
      )
      try FileManager.default.removeItem(atPath: "\(copy)/\(name)")
      var changes: [String] = []
      let deadline = ContinuousClock.now + .seconds(10)
      while changes.isEmpty, ContinuousClock.now < deadline {
        _ = try poll(sockets: [], descriptors: [desk.descriptor], timeout: .milliseconds(100))
        _ = desk.takeAnswers()
        changes = desk.takeChanges()
      }
      #expect(changes == ["\(copy)/\(name) was removed"])
      usleep(600_000)
      _ = desk.takeAnswers()
      #expect(desk.takeChanges().isEmpty)
      desk.close()
    }
  }

  @Test func `a peer may not have more pieces under way than the protocol says`() throws {
    let desk = try desk()
    let pull = Message.pull(Pull(model: Digest(of: []), id: ChunkID(file: 0, chunk: 0)))
    // As many as are read at once, and as many as may wait; none is taken back in between.
    for _ in 0..<(PullQueue.readLimit + Limits.pulls) {
      #expect(try desk.take(pull, from: peer))
    }
    let error = #expect(throws: WireError.self) { try desk.take(pull, from: peer) }
    #expect(error?.code == .oversized)
    #expect(error?.context == "Pull")
    desk.close()
  }

  private func answers(_ desk: WeightsDesk, count: Int) throws -> [WeightsAnswer] {
    var answers: [WeightsAnswer] = []
    let deadline = ContinuousClock.now + .seconds(10)
    while answers.count < count, ContinuousClock.now < deadline {
      _ = try poll(sockets: [], descriptors: [desk.descriptor], timeout: .milliseconds(100))
      let ready = desk.takeAnswers()
      for answer in ready { desk.note(answer, .sent) }
      answers += ready
    }
    return answers
  }
}
