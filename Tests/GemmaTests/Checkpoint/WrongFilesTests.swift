// What people give instead of a model is called what it is, with what to do.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Wrong files` {
  private static let pointer =
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d4d\nsize 12351224\n"
  private static let page = "<!DOCTYPE html><html><title>Access to model is restricted</title>"

  private func refuse(
    _ bytes: [UInt8],
    _ words: [String],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try withTemporaryModel(bytes) { path in
      for word in words + [path] {
        expectRefusal(.format, word, sourceLocation: sourceLocation) {
          _ = try Checkpoint.open(path)
        }
      }
    }
  }

  @Test func `a file that is no GGUF file is called what it is`() throws {
    try refuse(Array(Self.pointer.utf8), ["Git LFS", "git lfs pull"])
    try refuse(Array(Self.page.utf8), ["web page", "fetch the file again"])
    try refuse(Array("\n  <html>".utf8), ["web page"])
    try refuse(Array("PK\u{3}\u{4}xxxx".utf8), ["PyTorch"])
    try refuse([0x1F, 0x8B, 8, 0], ["compressed"])
    try refuse(Array("lmgg".utf8) + [0, 0, 0, 0], ["before GGUF"])
    try refuse(Array("{\"a\": 1}".utf8), ["JSON", "directory"])
    try refuse(TinyModel.gemma3.safetensors.bytes, ["safetensors", "directory"])
    try refuse([UInt8](repeating: 0, count: 600), ["zeros", "fetch it again"])
    try refuse([1, 2, 3, 4, 5], ["begins with bytes [1, 2, 3, 4]"])
    try refuse([1], ["begins with bytes [1]"])
  }

  @Test func `a GGUF file that ends too early is said to`() throws {
    let bytes = TinyModel.gemma3.gguf.bytes
    for count in [6, 40, 300, bytes.count - 1, bytes.count / 2] {
      try refuse(Array(bytes[..<count]), ["cut short"])
    }
  }

  private func directory(
    _ files: [String: String],
    model: TinyModel? = nil,
    _ code: GemmaError.Code,
    _ words: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try withTemporaryDirectory { directory in
      try model?.write(to: directory)
      for (name, text) in files { try Array(text.utf8).write(to: "\(directory)/\(name)") }
      for word in words + [directory] {
        expectRefusal(code, word, sourceLocation: sourceLocation) {
          _ = try Checkpoint.open(directory)
        }
      }
    }
  }

  @Test func `files of a directory that are none are called what they are`() throws {
    let model = TinyModel.gemma3
    let weights = "model.safetensors"
    try directory([weights: Self.pointer], model: model, .format, "Git LFS", weights)
    try directory([weights: Self.page], model: model, .format, "web page", weights)
    try directory(["config.json": Self.page], model: model, .format, "web page", "config.json")
    try directory(["config.json": Self.pointer], model: model, .format, "Git LFS", "config.json")
    try directory([weights: "GGUF\u{3}\0\0\0"], model: model, .format, "a GGUF file", weights)
  }

  @Test func `a directory without a model is told what it holds`() throws {
    try directory([:], .file, "no config.json and no .gguf")
    let adapter = ["adapter_config.json": "{}", "adapter_model.safetensors": "x"]
    try directory(adapter, .unsupported, "LoRA", "merge")
    try directory(["pytorch_model.bin": "x"], .unsupported, "PyTorch")
    try directory(["x.safetensors.incomplete": "x"], .file, "has not finished")
    try directory(["a.gguf": "x", "b.gguf": "x"], .file, "several", "a.gguf, b.gguf")
    try directory(["a-00002-of-00003.gguf": "x"], .file, "a-00002-of-00003.gguf", "first part")
    let config = "{\"model_type\": \"gemma3_text\"}"
    try directory(["config.json": config, "pytorch_model.bin": "x"], .file, "PyTorch")
    try directory(["config.json": config, "m.gguf": "x"], .file, "m.gguf")
    try directory(
      ["config.json": config, "adapter_config.json": "{}", "adapter_model.safetensors": "x"],
      .unsupported,
      "LoRA"
    )
    try directory(
      ["config.json": config, "model.safetensors.incomplete": "x"],
      .file,
      "has not finished"
    )
  }

  @Test func `a directory that holds one GGUF file is that model`() throws {
    try withTemporaryDirectory { directory in
      try TinyModel.gemma3.gguf.bytes.write(to: "\(directory)/tiny.gguf")
      let checkpoint = try Checkpoint.open(directory)
      #expect(checkpoint.path == "\(directory)/tiny.gguf" && checkpoint.format == .gguf)
    }
  }

  @Test func `one file of a directory is told to be one`() throws {
    try withTemporaryDirectory { directory in
      for name in ["config.json", "tokenizer.json", "model.safetensors", "tokenizer.model"] {
        try Array("{}".utf8).write(to: "\(directory)/\(name)")
        expectRefusal(.unsupported, "give the directory", name) {
          _ = try Checkpoint.open("\(directory)/\(name)")
        }
      }
    }
  }

  @Test func `what is not there is told by what it looks like`() throws {
    func refuse(_ path: String, _ words: String...) {
      for word in words + [path] {
        expectRefusal(.file, word) { _ = try Checkpoint.open(path) }
        expectRefusal(.file, word) { _ = try Tokenizer.load(for: path) }
      }
    }
    refuse("google/gemma-3-270m-it", "Hugging Face", "`trestle pull google/gemma-3-270m-it`")
    refuse("https://huggingface.co/google/gemma-3-270m-it", "address", "`trestle pull ORG/NAME`")
    refuse("/no/such/model.gguf", "No such file")
    refuse("./gemma/model", "No such file")
    try withTemporaryDirectory { directory in
      for suffix in [".part", ".crdownload", ".incomplete", ".trestle-part"] {
        let path = "\(directory)/m\(suffix).gguf"
        try Array("x".utf8).write(to: path + suffix)
        refuse(path, path + suffix, "has not finished")
        expectRefusal(.file, "has not finished") { _ = try Checkpoint.open(path + suffix) }
      }
    }
  }

  @Test func `weights in the formats of other quantisers are named`() throws {
    let model = TinyModel.gemma3
    func refuse(_ key: String, _ value: any Sendable, _ words: String...) {
      var model = model
      model.config[key] = value
      for word in words + ["F16", "GGUF"] {
        expectRefusal(.unsupported, word) { _ = try openModel(model) }
      }
    }
    refuse(
      "quantization_config",
      ["quant_method": "gptq", "bits": 4] as [String: any Sendable],
      "gptq"
    )
    refuse("quantization", ["bits": 4, "group_size": 64], "MLX", "4 bits")
    try directory(["quantize_config.json": "{}"], model: model, .unsupported, "GPTQ")
    try directory(["quant_config.json": "{}"], model: model, .unsupported, "AWQ")
    for ending in [".qweight", ".weight_packed", ".weight.absmax"] {
      var builder = model.safetensors
      let name = "model.layers.0.mlp.up_proj\(ending)"
      builder.tensors.append(.init(name: name, type: "I32", shape: [1], bytes: [0, 0, 0, 0]))
      try withTemporaryDirectory { directory in
        try model.writeConfig(to: directory)
        try builder.write(to: "\(directory)/model.safetensors")
        expectRefusal(.unsupported, name, "quantised") { _ = try Checkpoint.open(directory) }
      }
    }
  }

  @Test(arguments: [
    ("general.type", "adapter", "LoRA"), ("general.type", "imatrix", "importance matrix"),
    ("general.type", "mmproj", "projector"), ("general.architecture", "clip", "projector"),
    ("adapter.type", "lora", "LoRA"), ("general.type", "controlvector", "controlvector"),
  ])
  func `a GGUF file of another kind is called what it is`(
    key: String,
    value: String,
    word: String
  ) {
    var file = GGUFBuilder()
    file["general.architecture"] = .string("gemma3")
    file[key] = .string(value)
    file.tensors = [
      .init(name: "a", dimensions: [8], type: 0, bytes: .init(repeating: 0, count: 32))
    ]
    expectRefusal(.unsupported, word) { _ = try openModel(file) }
  }

  @Test func `a vocabulary without weights is one, and tokenizes`() throws {
    let small = TokenizerGolden.directory.appending(path: "small.gguf").path
    expectRefusal(.unsupported, "vocabulary and no weights") { _ = try Checkpoint.open(small) }
    #expect(try Tokenizer.load(for: small).vocabularySize > 0)
  }

  @Test func `a directory with tokenizer model alone is told what is missing`() throws {
    try withTemporaryDirectory { directory in
      expectRefusal(.tokenizer, "no tokenizer.json") { _ = try Tokenizer.load(for: directory) }
      try Array("x".utf8).write(to: "\(directory)/tokenizer.model")
      expectRefusal(.tokenizer, "tokenizer.model, which is not read", "AutoTokenizer") {
        _ = try Tokenizer.load(for: directory)
      }
    }
  }

  @Test(.seeded(default: 20_261_129))
  func `random beginnings are refused in a line`() throws {
    var random = SeededRandom(testSeed(default: 20_261_129))
    let starts = [Self.pointer, Self.page, "{\"a\":", "PK\u{3}\u{4}", "GGU", "lmgg"]
    try withTemporaryDirectory { directory in
      try TinyModel.gemma3.writeConfig(to: directory)
      for round in 0..<fuzzIterations(default: 200) {
        let start = random.corrupted(Array(starts[round % starts.count].utf8))
        let bytes = start + random.bytes(Int.random(in: 1...40, using: &random))
        for name in ["m.gguf", "model.safetensors"] {
          try bytes.write(to: "\(directory)/\(name)")
          do {
            _ = try Checkpoint.open(name == "m.gguf" ? "\(directory)/\(name)" : directory)
            Issue.record("accepted: \(bytes)")
          } catch let error as GemmaError {
            #expect(!error.description.contains("\n"), "\(error)")
          }
        }
      }
    }
  }
}
