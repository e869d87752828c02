// Quantised files, opened again: the same model with the bytes that the encoder gives, or nothing at all.

import Compute
import Foundation
import Gemma
import ModelFiles
import Quantization
import TestSupport
import Testing

@Suite struct `Quantised file` {
  /// All models with one type; others where it matters whether rows of 128 and 256 are both there.
  private static let cases =
    Goldens.random.map { ($0, TensorType.q8_0) }
    + [("gemma3-random-b", .q4_0), ("gemma3n-random-a", .iq4_nl), ("gemma4-random-a", .bf16)]
    + [("demo-model", .q6_K), ("demo-model", .q4_0)]

  private func open(_ name: String) throws -> Checkpoint {
    try Checkpoint.open(Goldens.checkpoint(name).path)
  }

  /// Writes a model with some choices, and calls the body with what is read again.
  private func withFile<Result>(
    _ model: Checkpoint,
    _ choices: [TensorChoice],
    importance: Importance? = nil,
    _ body: (Checkpoint, [EncodingError?]) throws -> Result
  ) throws -> Result {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/quantised.gguf"
      let file = try QuantizedFile(model, choices, importance: importance, threads: 2)
      let errors = try file.write(to: path) { _ in }
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["quantised.gguf"])
      return try body(try Checkpoint.open(path), errors)
    }
  }

  private func bytes(of tensor: StoredTensor) throws -> [UInt8] {
    let region = try tensor.file.region(offset: tensor.offset, count: tensor.byteCount)
    return unsafe Array(region.bytes)
  }

  /// What a tensor must have in the file: the encoder's bytes, matrix by matrix.
  private func expected(
    _ choice: TensorChoice,
    _ importance: Importance? = nil
  ) throws -> (bytes: [UInt8], squaredError: Double) {
    let tensor = choice.tensor
    let matrixCount = tensor.shape.count > 2 ? tensor.shape[0] : 1
    let rowCount = tensor.rowCount / matrixCount
    var result: (bytes: [UInt8], squaredError: Double) = ([], 0)
    for matrix in 0..<matrixCount {
      let encoder = RowEncoder(
        choice.type,
        columns: tensor.columnCount,
        importance: importance?.columns(of: tensor, matrix: matrix),
        threads: 1
      )
      let values = try tensor.values(rows: (matrix * rowCount)..<((matrix + 1) * rowCount))
      let encoded = try encoder.encode(values, of: tensor.name)
      result.bytes += encoded.bytes
      result.squaredError += encoded.error.squaredError
    }
    return result
  }

  /// What a file of a model with this config says: whole norm gains, and a row of per-layer inputs for each token.
  private func inGGUF(_ config: ModelConfig) -> ModelConfig {
    var config = config
    config.normGainOffset = 0
    config.perLayerInput?.vocabularySize = config.vocabularySize
    return config
  }

  // MARK: What is written

  @Test(arguments: cases)
  func `a model comes back with its config, and each weight with the encoder's bytes`(
    _ name: String,
    _ type: TensorType
  ) throws {
    let model = try open(name)
    let choices = TensorChoices.uniform(type, model.ggufTensors)
    try withFile(model, choices) { copy, errors in
      #expect(copy.config == inGGUF(model.config))
      let file = try #require(copy.gguf)
      #expect(file.tensors.map(\.name) == choices.map(\.tensor.name))
      #expect(errors.count == choices.count)
      var bytesOfTensor: [String: [UInt8]] = [:]
      for (choice, (stored, error)) in zip(choices, zip(file.tensors, errors)) {
        #expect(stored.type == choice.type && stored.shape == choice.tensor.shape, "\(stored.name)")
        #expect(stored.byteCount == choice.byteCount, "\(stored.name)")
        let wanted = try expected(choice)
        bytesOfTensor[stored.name] = wanted.bytes
        #expect(try bytes(of: stored) == wanted.bytes, "\(stored.name)")
        #expect((error == nil) == (choice.tensor.copy?.type == choice.type), "\(stored.name)")
        // Sums of doubles in another order.
        let difference = abs((error?.squaredError ?? wanted.squaredError) - wanted.squaredError)
        #expect(difference <= 1e-12 * wanted.squaredError, "\(stored.name)")
      }
      // Each weight as a backend takes it, and so under the right name.
      #expect(Set(copy.weights.map(\.name)) == Set(model.weights.map(\.name)))
      for weight in copy.weights {
        let taken = try copy.bytes(of: copy.weight(weight.name))
        let all = try #require(bytesOfTensor[weight.name.gguf.name])
        let own = unsafe Array(taken.bytes)
        let first = (weight.name.gguf.slice ?? 0) * own.count
        #expect(own == Array(all[first..<(first + own.count)]), "\(weight.name)")
      }
    }
  }

  @Test func `tokens and chat template are those of the source`() throws {
    let model = try open("demo-model")
    let tokenizer = try model.tokenizer()
    let texts =
      try Goldens.load("demo-model").cases.compactMap(\.text)
      + ["", " ", "Füße ▁ 🪜\n\n\tif (x) {}", "<end_of_turn>\n<start_of_turn>model"]
      + stride(from: 0, to: 60_000, by: 3000).map {
        String(CalibrationText.bundled.dropFirst($0).prefix(200))
      }
    let settings = try Data(contentsOf: Goldens.demoModel.appending(path: "tokenizer_config.json"))
    try withFile(model, TensorChoices.uniform(.q4_0, model.ggufTensors)) { copy, _ in
      let own = try copy.tokenizer()
      for text in texts {
        for special in [false, true] {
          let tokens = own.encode(text, addBOS: special, parseSpecial: special)
          #expect(
            tokens == tokenizer.encode(text, addBOS: special, parseSpecial: special),
            "\(text)"
          )
        }
      }
      #expect(try copy.chatTemplate(for: own) == model.chatTemplate(for: tokenizer))
      let template = try #require(try copy.gguf?.string("tokenizer.chat_template"))
      let stored = try JSONSerialization.jsonObject(with: settings) as? [String: Any]
      #expect(stored?["chat_template"] as? String == template)
    }
  }

  @Test(arguments: [
    (TensorType.f32, 0), (.f16, 1), (.q4_0, 2), (.q4_1, 3), (.q8_0, 7), (.q5_0, 8), (.q5_1, 9),
    (.iq4_nl, 25), (.bf16, 32),
    // Rows of 64 and 128 are no blocks of 256: all tensors have the type that this one falls back to.
    (.q6_K, 7), (.q4_K, 8), (.q2_K, 25),
  ])
  func `the file says which type most of it has`(_ type: TensorType, _ number: Int) throws {
    let model = try open("gemma3-random-a")
    try withFile(model, TensorChoices.uniform(type, model.ggufTensors)) { copy, _ in
      let file = try #require(copy.gguf)
      #expect(try file.integer("general.file_type") == number)
      #expect(try file.integer("general.quantization_version") == 2)
      #expect(file.value("quantize.imatrix.file") == nil)
    }
  }

  @Test func `two runs write the same bytes, whatever the number of threads`() throws {
    let model = try open("gemma3n-random-a")
    let choices = TensorChoices.uniform(.q4_0, model.ggufTensors)
    let files = try [1, 2, 5].map { threads in
      try withTemporaryDirectory { directory in
        let path = "\(directory)/m.gguf"
        let file = try QuantizedFile(model, choices, importance: nil, threads: threads)
        _ = try file.write(to: path) { _ in }
        return try Data(contentsOf: URL(filePath: path))
      }
    }
    #expect(files[0] == files[1] && files[0] == files[2])
  }

  @Test(arguments: ["gemma3-random-a", "gemma3n-random-a", "demo-model"])
  func `the file takes its tensors' bytes and at most what is said besides`(_ name: String) throws {
    try withGGUF(of: name, adding: Self.foreignKeys) { source in
      for model in [source, try open(name)] {
        let choices = TensorChoices.uniform(.q4_0, model.ggufTensors)
        try withTemporaryDirectory { directory in
          let path = "\(directory)/m.gguf"
          let file = try QuantizedFile(model, choices, importance: nil, threads: 2)
          _ = try file.write(to: path) { _ in }
          let size = try Data(contentsOf: URL(filePath: path)).count
          #expect(file.byteCount == choices.reduce(0) { $0 + $1.byteCount })
          #expect(size > file.byteCount && size <= file.byteCount + file.overheadByteCount)
        }
      }
    }
  }

  @Test func `progress rises to 1`() throws {
    let model = try open("gemma3-random-a")
    let choices = TensorChoices.uniform(.q8_0, model.ggufTensors)
    var fractions: [Double] = []
    try withTemporaryDirectory { directory in
      let file = try QuantizedFile(model, choices, importance: nil, threads: 1)
      _ = try file.write(to: "\(directory)/m.gguf") { fractions.append($0) }
    }
    #expect(fractions == fractions.sorted() && fractions.last == 1)
    #expect(fractions.count >= choices.count && (fractions.first ?? 0) > 0)
  }

  // MARK: Importance

  /// Importance data of all of a model's tensors, another for each matrix.
  private func importance(
    _ tensors: [ExportedTensor],
    named name: String = "i.gguf",
    dataset: String = "book.txt",
    chunkCount: Int = 7
  ) throws -> Importance {
    var random = SeededRandom(20_261_134)
    var file = ImportanceFile()
    for tensor in tensors where tensor.shape.count >= 2 {
      let matrixCount = tensor.shape.dropLast(2).reduce(1, *)
      file.entries[tensor.name] = .init(
        sums: random.importance(matrixCount * tensor.columnCount),
        counts: Array(repeating: 1, count: matrixCount)
      )
    }
    file.datasets = [dataset]
    file.chunkCount = chunkCount
    return try Importance(file, name: name, for: tensors)
  }

  @Test func `each of stacked matrices is encoded with its own importance`() throws {
    let model = try open("gemma3n-random-a")
    let tensors = model.ggufTensors
    let importance = try importance(tensors)
    // One type for all leaves these alone; a recipe does not, nor does a choice by hand.
    let choices = TensorChoices.uniform(.q4_0, tensors).map { choice in
      choice.tensor.name.hasPrefix("altup_")
        ? TensorChoice(choice.tensor, as: .q4_0, because: "") : choice
    }
    try withFile(model, choices, importance: importance) { copy, errors in
      let file = try #require(copy.gguf)
      var stackCount = 0
      for (choice, (stored, error)) in zip(choices, zip(file.tensors, errors))
      where choice.type == .q4_0 {
        let wanted = try expected(choice, importance)
        #expect(try bytes(of: stored) == wanted.bytes, "\(stored.name)")
        #expect(error?.squaredError == wanted.squaredError, "\(stored.name)")
        guard choice.tensor.shape.count > 2 else { continue }
        stackCount += 1
        #expect(wanted.bytes != (try expected(choice).bytes), "\(stored.name)")
      }
      #expect(stackCount == 2)
      #expect(try file.string("quantize.imatrix.file") == "i.gguf")
      #expect(try file.string("quantize.imatrix.dataset") == "book.txt")
      #expect(try file.integer("quantize.imatrix.entries_count") == importance.count)
      #expect(try file.integer("quantize.imatrix.chunks_count") == 7)
    }
  }

  // MARK: From GGUF to GGUF

  /// Writes a model as bf16, with keys of others and another alignment, and calls the body with what is read.
  private func withGGUF<Result>(
    of name: String,
    adding keys: [(key: String, value: GGUFMetadataValue)],
    _ body: (Checkpoint) throws -> Result
  ) throws -> Result {
    let model = try open(name)
    return try withFile(model, TensorChoices.uniform(.bf16, model.ggufTensors)) { plain, _ in
      let file = try #require(plain.gguf)
      return try withTemporaryDirectory { directory in
        var writer = GGUFWriter()
        writer.metadata = file.metadata + keys
        writer.tensors = try file.tensors.map { try #require(GGUFWriter.Tensor(copying: $0)) }
        try writer.write(to: "\(directory)/source.gguf")
        return try body(try Checkpoint.open("\(directory)/source.gguf"))
      }
    }
  }

  private static let foreignKeys: [(key: String, value: GGUFMetadataValue)] = [
    ("general.alignment", .uint32(256)), ("general.license", .string("gemma")),
    ("somebody.else", .array(of: .int16, [.int16(-3), .int16(7)])), ("somebody.flag", .bool(true)),
  ]

  @Test(arguments: ["gemma3-random-b", "gemma3n-random-a", "gemma4-random-a", "demo-model"])
  func `a GGUF file keeps its other keys and tensors as they are`(_ name: String) throws {
    try withGGUF(of: name, adding: Self.foreignKeys) { source in
      let original = try #require(source.gguf)
      let choices = TensorChoices.uniform(.q8_0, source.ggufTensors)
      try withFile(source, choices) { copy, errors in
        #expect(copy.config == source.config)
        let file = try #require(copy.gguf)
        let types: Set = ["general.file_type", "general.quantization_version"]
        let kept = original.metadata.filter { !types.contains($0.key) }
        let found = file.metadata.filter { !types.contains($0.key) }
        #expect(found.map(\.key) == kept.map(\.key))
        #expect(found.map(\.value) == kept.map(\.value))
        var copied = 0
        for (index, (before, after)) in zip(original.tensors, file.tensors).enumerated() {
          #expect(after.name == before.name && after.shape == before.shape)
          guard choices[index].type == before.type else { continue }
          copied += 1
          #expect(try bytes(of: after) == bytes(of: before), "\(after.name)")
          #expect(errors[index] == nil)
        }
        #expect(copied > 0 && copied < file.tensors.count)
        #expect(file.alignment == 256)
        #expect(file.tensors.allSatisfy { $0.offset.isMultiple(of: 256) })
      }
      // With the types that it has it stays the same.
      try withFile(source, TensorChoices.uniform(.bf16, source.ggufTensors)) { copy, _ in
        let file = try #require(copy.gguf)
        for (before, after) in zip(original.tensors, file.tensors)
        where before.type == after.type {
          #expect(try bytes(of: after) == bytes(of: before), "\(after.name)")
        }
      }
    }
  }

  @Test func `tensors of a new file begin at multiples of 32`() throws {
    let model = try open("gemma4-random-b")
    try withFile(model, TensorChoices.uniform(.q4_0, model.ggufTensors)) { copy, _ in
      let file = try #require(copy.gguf)
      #expect(file.alignment == 32 && file.tensors.allSatisfy { $0.offset.isMultiple(of: 32) })
    }
  }

  @Test func `a file that was made with importance can be made again with other importance`() throws
  {
    let model = try open("gemma3-random-a")
    let importance = try importance(model.ggufTensors)
    try withFile(model, TensorChoices.uniform(.f16, model.ggufTensors), importance: importance) {
      first,
      _ in
      let tensors = first.ggufTensors
      let other = try self.importance(
        Array(tensors.prefix { !$0.name.hasPrefix("blk.2.") }),
        named: "j.gguf",
        dataset: "poem.txt",
        chunkCount: 3
      )
      #expect(other.count < importance.count)
      try withFile(first, TensorChoices.uniform(.q8_0, tensors), importance: other) { second, _ in
        let file = try #require(second.gguf)
        #expect(try file.string("quantize.imatrix.file") == "j.gguf")
        #expect(try file.string("quantize.imatrix.dataset") == "poem.txt")
        #expect(try file.integer("quantize.imatrix.entries_count") == other.count)
        #expect(try file.integer("quantize.imatrix.chunks_count") == 3)
      }
    }
  }

  // MARK: What goes wrong

  private struct Stop: Error {}

  @Test(arguments: [false, true]) func `an end midway leaves what was there, and nothing else`(
    _ wasThere: Bool
  ) throws {
    let model = try open("gemma3-random-a")
    let choices = TensorChoices.uniform(.q8_0, model.ggufTensors)
    for end in [0, 0.5, 1] {
      try withTemporaryDirectory { directory in
        let path = "\(directory)/m.gguf"
        let before = Data("what was there".utf8)
        if wasThere { try before.write(to: URL(filePath: path)) }
        let file = try QuantizedFile(model, choices, importance: nil, threads: 2)
        #expect(throws: Stop.self, "\(end)") {
          try file.write(to: path) { if $0 >= end { throw Stop() } }
        }
        let left = try FileManager.default.contentsOfDirectory(atPath: directory)
        #expect(left == (wasThere ? ["m.gguf"] : []), "\(end)")
        if wasThere { #expect(try Data(contentsOf: URL(filePath: path)) == before) }
      }
    }
  }

  @Test func `a weight that is no number is named, and nothing is written`() throws {
    try withGGUF(of: "gemma3-random-a", adding: []) { source in
      let original = try #require(source.gguf)
      try withTemporaryDirectory { directory in
        var writer = GGUFWriter()
        writer.metadata = original.metadata
        writer.tensors = try original.tensors.map { tensor in
          guard tensor.name == "blk.3.ffn_up.weight" else {
            return try #require(GGUFWriter.Tensor(copying: tensor))
          }
          var content = try bytes(of: tensor)
          // Row 2, column 5 of bf16.
          let place = 2 * (2 * tensor.columnCount + 5)
          content.replaceSubrange(place..<(place + 2), with: littleEndian(UInt16.nanOfBFloat16))
          let changed = content
          return GGUFWriter.Tensor(tensor.name, shape: tensor.shape, type: GGUFTensorType(.bf16)) {
            try $0.append(changed)
          }
        }
        try writer.write(to: "\(directory)/source.gguf")
        let faulty = try Checkpoint.open("\(directory)/source.gguf")
        let choices = TensorChoices.uniform(.q4_0, faulty.ggufTensors)
        let file = try QuantizedFile(faulty, choices, importance: nil, threads: 2)
        let error = #expect(throws: QuantizationError.self) {
          try file.write(to: "\(directory)/m.gguf") { _ in }
        }
        #expect(
          error?.description
            == "quantization.values: blk.3.ffn_up.weight: row 2, column 5 is NaN, which cannot be quantised"
        )
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["source.gguf"])
      }
    }
  }
}
