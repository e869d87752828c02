// Opening models of both formats: names, shapes, bytes, and what is refused.

import Compute
import Content
import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Model on disk` {
  /// Returns the weight name that a canonical spelling means.
  private func name(_ canonical: String, of checkpoint: Checkpoint) throws -> WeightName {
    try #require(checkpoint.weights.first { $0.name.canonical == canonical }?.name, "\(canonical)")
  }

  /// So a backend knows what it has prepared before.
  @Test func `bytes that somebody holds are at the same address for the next, and then let go`()
    throws
  {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
    let weight = try #require(checkpoint.weights.first { $0.tensor.rowCount > 8 })
    let all = try checkpoint.weight(weight.name)
    let half = try checkpoint.weight(weight.name, rows: 0..<4)
    var first: WeightBytes? = try checkpoint.bytes(of: all)
    weak let held = first
    #expect(try checkpoint.bytes(of: all) === first)
    #expect(try checkpoint.bytes(of: half) !== first)
    first = nil
    #expect(held == nil)
  }

  /// Expects every weight of the tiny model, with its shape, type and bytes, and no other.
  private func expectWeights(
    _ checkpoint: Checkpoint,
    of model: TinyModel,
    without unused: [String] = [],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let used = model.weights.filter { !unused.contains($0.canonical) }
    #expect(
      Set(checkpoint.weights.map(\.name.canonical)) == Set(used.map(\.canonical)),
      sourceLocation: sourceLocation
    )
    #expect(checkpoint.weights.count == used.count, sourceLocation: sourceLocation)
    for weight in used {
      let type = checkpoint.format == .gguf ? weight.type : weight.safetensorsType
      let ref = try checkpoint.weight(name(weight.canonical, of: checkpoint))
      #expect(ref.name == weight.canonical)
      #expect(ref.rows == 0..<weight.shape.dropLast().reduce(1, *), "\(weight.canonical)")
      #expect(ref.columns == weight.shape.last, "\(weight.canonical)")
      #expect(ref.type.rawValue.uppercased() == type, "\(weight.canonical)")
      #expect(try contents(checkpoint, ref) == weight.bytes(type), "\(weight.canonical)")
    }
  }

  private let sharing = [2, 3].flatMap { layer in
    ["k_proj", "v_proj", "k_norm"].map { "layers.\(layer).self_attn.\($0)" }
  }

  @Test func `a Gemma 3 GGUF file gives every weight under its canonical name`() throws {
    let checkpoint = try openModel(TinyModel.gemma3.gguf)
    #expect(checkpoint.format == .gguf && checkpoint.name == "Tiny 3")
    try expectWeights(checkpoint, of: .gemma3)
    #expect(checkpoint.ignoredTensors.isEmpty && checkpoint.gguf != nil)
  }

  @Test func `a Gemma 3n GGUF file gives stacked matrices one by one, without unused keys`() throws
  {
    let checkpoint = try openModel(TinyModel.gemma3n.gguf)
    try expectWeights(checkpoint, of: .gemma3n, without: sharing)
    #expect(
      checkpoint.ignoredTensors.map(\.name).sorted() == [
        "blk.2.attn_k.weight", "blk.2.attn_k_norm.weight", "blk.2.attn_v.weight",
        "blk.3.attn_k.weight", "blk.3.attn_k_norm.weight", "blk.3.attn_v.weight",
      ]
    )
  }

  @Test func `a Gemma 3 directory gives every weight`() throws {
    let checkpoint = try openModel(TinyModel.gemma3)
    #expect(checkpoint.format == .huggingFace && checkpoint.gguf == nil)
    try expectWeights(checkpoint, of: .gemma3)
  }

  @Test(arguments: ["model.language_model.", "language_model.model.", "model.", ""])
  func `every known prefix is taken off`(prefix: String) throws {
    var model = TinyModel.gemma3n
    model.prefix = prefix
    try expectWeights(openModel(model), of: .gemma3n, without: sharing)
  }

  @Test func `keys of sharing layers may be absent`() throws {
    var model = TinyModel.gemma3n
    model.weights.removeAll { sharing.contains($0.canonical) }
    try expectWeights(openModel(model), of: model)
    try expectWeights(openModel(model.gguf), of: model)
  }

  @Test func `rows of a weight are its rows, and may be asked for at any offset`() throws {
    let checkpoint = try openModel(TinyModel.gemma3.gguf)
    let weight = TinyModel.gemma3.weight("layers.1.mlp.gate_proj")
    let rowByteCount = 18  // 32 columns of Q4_0
    for rows in [0..<1, 1..<2, 63..<64, 5..<40, 0..<64, 7..<7] {
      let ref = try checkpoint.weight(.layer(1, .gate), rows: rows)
      #expect(ref.rows == rows && ref.columns == 32 && ref.type == .q4_0)
      let expected = weight.ggufBytes[
        (rows.lowerBound * rowByteCount)..<(rows.upperBound * rowByteCount)
      ]
      #expect(try contents(checkpoint, ref) == Array(expected), "\(rows)")
    }
    for rows in [-1..<2, 0..<65, 64..<65, Int.max..<Int.max, Int.min..<0] {
      expectRefusal(.tensor, "layers.1.mlp.gate_proj", "64 rows") {
        _ = try checkpoint.weight(.layer(1, .gate), rows: rows)
      }
      let ref = WeightRef(name: "layers.1.mlp.gate_proj", rows: rows, columns: 32, type: .q4_0)
      expectRefusal(.tensor, "layers.1.mlp.gate_proj", "64 rows") {
        _ = try checkpoint.bytes(of: ref)
      }
    }
  }

  @Test func `a reference with other columns, type or name is refused`() throws {
    let checkpoint = try openModel(TinyModel.gemma3.gguf)
    let right = try checkpoint.weight(.model(.norm))
    var wrong = right
    wrong.columns = 31
    expectRefusal(.tensor, "norm has 32 columns", "31") { _ = try checkpoint.bytes(of: wrong) }
    wrong = right
    wrong.type = .f16
    expectRefusal(.tensor, "f32", "f16") { _ = try checkpoint.bytes(of: wrong) }
    wrong = right
    wrong.name = "nrom"
    expectRefusal(.tensor, "no weight nrom") { _ = try checkpoint.bytes(of: wrong) }
  }

  @Test func `weights the model does not have are absent`() throws {
    let checkpoint = try openModel(TinyModel.gemma3n.gguf)
    #expect(checkpoint.has(.layer(1, .key)) && !checkpoint.has(.layer(2, .key)))
    #expect(!checkpoint.has(.layer(4, .query)) && !checkpoint.has(.model(.altupProjection(2))))
    expectRefusal(.tensor, "layers.2.self_attn.k_proj") {
      _ = try checkpoint.weight(.layer(2, .key))
    }
  }

  @Test func `bytes outlive the checkpoint`() throws {
    let bytes = try openModel(TinyModel.gemma3.gguf).bytes(
      of: WeightRef(name: "norm", rows: 0..<1, columns: 32, type: .f32)
    )
    #expect(unsafe bytes.bytes.elementsEqual(TinyModel.gemma3.weight("norm").ggufBytes))
  }

  @Test func `weights at odd addresses of a safetensors file are handed out aligned`() throws {
    let model = TinyModel.gemma3
    for padding in ["", " ", "  ", "   "] {
      var builder = model.safetensors
      builder.padding = padding
      try withTemporaryDirectory { directory in
        try model.writeConfig(to: directory)
        try builder.write(to: "\(directory)/model.safetensors")
        let checkpoint = try Checkpoint.open(directory)
        try expectWeights(checkpoint, of: model)
        for weight in checkpoint.weights {
          let bytes = try checkpoint.bytes(of: checkpoint.weight(weight.name))
          let address = unsafe UInt(bitPattern: bytes.bytes.baseAddress)
          #expect(address % (weight.type == .f32 ? 4 : 2) == 0, "\(weight.name.canonical)")
        }
      }
    }
  }

  // MARK: Refusals

  @Test(arguments: TinyModel.gemma3n.gguf.tensors.map(\.name))
  func `a GGUF file without a tensor is refused by its name, unless nobody needs it`(
    tensor: String
  ) throws {
    var builder = TinyModel.gemma3n.gguf
    builder.tensors.removeAll { $0.name == tensor }
    // Whether the active stream is scaled is read from the first layer's tensor.
    let isUnused =
      tensor.contains("blk.2.attn_k") || tensor.contains("blk.2.attn_v")
      || tensor.contains("blk.3.attn_k") || tensor.contains("blk.3.attn_v")
      || tensor == "blk.0.altup_correct_scale.weight"
    if isUnused {
      _ = try openModel(builder)
    } else {
      expectRefusal(.tensor, "tensor \(tensor) is missing") { _ = try openModel(builder) }
    }
  }

  @Test(arguments: TinyModel.gemma3n.weights.map(\.canonical))
  func `a directory without a tensor is refused by its name, unless nobody needs it`(
    tensor: String
  ) throws {
    var model = TinyModel.gemma3n
    model.weights.removeAll { $0.canonical == tensor }
    if sharing.contains(tensor) {
      _ = try openModel(model)
    } else {
      expectRefusal(.tensor, "tensor \(tensor) is missing") { _ = try openModel(model) }
    }
  }

  @Test(arguments: TinyModel.gemma3.weights.map(\.canonical))
  func `a tensor of another shape is refused with both shapes`(tensor: String) throws {
    var model = TinyModel.gemma3
    let index = try #require(model.weights.firstIndex { $0.canonical == tensor })
    let right = model.weights[index].shape
    // A row more; a dimension of 1 outside; rows and columns exchanged.
    for shape in [[right[0] + 32] + right.dropFirst(), [1] + right, right.reversed() + [1]] {
      model.weights[index].shape = shape
      expectRefusal(.tensor, tensor, "\(shape)", "\(right)") { _ = try openModel(model) }
    }
  }

  @Test func `a stack of too few matrices is refused`() throws {
    var builder = TinyModel.gemma3n.gguf
    builder.change("altup_proj.weight") {
      $0.dimensions[2] = 1
      $0.bytes.removeLast($0.bytes.count / 2)
    }
    expectRefusal(.tensor, "altup_proj.weight", "[1, 32, 32]", "[2, 32, 32]") {
      _ = try openModel(builder)
    }
  }

  @Test func `an unsupported type is refused by name where it is needed`() throws {
    var builder = TinyModel.gemma3.gguf
    builder.change("blk.1.ffn_up.weight") { $0.type = 39 }  // MXFP4, blocks of 32 too
    expectRefusal(.unsupported, "blk.1.ffn_up.weight", "MXFP4", "Q4_0", "IQ4_XS") {
      _ = try openModel(builder)
    }
    builder = TinyModel.gemma3n.gguf
    builder.change("blk.3.attn_k.weight") { $0.type = 39 }
    _ = try openModel(builder)
  }

  @Test func `one weight under two names is refused`() throws {
    let model = TinyModel.gemma3
    var builder = model.safetensors
    var twin = builder.tensors[1]
    twin.name = "language_model.model.norm.weight"
    builder.tensors.append(twin)
    try withTemporaryDirectory { directory in
      try model.writeConfig(to: directory)
      try builder.write(to: "\(directory)/model.safetensors")
      expectRefusal(.tensor, "language_model.model.norm.weight and model.norm.weight") {
        _ = try Checkpoint.open(directory)
      }
    }
  }

  @Test func `a path that is nothing is refused by name`() {
    expectRefusal(.file, "no/such/model", "No such file") {
      _ = try Checkpoint.open("no/such/model")
    }
  }

  // MARK: The document

  @Test func `docs MODEL.md names every weight in both spellings, on one row`() throws {
    let document = try String(
      contentsOf: Goldens.checkout.appending(path: "docs/MODEL.md"),
      encoding: .utf8
    )
    var rows: Set<String> = []
    for line in document.split(separator: "\n") where line.hasPrefix("| `") {
      let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      if cells.count >= 3 { rows.insert("\(cells[0]) \(cells[1])") }
    }
    for weight in TinyModel.gemma3n.weights where !weight.gguf.isEmpty {
      var (canonical, gguf) = (weight.canonical, weight.gguf)
      canonical.replace(/^layers\.\d\./, with: "")
      gguf.replace(/^blk\.\d\.|\.weight$/, with: "")
      #expect(rows.contains("`\(canonical)` `\(gguf)`"), "\(canonical), \(gguf)")
    }
  }

  // MARK: Fingerprint

  @Test func `the fingerprint is the same for the same model and another for every other`() throws {
    let original = TinyModel.gemma3.gguf
    let fingerprint = try openModel(original).fingerprint()
    #expect(try openModel(original).fingerprint() == fingerprint)

    var changed = original
    changed["general.name"] = .string("Another name")
    changed.tensors.reverse()
    #expect(try openModel(changed).fingerprint() == fingerprint)

    changed = original
    changed["gemma3.rope.freq_base"] = .float32(500_001)
    #expect(try openModel(changed).fingerprint() != fingerprint)

    var seen: Set<Digest> = [fingerprint]
    for tensor in original.tensors {
      // Bytes that nobody would look at who only takes samples.
      let size = tensor.bytes.count
      for place in Set([0, size / 7, size / 3, size / 2, size - 70, size - 1]) where place >= 0 {
        changed = original
        changed.change(tensor.name) { $0.bytes[place] ^= 1 }
        #expect(
          try seen.insert(openModel(changed).fingerprint()).inserted,
          "\(tensor.name) \(place)"
        )
      }
    }
  }

  // MARK: The golden checkpoints

  @Test(arguments: Goldens.random + ["demo-model"])
  func `a golden checkpoint opens and every weight can be read`(name: String) throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    for weight in checkpoint.weights {
      #expect(try contents(checkpoint, weight.name).count == weight.tensor.byteCount)
    }
    #expect(checkpoint.totalByteCount == checkpoint.weights.reduce(0) { $0 + $1.tensor.byteCount })
    // Some have towers, and keys and values in the sharing layers.
    let ignored = checkpoint.ignoredTensors.map(\.name)
    switch name {
    case "gemma3n-random-c":
      #expect(ignored.count == 34)
      #expect(ignored.filter { $0.contains("self_attn") }.count == 30)
    case "gemma4-random-a":
      // Three tensors in each of the four sharing layers; shapes without dimensions in the towers.
      #expect(ignored.filter { $0.contains("language_model") }.count == 12)
      #expect(checkpoint.ignoredTensors.contains { $0.shape.isEmpty })
    case "gemma3-random-b": #expect(ignored.allSatisfy { !$0.contains("language_model.model") })
    case "gemma4-random-c": #expect(ignored.allSatisfy { $0.contains("vision") })
    default: #expect(ignored.isEmpty)
    }
  }
}
