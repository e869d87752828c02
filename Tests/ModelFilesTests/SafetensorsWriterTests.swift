// What the safetensors writer writes: read back, copied from the demo model, and what it refuses.

import Compute
import Foundation
import ModelFiles
import TestSupport
import Testing

@Suite struct `Safetensors writer` {
  private static let seed: UInt64 = 20_261_130

  private func contents(_ tensor: StoredTensor) throws -> [UInt8] {
    try tensor.file.read(offset: tensor.offset, count: tensor.byteCount)
  }

  @Test(.seeded(default: seed)) func `random metadata and tensors come back equal`() throws {
    var random = SeededRandom(testSeed(default: Self.seed))
    let widths = [("F32", 4), ("F16", 2), ("BF16", 2), ("I64", 8), ("U8", 1), ("BOOL", 1)]
    for _ in 0..<fuzzIterations(default: 60) {
      var writer = SafetensorsWriter()
      writer.metadata = ["format": "pt", "\"quotes\" \\ \n\u{1}": "Füße \t🪜"]
      var expected: [String: [UInt8]] = [:]
      for index in 0..<Int.random(in: 0...8, using: &random) {
        let (type, width) = widths.randomElement(using: &random) ?? widths[0]
        let shape = (0..<Int.random(in: 0...3, using: &random)).map { _ in
          Int.random(in: 1...5, using: &random)
        }
        let bytes = random.bytes(shape.reduce(1, *) * width)
        let name = "layer \"\(index)\" ü"
        expected[name] = bytes
        writer.tensors.append(
          SafetensorsWriter.Tensor(name, shape: shape, type: type) { sink in
            for byte in bytes { try sink.append([byte]) }
          }
        )
      }
      try withTemporaryDirectory { directory in
        let path = "\(directory)/model.safetensors"
        try writer.write(to: path)
        let file = try SafetensorsFile.open(path)
        #expect(file.metadata == writer.metadata)
        #expect(file.tensors.count == writer.tensors.count)
        for tensor in file.tensors {
          let wanted = try #require(writer.tensors.first { $0.name == tensor.name })
          #expect(tensor.shape == wanted.shape && tensor.typeName == wanted.type)
          #expect(try contents(tensor) == expected[tensor.name])
          let width = widths.first { $0.0 == tensor.typeName }?.1 ?? 0
          #expect(tensor.offset.isMultiple(of: width), "\(tensor.name) at \(tensor.offset)")
        }
      }
    }
  }

  @Test func `the demo model written again has the same tensors and metadata`() throws {
    let source = try SafetensorsFile.open(
      Goldens.demoModel.appending(path: "model.safetensors").path
    )
    var writer = SafetensorsWriter()
    writer.metadata = source.metadata
    writer.tensors = source.tensors.map { SafetensorsWriter.Tensor(copying: $0) }
    try withTemporaryDirectory { directory in
      let path = "\(directory)/model.safetensors"
      try writer.write(to: path)
      let copy = try SafetensorsFile.open(path)
      #expect(copy.metadata == source.metadata && copy.tensors.count == source.tensors.count)
      for (one, other) in zip(copy.tensors, source.tensors) {
        #expect(one.name == other.name && one.shape == other.shape && one.type == other.type)
        #expect(try contents(one) == contents(other), "\(one.name)")
      }
    }
  }

  @Test func `what the reader would refuse is refused before a byte is written`() throws {
    func refuse(
      _ code: ModelFilesError.Code,
      _ words: String,
      _ change: (inout SafetensorsWriter) -> Void
    ) throws {
      try withTemporaryDirectory { directory in
        var writer = SafetensorsWriter()
        writer.tensors = [
          SafetensorsWriter.Tensor("a", shape: [2], type: "F32") {
            try $0.append([UInt8](repeating: 0, count: 8))
          }
        ]
        change(&writer)
        expectRefusal(code, words, directory) { try writer.write(to: "\(directory)/m.safetensors") }
        let left = try FileManager.default.contentsOfDirectory(atPath: directory)
        #expect(left.isEmpty)
      }
    }
    try refuse(.tensor, "tensor a stands twice") { $0.tensors.append($0.tensors[0]) }
    try refuse(.tensor, "name of the metadata") { $0.tensors[0].name = "__metadata__" }
    try refuse(.unsupported, "has type Q4_0; safetensors knows BF16") {
      $0.tensors[0].type = "Q4_0"
    }
    for shape in [[-1], [Int.max, 2], Array(repeating: 1, count: 17)] {
      try refuse(.tensor, "tensor a has shape") { $0.tensors[0].shape = shape }
    }
    try refuse(.tensor, "8 bytes by its shape and type, but 4 were") {
      $0.tensors[0].content = { try $0.append([1, 2, 3, 4]) }
    }
    try refuse(.config, "a header of") {
      $0.metadata["x"] = String(repeating: "x", count: 17 << 20)
    }
  }
}
