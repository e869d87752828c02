// What the coordinator gives to workers without a model: the very bytes of its files, and no others.

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
    let files = ServedFiles(try Checkpoint.open(directory.path))
    guard case .modelDescription(let description) = files.describe() else {
      throw WireError(.malformed, "\(files.describe())")
    }
    return (files, description)
  }

  private func failure(_ answer: WeightsAnswer) -> PullFailed? {
    if case .send(.pullFailed(let failure), _) = answer { failure } else { nil }
  }

  @Test func `all pieces together are the files`() throws {
    let (files, description) = try served()
    #expect(description.isDirectory)
    #expect(description.name == "gemma3n-random-c")
    for (index, file) in description.files.enumerated() {
      var bytes: [UInt8] = []
      for chunk in 0..<file.chunkCount {
        let id = ChunkID(file: index, chunk: chunk)
        let answer = files.answer(Pull(model: description.model, id: id), peer)
        guard case .send(.chunk(let chunk), peer) = answer else {
          Issue.record("\(answer)")
          return
        }
        #expect(chunk.id == id)
        #expect(chunk.digest == Digest(of: chunk.data))
        bytes += chunk.data
      }
      let want = try Data(contentsOf: directory.appending(path: file.name))
      #expect(Data(bytes) == want, "\(file.name)")
    }
  }

  @Test func `another layout of the same weights is another model`() throws {
    let (_, description) = try served()
    let other = ServedFiles(try Checkpoint.open(Goldens.checkpoint("gemma3n-random-b").path))
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
    #expect(message.contains("another model is served by now, gemma3n-random-c"))
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
      let files = ServedFiles(try Checkpoint.open(copy))
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
    let desk = try WeightsDesk(Checkpoint.open(directory.path))
    #expect(try !desk.take(.commit(Commit(epoch: 1)), from: peer))
    for _ in 0..<50 { #expect(try desk.take(.describeModel(DescribeModel()), from: peer)) }
    let first = try answers(desk, count: 1)
    guard case .send(.modelDescription(let description), peer) = first.first else {
      Issue.record("\(first)")
      return
    }
    // However often it was asked for before it came, it came once.
    let index = try #require(description.files.firstIndex { $0.chunkCount > Limits.pulls })
    for chunk in 0..<Limits.pulls {
      let pull = Pull(model: description.model, id: ChunkID(file: index, chunk: chunk))
      #expect(try desk.take(.pull(pull), from: peer))
    }
    var chunks: [Int] = []
    for answer in try answers(desk, count: Limits.pulls) {
      if case .send(.chunk(let chunk), peer) = answer { chunks.append(chunk.id.chunk) }
    }
    #expect(chunks == Array(0..<Limits.pulls))
    desk.close()
  }

  @Test func `a peer may not have more pieces under way than the protocol says`() throws {
    let desk = try WeightsDesk(Checkpoint.open(directory.path))
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
      answers += desk.takeAnswers()
    }
    return answers
  }
}
