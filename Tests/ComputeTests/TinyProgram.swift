// A good program with every op in it once or twice, in parts that tests can break.

import Compute

/// One layer of a small Gemma 3n, from embedding to logits: 4 heads of 4 over 2 KV heads, 2 streams,
/// per-layer inputs of 2 layers × 4, 10 tokens.
///
/// The wanted rows of the embedding are kept too; only broken programs read them.
struct TinyProgram {
  static let buffers = [
    Buffer(name: "embedding", width: 32, rows: .all),
    Buffer(name: "embedding.wanted", width: 32, rows: .wanted),
    Buffer(name: "streams", planes: 2, width: 32, rows: .all),
    Buffer(name: "perLayerInputs", width: 8, rows: .all),
    Buffer(name: "predictions", planes: 2, width: 32, rows: .all),
    Buffer(name: "normed", width: 32, rows: .all),
    Buffer(name: "laurelled", width: 32, rows: .all),
    Buffer(name: "queries", width: 16, rows: .all),
    Buffer(name: "keys", width: 8, rows: .all),
    Buffer(name: "values", width: 8, rows: .all),
    Buffer(name: "attended", width: 16, rows: .all),
    Buffer(name: "attention", width: 32, rows: .all),
    Buffer(name: "activated", width: 32, rows: .all),
    Buffer(name: "forwarded", width: 32, rows: .all),
    Buffer(name: "scaled", width: 32, rows: .all),
    Buffer(name: "kept", planes: 2, width: 32, rows: .wanted),
    Buffer(name: "merged", width: 32, rows: .wanted),
    Buffer(name: "logits", width: 10, rows: .wanted),
  ]

  static func id(_ name: String) -> BufferID {
    guard let index = buffers.firstIndex(where: { $0.name == name }) else {
      preconditionFailure("no buffer is called \(name)")
    }
    return BufferID(index: index)
  }

  private static func weight(_ name: String, _ rows: Int, _ columns: Int) -> WeightRef {
    WeightRef(name: name, rows: 0..<rows, columns: columns, type: .f32)
  }

  private static func norm(_ name: String, _ width: Int = 32) -> NormParameters {
    NormParameters(weight: weight(name, 1, width), gainOffset: 0, epsilon: 1e-6)
  }

  private static let router = Router(weight: weight("router", 2, 32), norm: norm("router_norm"))

  /// Buffers, caches, inputs and outputs; the ops are put together from the parts below.
  var base: Program = {
    var program = Program(layers: 0..<1)
    program.buffers = buffers
    program.caches = [Cache(layer: 0, kvHeadCount: 2, headDim: 4, window: 8)]
    program.outputs = [id("logits")]
    return program
  }()

  // The parts, in their order.

  var embed = Embed(table: weight("embed_tokens", 10, 32), scale: 2, output: id("embedding"))
  var keepEmbedding = KeepWanted(input: id("embedding"), output: id("embedding.wanted"))
  var expand = ExpandStreams(
    input: id("embedding"),
    projections: [weight("altup_projections.0", 32, 32)],
    output: id("streams")
  )
  var perLayer = PerLayerInputs(
    input: id("embedding"),
    table: weight("per_layer_table", 10, 8),
    tableColumns: 0..<8,
    tableScale: 2,
    projection: weight("per_layer_projection", 8, 32),
    projectionScale: 1,
    norm: norm("per_layer_norm", 4),
    width: 4,
    outputScale: 1,
    output: id("perLayerInputs")
  )
  var predict = AltUpPredict(
    streams: id("streams"),
    active: 0,
    router: router,
    coefficients: weight("prediction_coefs", 4, 2),
    output: id("predictions")
  )
  var norm = Norm(
    input: Plane(id("predictions"), 0),
    norm: norm("input_norm"),
    output: id("normed")
  )
  var laurel = Laurel(
    input: id("normed"),
    left: weight("laurel_left", 3, 32),
    right: weight("laurel_right", 32, 3),
    norm: norm("laurel_norm"),
    output: id("laurelled")
  )
  var projectKV = ProjectKV(
    input: id("normed"),
    headDim: 4,
    rope: Rope(theta: 10_000),
    keyWeight: weight("k_proj", 8, 32),
    valueWeight: weight("v_proj", 8, 32),
    keyNorm: norm("k_norm", 4),
    valueNorm: NormParameters(weight: nil, gainOffset: 0, epsilon: 1e-6),
    keys: id("keys"),
    values: id("values")
  )
  var append = AppendKV(keys: id("keys"), values: id("values"), cache: CacheID(index: 0))
  var projectQueries = ProjectQueries(
    input: id("normed"),
    headDim: 4,
    rope: Rope(theta: 10_000),
    weight: weight("q_proj", 16, 32),
    norm: norm("q_norm", 4),
    queries: id("queries")
  )
  var attend = Attend(
    queries: id("queries"),
    cache: CacheID(index: 0),
    headCount: 4,
    scale: 1,
    output: id("attended")
  )
  var matmul = Matmul(
    input: id("attended"),
    weight: weight("o_proj", 32, 16),
    output: id("attention")
  )
  var add = AddNormed(
    input: id("attention"),
    norm: norm("post_attention_norm"),
    residuals: [Plane(id("predictions"), 0), Plane(id("laurelled"))],
    scale: 0.5,
    output: id("activated"),
    next: AddNormed.Next(norm: norm("pre_feedforward_norm"), output: id("normed"))
  )
  var feedForward = FeedForward(
    input: id("normed"),
    gate: weight("gate_proj", 24, 32),
    up: weight("up_proj", 24, 32),
    down: weight("down_proj", 32, 24),
    sparsityDeviations: 1.5,
    output: id("forwarded")
  )
  var addForwarded = AddNormed(
    input: id("forwarded"),
    norm: norm("post_feedforward_norm"),
    residuals: [Plane(id("activated"))],
    scale: 1,
    output: id("activated"),
    next: nil
  )
  var correct = AltUpCorrect(
    predictions: id("predictions"),
    activated: id("activated"),
    active: 0,
    router: router,
    coefficients: weight("correction_coefs", 2, 2),
    outputScale: weight("output_scale", 1, 32),
    streams: id("streams"),
    scaled: id("scaled")
  )
  var inject = InjectPerLayerInput(
    input: id("scaled"),
    perLayerInputs: id("perLayerInputs"),
    columns: 4..<8,
    gate: weight("per_layer_gate", 4, 32),
    projection: weight("per_layer_out", 32, 4),
    norm: norm("post_per_layer_norm"),
    streams: id("streams")
  )
  var keep = KeepWanted(input: id("streams"), output: id("kept"))
  var merge = MergeStreams(
    streams: id("kept"),
    projections: [weight("altup_unembed.0", 32, 32)],
    norm: norm("norm"),
    output: id("merged")
  )
  var logits = Logits(
    input: id("merged"),
    weight: weight("embed_tokens", 10, 32),
    softcap: 30,
    output: id("logits")
  )

  var program: Program {
    var program = base
    program.ops = [
      .embed(embed), .keepWanted(keepEmbedding), .expandStreams(expand), .perLayerInputs(perLayer),
      .altupPredict(predict), .norm(norm), .laurel(laurel), .projectKV(projectKV),
      .appendKV(append), .projectQueries(projectQueries), .attend(attend), .matmul(matmul),
      .addNormed(add), .feedForward(feedForward), .addNormed(addForwarded), .altupCorrect(correct),
      .injectPerLayerInput(inject), .keepWanted(keep), .mergeStreams(merge), .logits(logits),
    ]
    return program
  }

  /// Changes a buffer.
  mutating func change(_ name: String, _ body: (inout Buffer) -> Void) {
    body(&base.buffers[Self.id(name).index])
  }
}
