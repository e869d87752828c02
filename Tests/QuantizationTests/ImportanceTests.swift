// Importance data that meets a model's tensors: what fits, what is refused, and which matrix gets which part.

import Compute
import Foundation
import Gemma
import ModelFiles
import Quantization
import TestSupport
import Testing

@Suite struct `Importance of columns` {
  private func tensors(_ name: String) throws -> [ExportedTensor] {
    try Checkpoint.open(Goldens.checkpoint(name).path).ggufTensors
  }

  /// Data of one entry, whose means are 0, 1, 2 and so on.
  private func file(_ name: String, columns: Int, matrices: Int = 1) -> ImportanceFile {
    var file = ImportanceFile()
    file.entries[name] = .init(
      sums: (0..<(columns * matrices)).map { Float($0 * 4) },
      counts: Array(repeating: 4, count: matrices)
    )
    return file
  }

  @Test func `columns have the means of their tensor's entry`() throws {
    let tensors = try tensors("gemma3-random-a")
    var data = file("blk.2.ffn_down.weight", columns: 128)
    data.datasets = ["a.txt", "b.txt"]
    data.chunkCount = 5
    let importance = try Importance(data, name: "i.gguf", for: tensors)
    #expect(importance.count == 1 && importance.name == "i.gguf")
    #expect(importance.dataset == "a.txt, b.txt" && importance.chunkCount == 5)
    for tensor in tensors {
      let columns = importance.columns(of: tensor)
      guard tensor.name == "blk.2.ffn_down.weight" else {
        #expect(columns == nil, "\(tensor.name)")
        continue
      }
      #expect(columns == (0..<128).map { Float($0) })
    }
  }

  @Test func `each of stacked matrices has means of its own`() throws {
    let tensors = try tensors("gemma3n-random-a")
    let stack = try #require(tensors.first { $0.name == "altup_proj.weight" })
    #expect(stack.shape == [3, 64, 64])
    let importance = try Importance(
      file(stack.name, columns: 64, matrices: 3),
      name: "i",
      for: tensors
    )
    for matrix in 0..<3 {
      let wanted = ((matrix * 64)..<((matrix + 1) * 64)).map { Float($0) }
      #expect(importance.columns(of: stack, matrix: matrix) == wanted)
    }
  }

  private func expectRefusal(
    _ data: ImportanceFile,
    _ tensors: [ExportedTensor],
    _ words: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: QuantizationError.self, sourceLocation: sourceLocation) {
      try Importance(data, name: "i.gguf", for: tensors)
    }
    #expect(error?.code == .importance, sourceLocation: sourceLocation)
    #expect(
      error?.description.hasPrefix("quantization.importance: i.gguf: \(words)") == true,
      "\(error?.description ?? "")",
      sourceLocation: sourceLocation
    )
  }

  @Test func `data of another size is refused with both sizes`() throws {
    let tensors = try tensors("gemma3-random-a")
    for count in [1, 64, 127, 129, 256] {
      expectRefusal(
        file("blk.2.ffn_down.weight", columns: count),
        tensors,
        "blk.2.ffn_down.weight has \(count) values, but that tensor of the model has 128 columns; give data of this model"
      )
    }
    // Also where another entry fits, and where a stack has data of one matrix.
    var data = file("blk.2.ffn_down.weight", columns: 128)
    data.entries["blk.0.attn_q.weight"] = .init(sums: [1, 2], counts: [1])
    expectRefusal(
      data,
      tensors,
      "blk.0.attn_q.weight has 2 values, but that tensor of the model has 64 columns;"
    )
    let stacked = try self.tensors("gemma3n-random-a")
    expectRefusal(
      file("altup_proj.weight", columns: 64),
      stacked,
      "altup_proj.weight has 64 values, but the 3 matrices of that tensor of the model have 192 columns;"
    )
  }

  @Test func `data without any of the model's tensors is refused`() throws {
    let tensors = try tensors("gemma3-random-a")
    var data = file("blk.99.ffn_down.weight", columns: 128)
    data.entries["model.layers.0.mlp.down_proj"] = .init(sums: [1], counts: [1])
    expectRefusal(data, tensors, "none of its 2 entries is one of the model's tensors")
    // One is enough.
    data.entries["blk.0.attn_q.weight"] = .init(sums: Array(repeating: 1, count: 64), counts: [1])
    #expect(try Importance(data, name: "i", for: tensors).count == 1)
  }

  @Test func `a matrix that met no row weighs all columns alike`() throws {
    let tensors = try tensors("gemma3-random-a")
    var data = file("blk.2.ffn_down.weight", columns: 128)
    data.entries["blk.2.ffn_down.weight"]?.counts = [0]
    let tensor = try #require(tensors.first { $0.name == "blk.2.ffn_down.weight" })
    let columns = try Importance(data, name: "i", for: tensors).columns(of: tensor)
    #expect(columns == Array(repeating: 1, count: 128))
  }
}
