// Names of models, and which files they mean.

import Foundation
import TestSupport
import Testing

@testable import Hub

@Suite struct `Names of models` {
  @Test(arguments: [
    ("ggml-org/gemma-3-270m-GGUF", "ggml-org", "gemma-3-270m-GGUF", nil, nil),
    ("google/gemma-3n-E2B-it:Q4_K_M", "google", "gemma-3n-E2B-it", "Q4_K_M", nil),
    ("a/b.c_d:sub/x-Q8_0.gguf", "a", "b.c_d", "sub/x-Q8_0.gguf", nil),
    ("a/b:x@y.gguf", "a", "b", "x@y.gguf", nil), ("a/b:x@y.gguf@v1", "a", "b", "x@y.gguf", "v1"),
    ("a/b@v1.0", "a", "b", nil, "v1.0"), ("a/b:Q8_0@pr/feat@2", "a", "b", "Q8_0", "pr/feat@2"),
    ("a/b@feat@2", "a", "b", nil, "feat@2"), ("a/b:x@y.GGUF@v1", "a", "b", "x@y.GGUF", "v1"),
  ])
  func `a name has a repository, and perhaps a quantisation and a revision`(
    _ text: String,
    _ organisation: String,
    _ name: String,
    _ quantisation: String?,
    _ revision: String?
  ) throws {
    let reference = try ModelReference(text)
    #expect(reference.repository.organisation == organisation)
    #expect(reference.repository.name == name)
    #expect(reference.quantisation == quantisation)
    #expect(reference.revision == revision && reference.wantedRevision == revision ?? "main")
    #expect("\(reference)" == text)
  }

  @Test(arguments: ["https://huggingface.co/", "http://hf.co/", "huggingface.co/", "hf.co/"])
  func `the address of a repository's page is its name, too`(_ page: String) throws {
    #expect("\(try ModelReference(page + "a/b:Q8_0@x"))" == "a/b:Q8_0@x")
    #expect(throws: HubError.self) { try ModelReference(page + "a") }
  }

  @Test(arguments: [
    "", "/", "a", "a/", "/b", "a/b/c", "../b", "a/..", "a/.b", "-a/b", "a--c/b", "a/b\n", "a/b c",
    "a/ü",
    "a/b:", "a/b:../x", "a/b:/x", "a/b:x//y", "a/b:x\\y", "a/b:\u{7}", "~/b", "https://a/b",
    "@x", "hf.co/hf.co/a/b",
  ])
  func `whatever else is refused by name`(_ text: String) {
    let error = #expect(throws: HubError.self) { try ModelReference(text) }
    #expect(error?.code == .name && error?.context == text)
  }

  @Test(arguments: ["", "../x", "x y/", "v1:Q8_0", "\u{9B}2J", "\u{202E}fe"])
  func `what is no name of a revision is refused`(_ revision: String) {
    let error = #expect(throws: HubError.self) { try ModelReference("a/b@\(revision)") }
    #expect(error?.code == .name && error?.context == "a/b")
  }

  @Test func `a path stays below its directory`() {
    for path in ["a", "a/b", "a.b-c/d e", "…"] { #expect(FilePath.isValid(path), "\(path)") }
    for path in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\\b", "a\nb", "a\u{7F}"]
      + [String(repeating: "x", count: 256), String(repeating: "a/", count: 512) + "a"]
    {
      #expect(!FilePath.isValid(path), "\(path.debugDescription)")
    }
  }
}

@Suite struct `Choosing files` {
  private func files(_ paths: String...) -> [HubFile] {
    paths.map { HubFile(path: $0, byteCount: 1, object: String(repeating: "0", count: 64)) }
  }

  private func select(_ files: [HubFile], _ name: String) throws -> FileSelection {
    try FileSelection(files, ModelReference(name))
  }

  @Test func `a quantisation is a part of a name, in any case`() throws {
    let all = files(
      "gemma-BF16.gguf",
      "gemma-Q4_0.gguf",
      "gemma-Q4_K_M.gguf",
      "gemma.IQ4_NL.gguf",
      "mmproj-gemma-Q8_0.gguf",
      "sub/gemma-Q6_K.gguf"
    )
    for (wanted, path) in [
      ("q4_0", "gemma-Q4_0.gguf"), ("Q4_K_M", "gemma-Q4_K_M.gguf"), ("bf16", "gemma-BF16.gguf"),
      ("iq4_nl", "gemma.IQ4_NL.gguf"), ("Q6_K", "sub/gemma-Q6_K.gguf"),
      ("sub/gemma-Q6_K.gguf", "sub/gemma-Q6_K.gguf"), ("gemma-q4_0.gguf", "gemma-Q4_0.gguf"),
    ] {
      #expect(try select(all, "a/b:\(wanted)").entry == path, "\(wanted)")
    }
    // Q4_K is not Q4_K_M, and a projector is no model.
    for wanted in ["Q4_K", "Q8_0", "Q4"] {
      let error = #expect(throws: HubError.self) { try select(all, "a/b:\(wanted)") }
      #expect(error?.code == .missing)
      #expect(error?.message.contains("BF16, Q4_0, Q4_K_M, IQ4_NL, Q6_K") == true, "\(error!)")
    }
  }

  @Test func `a name that means several files is refused, and those are listed`() throws {
    let all = files("alpha-Q8_0.gguf", "beta-q8_0.gguf", "beta-Q4_0.gguf", "d/beta-F16.gguf")
    for (wanted, several) in [
      ("a/b:Q8_0", "alpha-Q8_0.gguf, beta-q8_0.gguf"),
      ("a/b:beta", "beta-q8_0.gguf, beta-Q4_0.gguf"),
    ] {
      let error = #expect(throws: HubError.self) { try select(Array(all.prefix(3)), wanted) }
      #expect(error?.message.hasSuffix(several) == true, "\(error!)")
    }
    // The usual one is not one either.
    #expect(throws: HubError.self) { try select(Array(all.prefix(2)), "a/b") }
    #expect(try select(all, "a/b").entry == "beta-Q4_0.gguf")
    #expect(try select(all, "a/b:beta-Q8_0.gguf").entry == "beta-q8_0.gguf")
    // A name is no quantisation that another has, too, or that is not found by itself.
    #expect(
      FileSelection.names(of: ["x.f16.gguf", "x.f16.q6_k.gguf", "model_Q8_0.gguf"]) == [
        "x.f16.gguf": "x.f16.gguf", "x.f16.q6_k.gguf": "q6_k", "model_Q8_0.gguf": "model_Q8_0.gguf",
      ]
    )
    // What all files have says nothing.
    #expect(throws: HubError.self) { try select(Array(all.prefix(1)), "a/b:gguf") }
    #expect(
      FileSelection.names(of: all.map(\.path)) == [
        "alpha-Q8_0.gguf": "alpha-Q8_0.gguf", "beta-q8_0.gguf": "beta-q8_0.gguf",
        "beta-Q4_0.gguf": "Q4_0", "d/beta-F16.gguf": "F16",
      ]
    )
  }

  @Test func `without one, the usual is chosen`() throws {
    #expect(try select(files("x-Q8_0.gguf", "x-Q4_K_M.gguf"), "a/b").entry == "x-Q4_K_M.gguf")
    #expect(try select(files("x-Q2_K.gguf", "x-Q8_0.gguf"), "a/b").entry == "x-Q8_0.gguf")
    #expect(try select(files("x-BF16.gguf", "x-Q2_K.gguf"), "a/b").entry == "x-BF16.gguf")
  }

  @Test func `a model in parts has all of them, or is refused`() throws {
    let all = files("d/x-Q8_0-00001-of-00002.gguf", "d/x-Q8_0-00002-of-00002.gguf", "y.gguf")
    let selection = try select(all, "a/b:q8_0")
    #expect(selection.entry == "d/x-Q8_0-00001-of-00002.gguf")
    #expect(selection.files.map(\.path) == all.prefix(2).map(\.path))
    let error = #expect(throws: HubError.self) { try select(Array(all[..<1]), "a/b") }
    #expect(error?.message == "lacks d/x-Q8_0-00002-of-00002.gguf, a part of the model")
  }

  @Test func `without GGUF, what belongs to the directory of a model`() throws {
    let all = files(
      ".gitattributes",
      "README.md",
      "config.json",
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
      "model.safetensors.index.json",
      "original/x.safetensors",
      "pytorch_model.bin",
      "tokenizer.json",
      "tokenizer.model",
      "tokenizer_config.json"
    )
    let selection = try select(all, "a/b")
    #expect(selection.entry == nil)
    #expect(
      selection.files.map(\.path) == [
        "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json", "tokenizer.json", "tokenizer.model",
        "tokenizer_config.json",
      ]
    )
    for none in [files(), files("README.md"), files("config.json", "x.bin")] {
      let error = #expect(throws: HubError.self) { try select(none, "a/b") }
      #expect(error?.code == .missing)
    }
  }

  @Test(arguments: [
    ("gemma-3-270m-Q4_K_M.gguf", "Q4_K_M"), ("x.bf16.gguf", "bf16"),
    ("x-IQ4_XS-00001-of-00003.gguf", "IQ4_XS"),
    ("d/gemma.gguf", "d/gemma.gguf"), ("q-model.gguf", "q-model.gguf"),
  ])
  func `a file is called by its quantisation, and found by that`(_ path: String, _ name: String) {
    #expect(FileSelection.quantisation(of: path) == name)
    #expect(FileSelection.entries(of: name, [path]) == [path])
  }
}

@Suite struct `Surroundings of fetching` {
  private func settings(_ variables: [String: String]) throws -> HubSettings {
    try HubSettings(environment: { variables[$0] }, home: "/u/me", agent: "test")
  }

  @Test func `the cache is where other programs have it`() throws {
    for (variables, directory) in [
      ([:], "/u/me/.cache/huggingface/hub"), (["XDG_CACHE_HOME": "/c"], "/c/huggingface/hub"),
      (["HF_HOME": "~/h", "XDG_CACHE_HOME": "/c"], "/u/me/h/hub"),
      (["HF_HUB_CACHE": "/x", "HF_HOME": "/h"], "/x"),
      (["HF_HUB_CACHE": "", "HF_HOME": "/h"], "/h/hub"), (["HF_HOME": "~"], "/u/me/hub"),
    ] {
      #expect(try settings(variables).cache == directory, "\(variables)")
    }
  }

  @Test func `the hub is the named one, and an address`() throws {
    #expect(try settings([:]).endpoint == "https://huggingface.co")
    #expect(try settings(["HF_ENDPOINT": "http://h:1//"]).endpoint == "http://h:1")
    #expect(
      try settings(["HF_ENDPOINT": "http://h", "MODEL_ENDPOINT": "http://m"]).endpoint == "http://m"
    )
    for wrong in ["h", "file:///x", "http://a b", "https://a\n"] {
      #expect(throws: HubError.self) { try settings(["HF_ENDPOINT": wrong]) }
    }
    // Who looks into the cache alone needs neither a hub nor a token.
    let wrong = ["HF_ENDPOINT": "h", "HF_TOKEN": "a b"]
    let offline = try HubSettings(
      environment: { wrong[$0] },
      home: "/u/me",
      agent: "test",
      isOffline: true
    )
    #expect(offline.isOffline && offline.token == nil)
  }

  @Test func `a token is one word`() throws {
    #expect(try settings(["HF_TOKEN": " hf_abc\n"]).token == "hf_abc")
    #expect(try settings(["HF_TOKEN": " "]).token == nil)
    for wrong in ["a b", "a\r\nX-Evil: b", "ä"] {
      let error = #expect(throws: HubError.self) { try settings(["HF_TOKEN": wrong]) }
      #expect(error?.context == "HF_TOKEN")
    }
    try withTemporaryDirectory { directory in
      try Data("hf_file\nrest".utf8).write(to: URL(filePath: "\(directory)/token"))
      #expect(try settings(["HF_HOME": directory]).token == "hf_file")
      #expect(try settings(["HF_TOKEN_PATH": "\(directory)/none"]).token == nil)
    }
  }

  @Test func `offline is a wish of several spellings`() throws {
    for word in ["1", "ON", "yes", "True"] {
      #expect(try settings(["HF_HUB_OFFLINE": word]).isOffline)
    }
    for word in ["", "0", "no"] { #expect(try !settings(["HF_HUB_OFFLINE": word]).isOffline) }
  }
}
