// Where the golden values lie and what their golden.json says. PROVENANCE.md, beside them, says
// how they were made and how exact they are.

package import Foundation

/// The golden directories, found from this file's own place in the checkout.
package enum Goldens {
  /// The top of the checkout; where the sources are linked to from elsewhere, the one linked to.
  package static let checkout = URL(filePath: #filePath).resolvingSymlinksInPath()
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// `Tests/Goldens`.
  package static let directory = checkout.appending(path: "Tests/Goldens")

  /// The trained model that ships with the project; its golden values are
  /// `Goldens.load("demo-model")`.
  package static let demoModel = checkout.appending(path: "demo-model")

  /// The random checkpoints: a Hugging Face directory each, with `golden/` inside.
  package static let gemma3n = ["gemma3n-random-a", "gemma3n-random-b", "gemma3n-random-c"]
  package static let gemma3 = ["gemma3-random-a", "gemma3-random-b"]
  package static let gemma4 = ["gemma4-random-a", "gemma4-random-b", "gemma4-random-c"]
  package static let random = gemma3n + gemma3 + gemma4

  /// Returns a checkpoint's directory: `Goldens.checkpoint("gemma3n-random-a").path`.
  package static func checkpoint(_ name: String) -> URL {
    name == "demo-model" ? demoModel : directory.appending(path: name)
  }

  /// Returns the golden values of a checkpoint, or of `demo-model`.
  ///
  /// - Throws: what reading or decoding `golden.json` throws.
  package static func load(_ name: String) throws -> Golden {
    let folder =
      name == "demo-model"
      ? directory.appending(path: name) : directory.appending(path: name).appending(path: "golden")
    let json = try Data(contentsOf: folder.appending(path: "golden.json"))
    var golden = try JSONDecoder().decode(Golden.self, from: json)
    golden.directory = folder
    return golden
  }

  /// Returns the numbers of a raw file: little-endian f32, nothing else.
  ///
  /// - Throws: `GoldenError` if the file is not a whole number of f32.
  package static func floats(_ file: URL) throws -> [Float] {
    let bytes = [UInt8](try Data(contentsOf: file))
    guard bytes.count % 4 == 0 else {
      throw GoldenError(description: "\(file.path): \(bytes.count) bytes are no whole f32 count")
    }
    return stride(from: 0, to: bytes.count, by: 4).map { at in
      let low = UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8
      let high = UInt32(bytes[at + 2]) << 16 | UInt32(bytes[at + 3]) << 24
      return Float(bitPattern: low | high)
    }
  }
}

/// Why golden values cannot be used.
package struct GoldenError: Error, CustomStringConvertible {
  package var description: String
}

/// What the reference implementation said about one checkpoint.
package struct Golden: Decodable, Sendable {
  /// Where the raw files lie.
  package var directory = URL(filePath: "/")
  package var model: String
  /// The implementation and its settings.
  package var reference: String
  package var cases: [Case]
  /// One short input, followed from layer to layer; the demo model has none.
  package var layers: Layers?

  /// One prompt: its logits and what greedy decoding says after it.
  package struct Case: Decodable, Sendable, CustomStringConvertible {
    package var name: String?
    /// `plain` or `chat`; only the demo model's cases have text.
    package var kind: String?
    package var text: String?
    /// The text with the chat template applied.
    package var rendered: String?
    package var ids: [Int]
    /// The raw file of the prompt's logits.
    package var logits: String
    package var shape: [Int]  // [tokens, vocab]
    package var greedy: [Int]
    package var greedyText: String?
    /// How far the best token led at each greedy step.
    ///
    /// A step that leads by less than 2e-3 may
    /// flip without an error anywhere; so may all steps after it.
    package var greedyMargins: [Float]

    enum CodingKeys: String, CodingKey {
      case name, kind, text, rendered, ids, logits, shape, greedy
      case greedyText = "greedy_text"
      case greedyMargins = "greedy_margins"
      case margins  // the demo model's spelling of greedy_margins
    }

    package init(from decoder: any Decoder) throws {
      let values = try decoder.container(keyedBy: CodingKeys.self)
      name = try values.decodeIfPresent(String.self, forKey: .name)
      kind = try values.decodeIfPresent(String.self, forKey: .kind)
      text = try values.decodeIfPresent(String.self, forKey: .text)
      rendered = try values.decodeIfPresent(String.self, forKey: .rendered)
      ids = try values.decode([Int].self, forKey: .ids)
      logits = try values.decode(String.self, forKey: .logits)
      shape = try values.decode([Int].self, forKey: .shape)
      greedy = try values.decode([Int].self, forKey: .greedy)
      greedyText = try values.decodeIfPresent(String.self, forKey: .greedyText)
      let key: CodingKeys = values.contains(.greedyMargins) ? .greedyMargins : .margins
      greedyMargins = try values.decode([Float].self, forKey: key)
    }

    package var description: String { name ?? "\(kind ?? "case") \(text ?? "")" }

    /// The greedy tokens up to the first step whose margin is below `margin`: those an f32
    /// implementation must reproduce.
    package func certainGreedy(margin: Float = 2e-3) -> [Int] {
      Array(greedy.prefix(greedyMargins.prefix { $0 >= margin }.count))
    }
  }

  /// Hidden states of one short input on their way through the model.
  package struct Layers: Decodable, Sendable {
    package var ids: [Int]
    package var inputStreams: Tensor  // [streams, tokens, hidden]; of one stream [tokens, hidden]
    package var afterEachLayer: Tensor  // [layers, …inputStreams]
    package var perLayerInputs: Tensor?  // [tokens, layers, dim]; not of Gemma 3
    /// The results of attention; Gemma 4 alone.
    package var attentionOutput: Tensor?  // [layers, tokens, hidden]
    /// The last layers of each attention kind that own keys and values; Gemma 4 alone.
    package var store: [String: Store]?
    package var finalNormed: Tensor  // [tokens, hidden]
    package var logits: Tensor  // [tokens, vocab]

    /// A layer's keys and values.
    package struct Store: Decodable, Sendable {
      package var layer: Int
      package var k: Tensor  // [tokens, kv heads, head dim]
      package var v: Tensor  // [tokens, kv heads, head dim]
    }

    package init(from decoder: any Decoder) throws {
      let values = try decoder.container(keyedBy: CodingKeys.self)
      ids = try values.decode([Int].self, forKey: .ids)
      let input: CodingKeys = values.contains(.input) ? .input : .inputStreams
      inputStreams = try values.decode(Tensor.self, forKey: input)
      afterEachLayer = try values.decode(Tensor.self, forKey: .afterEachLayer)
      perLayerInputs = try values.decodeIfPresent(Tensor.self, forKey: .perLayerInputs)
      attentionOutput = try values.decodeIfPresent(Tensor.self, forKey: .attentionOutput)
      store = try values.decodeIfPresent([String: Store].self, forKey: .store)
      finalNormed = try values.decode(Tensor.self, forKey: .finalNormed)
      logits = try values.decode(Tensor.self, forKey: .logits)
    }

    enum CodingKeys: String, CodingKey {
      case ids, logits, store
      case input  // the spelling of Gemma 4's
      case attentionOutput = "attention_output"
      case inputStreams = "input_streams"
      case afterEachLayer = "after_each_layer"
      case perLayerInputs = "per_layer_inputs"
      case finalNormed = "final_normed"
    }
  }

  /// A raw file and its axes.
  package struct Tensor: Decodable, Sendable {
    package var file: String
    package var shape: [Int]
  }

  enum CodingKeys: String, CodingKey {
    case model, reference, cases, layers
  }
}

extension Golden {
  /// Returns a case's logits.  // [tokens, vocab]
  ///
  /// - Throws: `GoldenError` if the file does not have the shape that golden.json states.
  package func logits(_ item: Case) throws -> [Float] {
    try floats(item.logits, shape: item.shape)
  }

  /// Returns the numbers of a tensor.
  ///
  /// - Throws: `GoldenError` if the file does not have the shape that golden.json states.
  package func floats(_ tensor: Tensor) throws -> [Float] {
    try floats(tensor.file, shape: tensor.shape)
  }

  private func floats(_ file: String, shape: [Int]) throws -> [Float] {
    let values = try Goldens.floats(directory.appending(path: file))
    guard values.count == shape.reduce(1, *) else {
      throw GoldenError(description: "\(file): \(values.count) values for the shape \(shape)")
    }
    return values
  }
}
