// The operands of each op and its mathematics. `rms(x; w) = x / sqrt(mean(x²) + ε) · w`;
// `gelu(x) = 0.5x(1 + tanh(√(2/π)(x + 0.044715x³)))`; a matrix is stored [out, in] and applied W·x.
// Sources: transformers 5.24, modeling_gemma3.py, modeling_gemma3n.py and modeling_gemma4.py in models/.

internal import Glibc

/// A weight tensor, or some rows of it, as a program names it.
package struct WeightRef: Sendable, Hashable {
  /// The tensor's canonical name (see `docs/MODEL.md`).
  package var name: String
  /// The rows of the tensor that are used.
  package var rows: Range<Int>
  package var columns: Int
  package var type: TensorType

  package init(name: String, rows: Range<Int>, columns: Int, type: TensorType) {
    self.name = name
    self.rows = rows
    self.columns = columns
    self.type = type
  }
}

/// The parameters of an RMS norm.
package struct NormParameters: Sendable, Hashable {
  /// The gain `[width]`; nil for none.
  package var weight: WeightRef?
  /// Added to the gain: 1 where the file stores it zero-centred, else 0.
  package var gainOffset: Float
  package var epsilon: Float

  package init(weight: WeightRef?, gainOffset: Float, epsilon: Float) {
    self.weight = weight
    self.gainOffset = gainOffset
    self.epsilon = epsilon
  }
}

/// Rotary position embedding of a head, half rotation: pair `i` is the values `i` and `i + headDim/2`, and
/// is rotated by `position · positionScale · theta^(-2i/headDim)`.
package struct Rope: Sendable, Hashable {
  package var theta: Float
  /// Positions are multiplied by this (1/8 for linear scaling by 8).
  package var positionScale: Float
  /// How many pairs are rotated, from the first on; nil for all.
  ///
  /// The others stay as they are. The exponent counts the whole head nevertheless (`proportional` in
  /// transformers' modeling_rope_utils.py).
  package var rotatedPairs: Int?

  package init(theta: Float, positionScale: Float = 1, rotatedPairs: Int? = nil) {
    self.theta = theta
    self.positionScale = positionScale
    self.rotatedPairs = rotatedPairs
  }

  /// Returns the factor of a row's position for the angle of each pair of a head; 0 for pairs that are not
  /// rotated.
  package func frequencies(headDim: Int) -> [Double] {
    (0..<(headDim / 2)).map { pair in
      pair < rotatedPairs ?? .max
        ? Glibc.pow(Double(theta), -2 * Double(pair) / Double(headDim)) : 0
    }
  }
}

/// AltUp's router: `r(x) = tanh(W · rms(x) / d)`.
package struct Router: Sendable, Hashable {
  package var weight: WeightRef  // [streams, d]
  package var norm: NormParameters

  package init(weight: WeightRef, norm: NormParameters) {
    self.weight = weight
    self.norm = norm
  }
}

/// `output = table[token] · scale`.
package struct Embed: Sendable, Hashable {
  package var table: WeightRef  // [vocabulary, d]
  package var scale: Float
  package var output: BufferID  // [rows, d]

  package init(table: WeightRef, scale: Float, output: BufferID) {
    self.table = table
    self.scale = scale
    self.output = output
  }
}

/// AltUp's streams: plane 0 is the input, plane `j` is `y = Wⱼ₋₁ · input` brought to its magnitude:
/// `y · sqrt(mean(input²)) / sqrt(max(mean(y²), 1e-5))`.
package struct ExpandStreams: Sendable, Hashable {
  package var input: BufferID  // [rows, d]
  package var projections: [WeightRef]  // each [d, d]
  package var output: BufferID  // [1 + projections, rows, d]

  package init(input: BufferID, projections: [WeightRef], output: BufferID) {
    self.input = input
    self.projections = projections
    self.output = output
  }
}

/// Per-layer inputs of consecutive layers, `width` values a layer.
///
/// `(rms(W · input · projectionScale) + table[token] · tableScale) · outputScale`, the norm over
/// each layer's own `width` values. A token beyond the table uses its row 0.
package struct PerLayerInputs: Sendable, Hashable {
  package var input: BufferID  // [rows, d]: the scaled embedding
  package var table: WeightRef  // [tokens, all layers × width]
  package var tableColumns: Range<Int>  // those of these layers
  package var tableScale: Float
  package var projection: WeightRef  // [layers × width, d]
  package var projectionScale: Float
  package var norm: NormParameters  // [width]
  package var width: Int
  package var outputScale: Float
  package var output: BufferID  // [rows, layers × width]

  package init(
    input: BufferID,
    table: WeightRef,
    tableColumns: Range<Int>,
    tableScale: Float,
    projection: WeightRef,
    projectionScale: Float,
    norm: NormParameters,
    width: Int,
    outputScale: Float,
    output: BufferID
  ) {
    self.input = input
    self.table = table
    self.tableColumns = tableColumns
    self.tableScale = tableScale
    self.projection = projection
    self.projectionScale = projectionScale
    self.norm = norm
    self.width = width
    self.outputScale = outputScale
    self.output = output
  }
}

/// `q = coefficients · r(streams[active])`, `output[i] = streams[i] + Σⱼ q[A·i + j] · streams[j]`.
package struct AltUpPredict: Sendable, Hashable {
  package var streams: BufferID  // [A, rows, d]
  package var active: Int
  package var router: Router
  package var coefficients: WeightRef  // [A·A, A]
  package var output: BufferID  // [A, rows, d]

  package init(
    streams: BufferID,
    active: Int,
    router: Router,
    coefficients: WeightRef,
    output: BufferID
  ) {
    self.streams = streams
    self.active = active
    self.router = router
    self.coefficients = coefficients
    self.output = output
  }
}

/// `output = rms(input)`.
package struct Norm: Sendable, Hashable {
  package var input: Plane  // [rows, d]
  package var norm: NormParameters
  package var output: BufferID  // [rows, d]

  package init(input: Plane, norm: NormParameters, output: BufferID) {
    self.input = input
    self.norm = norm
    self.output = output
  }
}

/// LAuReL: `output = input + rms(right · (left · input))`.
package struct Laurel: Sendable, Hashable {
  package var input: BufferID  // [rows, d]
  package var left: WeightRef  // [rank, d]
  package var right: WeightRef  // [d, rank]
  package var norm: NormParameters
  package var output: BufferID  // [rows, d]

  package init(
    input: BufferID,
    left: WeightRef,
    right: WeightRef,
    norm: NormParameters,
    output: BufferID
  ) {
    self.input = input
    self.left = left
    self.right = right
    self.norm = norm
    self.output = output
  }
}

/// A row's keys and values: `k = rope(rms(Wk · x))` and `v = Wv · x`, normed per head if `valueNorm`
/// is given.
///
/// Without a `Wv`, the product `Wk · x` is both, before norms and rotation.
///
/// Queries are projected by a separate op, because keys and values may be needed of all rows when
/// queries are needed only of the wanted ones.
package struct ProjectKV: Sendable, Hashable {
  package var input: BufferID  // [rows, d]
  package var headDim: Int
  package var rope: Rope
  package var keyWeight: WeightRef  // [kvHeads × headDim, d]
  package var valueWeight: WeightRef?  // [kvHeads × headDim, d]; nil for that of the keys
  package var keyNorm: NormParameters  // [headDim]
  package var valueNorm: NormParameters?  // [headDim]
  package var keys: BufferID  // [rows, kvHeads × headDim]
  package var values: BufferID  // [rows, kvHeads × headDim]

  package init(
    input: BufferID,
    headDim: Int,
    rope: Rope,
    keyWeight: WeightRef,
    valueWeight: WeightRef?,
    keyNorm: NormParameters,
    valueNorm: NormParameters?,
    keys: BufferID,
    values: BufferID
  ) {
    self.input = input
    self.headDim = headDim
    self.rope = rope
    self.keyWeight = keyWeight
    self.valueWeight = valueWeight
    self.keyNorm = keyNorm
    self.valueNorm = valueNorm
    self.keys = keys
    self.values = values
  }
}

/// Writes each row's keys and values into its slot of a cache, at its position.
package struct AppendKV: Sendable, Hashable {
  package var keys: BufferID  // [rows, kvHeads × headDim], all rows
  package var values: BufferID  // [rows, kvHeads × headDim], all rows
  package var cache: CacheID

  package init(keys: BufferID, values: BufferID, cache: CacheID) {
    self.keys = keys
    self.values = values
    self.cache = cache
  }
}

/// A row's queries: `queries = rope(rms(weight · x))` per head.
package struct ProjectQueries: Sendable, Hashable {
  package var input: BufferID  // [rows, d]
  package var headDim: Int
  package var rope: Rope
  package var weight: WeightRef  // [heads × headDim, d]
  package var norm: NormParameters  // [headDim]
  package var queries: BufferID  // [rows, heads × headDim]

  package init(
    input: BufferID,
    headDim: Int,
    rope: Rope,
    weight: WeightRef,
    norm: NormParameters,
    queries: BufferID
  ) {
    self.input = input
    self.headDim = headDim
    self.rope = rope
    self.weight = weight
    self.norm = norm
    self.queries = queries
  }
}

/// `output = softmax(scale · q · Kᵀ) · V` per head, over the positions that the row sees in the
/// cache.
///
/// Query head `h` reads KV head `h / (heads / kvHeads)`.
package struct Attend: Sendable, Hashable {
  package var queries: BufferID  // [rows, heads × headDim]
  package var cache: CacheID
  package var headCount: Int
  package var scale: Float
  package var output: BufferID  // [rows, heads × headDim]

  package init(
    queries: BufferID,
    cache: CacheID,
    headCount: Int,
    scale: Float,
    output: BufferID
  ) {
    self.queries = queries
    self.cache = cache
    self.headCount = headCount
    self.scale = scale
    self.output = output
  }
}

/// `output = weight · input`.
package struct Matmul: Sendable, Hashable {
  package var input: BufferID  // [rows, columns]
  package var weight: WeightRef
  package var output: BufferID  // [rows, weight rows]

  package init(input: BufferID, weight: WeightRef, output: BufferID) {
    self.input = input
    self.weight = weight
    self.output = output
  }
}

/// The end of a sub-block: `output = (Σ residuals + rms(input)) · scale · outputScale`, and where the
/// next sub-block begins with a norm, `normed = rms(output)`.
package struct AddNormed: Sendable, Hashable {
  /// The norm that follows directly.
  package struct Next: Sendable, Hashable {
    package var norm: NormParameters
    package var output: BufferID  // [rows, d]

    package init(norm: NormParameters, output: BufferID) {
      self.norm = norm
      self.output = output
    }
  }

  package var input: BufferID  // [rows, d]
  package var norm: NormParameters
  package var residuals: [Plane]  // each [rows, d]; summed in this order, then the normed input
  package var scale: Float
  package var outputScale: WeightRef?  // [1]; nil for 1
  package var output: BufferID  // [rows, d]; may be a residual's buffer
  package var next: Next?

  package init(
    input: BufferID,
    norm: NormParameters,
    residuals: [Plane],
    scale: Float,
    outputScale: WeightRef? = nil,
    output: BufferID,
    next: Next?
  ) {
    self.input = input
    self.norm = norm
    self.residuals = residuals
    self.scale = scale
    self.outputScale = outputScale
    self.output = output
    self.next = next
  }
}

/// The gated feed-forward: `g = gate · x`; with a sparsity `z`, `g = relu(g - (mean(g) + z·std(g)))`
/// with the biased standard deviation; `output = down · (gelu(g) ⊙ (up · x))`.
package struct FeedForward: Sendable, Hashable {
  package var input: BufferID  // [rows, d]
  package var gate: WeightRef  // [f, d]
  package var up: WeightRef  // [f, d]
  package var down: WeightRef  // [d, f]
  /// The threshold below which a gate is zero, in standard deviations above the mean; nil for a
  /// dense gate.
  package var sparsityDeviations: Float?
  package var output: BufferID  // [rows, d]

  package init(
    input: BufferID,
    gate: WeightRef,
    up: WeightRef,
    down: WeightRef,
    sparsityDeviations: Float?,
    output: BufferID
  ) {
    self.input = input
    self.gate = gate
    self.up = up
    self.down = down
    self.sparsityDeviations = sparsityDeviations
    self.output = output
  }
}

/// `delta = activated - predictions[active]`, `k = coefficients · r(activated) + 1`,
/// `streams[i] = predictions[i] + kᵢ · delta`, `scaled = streams[active] ⊙ outputScale`.
package struct AltUpCorrect: Sendable, Hashable {
  package var predictions: BufferID  // [A, rows, d]
  package var activated: BufferID  // [rows, d]
  package var active: Int
  package var router: Router
  package var coefficients: WeightRef  // [A, A]
  package var outputScale: WeightRef?  // [d]; nil for no scaling
  package var streams: BufferID  // [A, rows, d]
  package var scaled: BufferID  // [rows, d]

  package init(
    predictions: BufferID,
    activated: BufferID,
    active: Int,
    router: Router,
    coefficients: WeightRef,
    outputScale: WeightRef?,
    streams: BufferID,
    scaled: BufferID
  ) {
    self.predictions = predictions
    self.activated = activated
    self.active = active
    self.router = router
    self.coefficients = coefficients
    self.outputScale = outputScale
    self.streams = streams
    self.scaled = scaled
  }
}

/// `y = rms(projection · (gelu(gate · input) ⊙ perLayer))`, added to every stream but the first, or to the
/// only one: `stream = (stream + y) · outputScale`.
package struct InjectPerLayerInput: Sendable, Hashable {
  package var input: BufferID  // [rows, d]
  package var perLayerInputs: BufferID  // [rows, layers × P]
  package var columns: Range<Int>  // this layer's P of them
  package var gate: WeightRef  // [P, d]
  package var projection: WeightRef  // [d, P]
  package var norm: NormParameters  // [d]
  package var outputScale: WeightRef?  // [1]; nil for 1
  package var streams: BufferID  // [A, rows, d], changed in place; of a single one may be the input

  package init(
    input: BufferID,
    perLayerInputs: BufferID,
    columns: Range<Int>,
    gate: WeightRef,
    projection: WeightRef,
    norm: NormParameters,
    outputScale: WeightRef? = nil,
    streams: BufferID
  ) {
    self.input = input
    self.perLayerInputs = perLayerInputs
    self.columns = columns
    self.gate = gate
    self.projection = projection
    self.norm = norm
    self.outputScale = outputScale
    self.streams = streams
  }
}

/// Copies the wanted rows of a buffer of all rows.
package struct KeepWanted: Sendable, Hashable {
  package var input: BufferID  // [planes, all rows, width]
  package var output: BufferID  // [planes, wanted rows, width]

  package init(input: BufferID, output: BufferID) {
    self.input = input
    self.output = output
  }
}

/// AltUp's end: `yⱼ = Wⱼ₋₁ · streams[j]` brought to the magnitude of stream 0 (as in
/// `ExpandStreams`), `output = rms((streams[0] + Σ yⱼ) / A)`; with one stream only the norm.
package struct MergeStreams: Sendable, Hashable {
  package var streams: BufferID  // [A, rows, d]
  package var projections: [WeightRef]  // A - 1, each [d, d]
  package var norm: NormParameters
  package var output: BufferID  // [rows, d]

  package init(
    streams: BufferID,
    projections: [WeightRef],
    norm: NormParameters,
    output: BufferID
  ) {
    self.streams = streams
    self.projections = projections
    self.norm = norm
    self.output = output
  }
}

/// `output = weight · input`, soft-capped: `cap · tanh(output / cap)`.
///
/// Each logit is a separate product, so the rows of the vocabulary can be divided among stages.
package struct Logits: Sendable, Hashable {
  package var input: BufferID  // [rows, d]
  package var weight: WeightRef  // [some of the vocabulary, d]
  package var softcap: Float?
  package var output: BufferID  // [rows, some of the vocabulary]

  package init(input: BufferID, weight: WeightRef, softcap: Float?, output: BufferID) {
    self.input = input
    self.weight = weight
    self.softcap = softcap
    self.output = output
  }
}
