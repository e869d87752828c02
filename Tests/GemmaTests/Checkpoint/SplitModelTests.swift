// Models in several GGUF files: the first part opens the model, and each fault names the part.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Model in parts` {
  private func name(_ index: Int, of count: Int) -> String {
    "tiny-0000\(index)-of-0000\(count).gguf"
  }

  /// Cuts a model into parts as llama-gguf-split does: the metadata in the first, tensors in all.
  private func parts(_ model: TinyModel, _ count: Int) -> [GGUFBuilder] {
    let whole = model.gguf
    var parts = (0..<count).map { index in
      var part = GGUFBuilder()
      if index == 0 { part.metadata = whole.metadata }
      part["split.no"] = .uint16(UInt16(index))
      part["split.count"] = .uint16(UInt16(count))
      part["split.tensors.count"] = .int32(Int32(whole.tensors.count))
      return part
    }
    for (index, tensor) in whole.tensors.enumerated() {
      parts[index * count / whole.tensors.count].tensors.append(tensor)
    }
    return parts
  }

  /// Writes the parts, changed, and calls the body with the directory.
  private func withParts<Result>(
    _ model: TinyModel = .gemma3,
    _ count: Int = 3,
    _ change: (inout [GGUFBuilder]) -> Void = { _ in },
    _ body: (String) throws -> Result
  ) throws -> Result {
    var parts = parts(model, count)
    change(&parts)
    return try withTemporaryDirectory { directory in
      for (index, part) in parts.enumerated() {
        try part.bytes.write(to: "\(directory)/\(name(index + 1, of: count))")
      }
      return try body(directory)
    }
  }

  @Test(arguments: [TinyModel.gemma3, TinyModel.gemma3n])
  func `the first part opens the whole model`(model: TinyModel) throws {
    let whole = try openModel(model.gguf)
    try withParts(model) { directory in
      // The directory holds one model, so it may be given too.
      for path in ["\(directory)/\(name(1, of: 3))", directory] {
        let split = try Checkpoint.open(path)
        #expect(split.config == whole.config)
        #expect(try split.fingerprint() == whole.fingerprint())
        for weight in whole.weights {
          #expect(try contents(split, weight.name) == contents(whole, weight.name))
        }
        let files = try split.files()
        #expect(files.map(\.name) == (1...3).map { name($0, of: 3) })
        #expect(split.isDirectory && !whole.isDirectory)
      }
    }
  }

  @Test func `a later part is told the name of the first`() throws {
    try withParts { directory in
      expectRefusal(.file, "part 2 of 3", name(1, of: 3)) {
        _ = try Checkpoint.open("\(directory)/\(name(2, of: 3))")
      }
    }
  }

  @Test func `a part that is missing, cut short or another's is named`() throws {
    try withParts { directory in
      let path = "\(directory)/\(name(1, of: 3))"
      let third = "\(directory)/\(name(3, of: 3))"
      let bytes = [UInt8](try Data(contentsOf: URL(filePath: third)))
      try Array(bytes.dropLast(100)).write(to: third)
      expectRefusal(.format, name(3, of: 3), "cut short") { _ = try Checkpoint.open(path) }
      try FileManager.default.removeItem(atPath: third)
      expectRefusal(.file, "first of 3 parts", name(3, of: 3)) { _ = try Checkpoint.open(path) }
    }
    try withParts(.gemma3, 3, { $0[2]["split.no"] = .uint16(1) }) { directory in
      expectRefusal(.format, "says it is part 2 of 3", "3 of 3", name(3, of: 3)) {
        _ = try Checkpoint.open("\(directory)/\(name(1, of: 3))")
      }
    }
    try withParts(.gemma3, 3, { $0[1]["split.count"] = .uint16(4) }) { directory in
      expectRefusal(.format, "part 2 of 4", name(2, of: 3)) {
        _ = try Checkpoint.open("\(directory)/\(name(1, of: 3))")
      }
    }
  }

  @Test func `tensors that stand twice, or too few, are refused`() throws {
    try withParts(.gemma3, 2, { $0[1].tensors.append($0[0].tensors[0]) }) { directory in
      expectRefusal(.format, "token_embd.weight stands in two parts") {
        _ = try Checkpoint.open("\(directory)/\(name(1, of: 2))")
      }
    }
    try withParts(.gemma3, 2, { $0[0]["split.tensors.count"] = .int32(99) }) { directory in
      expectRefusal(.format, "split.tensors.count is 99") {
        _ = try Checkpoint.open("\(directory)/\(name(1, of: 2))")
      }
    }
  }

  @Test func `a part by another name is told what it must be called`() throws {
    let part = parts(.gemma3, 3)[0]
    expectRefusal(.file, "part 1 of 3", "NAME-00001-of-00003.gguf") { _ = try openModel(part) }
    for (no, count) in [(3, 3), (9, 3), (0, 60_000)] as [(UInt16, UInt16)] {
      var absurd = part
      absurd["split.no"] = .uint16(no)
      absurd["split.count"] = .uint16(count)
      expectRefusal(.format, "part \(no) of \(count)") { _ = try openModel(absurd) }
    }
  }

  @Test(.seeded(default: 20_261_128))
  func `damaged parts are refused or read in bounds`() throws {
    var random = SeededRandom(testSeed(default: 20_261_128))
    let parts = parts(.gemma3, 2)
    try withTemporaryDirectory { directory in
      for _ in 0..<fuzzIterations(default: 100) {
        for (index, part) in parts.enumerated() {
          let header = part.header
          let damages = Bool.random(using: &random)
          let bytes = (damages ? random.corrupted(header) : header) + part.bytes[header.count...]
          try bytes.write(to: "\(directory)/\(name(index + 1, of: 2))")
        }
        do {
          let checkpoint = try Checkpoint.open("\(directory)/\(name(1, of: 2))")
          for weight in checkpoint.weights {
            #expect(try contents(checkpoint, weight.name).count == weight.tensor.byteCount)
          }
        } catch let error as GemmaError {
          #expect(!error.description.contains("\n"), "\(error)")
        }
      }
    }
  }
}
