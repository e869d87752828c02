// `trestle inspect`: what a model file holds, or the program of some of its layers.

import ArgumentParser
import Compute
import Content
import Gemma
import Launch
import ModelFiles
import Platform

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show what a model file holds, or the program of some of its layers."
  )

  @Argument(help: ArgumentHelp(ModelName.help, valueName: "model"))
  var model: ModelName

  @Option(
    help: ArgumentHelp(
      "Show the program that a stage with these layers runs, for example 0..<10.",
      valueName: "layers"
    )
  )
  var program: IndexRange?

  @Option(
    help: ArgumentHelp(
      "With --program: the rows of the output matrix that the stage holds. --program 18..<18 is a stage without layers. Default: all rows if the stage has the last layer.",
      valueName: "rows"
    )
  )
  var vocabulary: IndexRange?

  @Flag(help: "Print one JSON document.")
  var json = false

  func validate() throws {
    if let vocabulary, program == nil {
      throw ValidationError("--vocabulary \(vocabulary): this option needs --program.")
    }
  }

  func run() throws {
    try reportingFailures {
      let checkpoint = try Checkpoint.open(model.path())
      if let program {
        try show(program, of: checkpoint)
      } else {
        let fingerprint = try ModelContent.fingerprint(
          of: checkpoint,
          in: .program
        )
        let document = ModelDocument(checkpoint, fingerprint: fingerprint)
        try printOut(json ? try trestle.json(document) : document.description)
      }
    }
  }

  private func show(_ layers: IndexRange, of checkpoint: Checkpoint) throws {
    let line = checkpoint.config.line
    var slice = line.slice(layers: layers.range)
    if let vocabulary { slice.vocabulary = vocabulary.range }
    guard line.holds(slice) else {
      let rows = vocabulary.map { " --vocabulary \($0)" } ?? ""
      throw CommandError(
        "--program \(layers)\(rows): the model has \(line.layerCount) layers"
          + (vocabulary == nil
            ? "" : ", and \(line.vocabularySize) rows of the output matrix after them")
      )
    }
    let program = try checkpoint.config.lower(slice, weights: checkpoint)
    try program.validate()
    try printOut(json ? try trestle.json(ProgramDocument(program)) : program.description)
  }
}

/// What `inspect --json` prints.
struct ModelDocument: Encodable, CustomStringConvertible {
  struct Layer: Encodable {
    var attention: String
    var window: Int?
    var heads: Int
    var kvHeads: Int
    var headDim: Int
    var kvSource: Int
    var feedForwardSize: Int
    var sparsityDeviations: Float?
  }

  struct Tensor: Encodable {
    var name: String
    var shape: [Int]
    var type: String
    var bytes: Int
  }

  var path: String
  var name: String
  var format: String
  var architecture: String
  var fingerprint: String
  var vocabularySize: Int
  var hiddenSize: Int
  /// The number in each layer; absent if layers differ.
  ///
  /// So are the next two.
  var heads: Int?
  var kvHeads: Int?
  var headDim: Int?
  var contextTokens: Int
  var layers: [Layer]
  var tensors: [Tensor]
  var ignoredTensors: Int
  var bytes: Int
  /// The bytes of weights that decoding one token must read.
  var decodeBytes: Int

  init(_ checkpoint: Checkpoint, fingerprint: Digest) {
    let config = checkpoint.config
    path = checkpoint.path
    name = checkpoint.name
    format = checkpoint.format.rawValue
    architecture = config.architecture.rawValue
    self.fingerprint = fingerprint.description
    vocabularySize = config.vocabularySize
    hiddenSize = config.hiddenSize
    heads = Self.common(config.layers.map(\.headCount))
    kvHeads = Self.common(config.layers.map(\.kvHeadCount))
    headDim = Self.common(config.layers.map(\.headDim))
    contextTokens = config.contextTokens
    layers = config.layers.map { layer in
      Layer(
        attention: layer.attention.window == nil ? "full" : "sliding",
        window: layer.attention.window,
        heads: layer.headCount,
        kvHeads: layer.kvHeadCount,
        headDim: layer.headDim,
        kvSource: layer.kvSource,
        feedForwardSize: layer.feedForwardSize,
        sparsityDeviations: layer.sparsityDeviations
      )
    }
    tensors = checkpoint.weights.map { weight in
      Tensor(
        name: weight.name.canonical,
        shape: weight.tensor.shape,
        type: weight.type.rawValue,
        bytes: weight.tensor.byteCount
      )
    }
    ignoredTensors = checkpoint.ignoredTensors.count
    bytes = checkpoint.totalByteCount
    decodeBytes = Int(checkpoint.decodeCost.total)
  }

  /// Returns the value that all layers share; nil if they differ.
  private static func common(_ values: [Int]) -> Int? {
    Set(values).count == 1 ? values.first : nil
  }

  var description: String {
    // Lists each kind of heads once, in the order of the layers.
    let heads = layers.map {
      "\($0.heads) heads (\($0.kvHeads) for keys and values) of \($0.headDim)"
    }
    .reduce(into: [String]()) { kinds, kind in if !kinds.contains(kind) { kinds.append(kind) } }
    .joined(separator: " or ")
    let owners = layers.indices.count { layers[$0].kvSource == $0 }
    let sliding = layers.count { $0.window != nil }
    let windows = Set(layers.compactMap(\.window)).sorted().map(String.init)
    let types = Dictionary(grouping: tensors, by: \.type)
      .map { type, tensors in (type, tensors.count, tensors.reduce(0) { $0 + $1.bytes }) }
      .sorted { $0.2 > $1.2 }
    return """
      \(name.printable) (\(architecture), \(format))
        fingerprint  \(fingerprint)
        layers       \(layers.count): \(layers.count - sliding) full, \(sliding) sliding (window \(windows.joined(separator: ", "))), \(owners) own keys and values
        width        \(hiddenSize), \(heads)
        vocabulary   \(vocabularySize)
        context      \(contextTokens) tokens
        one token    reads \(describe(bytes: UInt64(decodeBytes))) of weights
        weights      \(tensors.count) tensors, \(describe(bytes: UInt64(bytes))); \(ignoredTensors) others not used
      """ + "\n"
        + types.map { "    \($0.0): \($0.1) tensors, \(describe(bytes: UInt64($0.2)))" }
        .joined(separator: "\n")
  }
}

/// What `inspect --program --json` prints.
struct ProgramDocument: Encodable {
  struct Buffer: Encodable {
    var name: String
    var planes: Int
    var width: Int
    var rows: String
  }

  var layers: [Int]
  var vocabulary: [Int]
  var buffers: [Buffer]
  var inputs: [String]
  var outputs: [String]
  var ops: [String]

  init(_ program: Program) {
    layers = program.layers.ends
    vocabulary = program.vocabulary.ends
    buffers = program.buffers.map {
      Buffer(name: $0.name, planes: $0.planes, width: $0.width, rows: $0.rows.rawValue)
    }
    inputs = program.inputs.map { program[$0].name }
    outputs = program.outputs.map { program[$0].name }
    ops = program.ops.map { program.describe($0) }
  }
}
