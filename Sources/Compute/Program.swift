// A program: what one stage computes in a step, as a value. It can be printed, validated and
// compared. It is never sent: each worker lowers its own program from the model and its layers.

/// The ops of one stage over named buffers.
package struct Program: Sendable, Hashable {
  /// The layers this stage holds, if any.
  package var layers: Range<Int>
  /// The layer of the model from which on only wanted rows are computed; nil if all rows pass all
  /// layers.
  ///
  /// In this layer itself, the other rows still contribute their keys and values. The number is
  /// used only to count skipped rows; the ops decide what is computed.
  package var narrowingLayer: Int?
  package var buffers: [Buffer] = []
  package var caches: [Cache] = []
  /// The buffers that are received from the previous stage, in the order of the hand-off's frames.
  package var inputs: [BufferID] = []
  /// The buffers that are sent to the next stage, in the order of the hand-off's frames.
  ///
  /// The logits come last.
  package var outputs: [BufferID] = []
  package var ops: [Op] = []
  /// Whether each step also tells how large the inputs of its products were (`Executable.observedInputs`).
  package var observesInputs = false

  package init(layers: Range<Int>) { self.layers = layers }

  /// The rows of the vocabulary whose logits the stage computes; empty for most stages.
  package var vocabulary: Range<Int> {
    for case .logits(let op) in ops { return op.weight.rows }
    return 0..<0
  }

  /// The number of tokens that all embeddings of the program have; nil without an embedding.
  package var embeddedTokenCount: Int? {
    ops.compactMap { op in
      if case .embed(let op) = op { op.table.rows.count } else { nil }
    }.min()
  }

  package subscript(_ id: BufferID) -> Buffer { buffers[id.index] }
  package subscript(_ id: CacheID) -> Cache { caches[id.index] }

  /// Adds a buffer and returns its identifier.
  package mutating func add(_ buffer: Buffer) -> BufferID {
    buffers.append(buffer)
    return BufferID(index: buffers.count - 1)
  }

  /// Adds a cache and returns its identifier.
  package mutating func add(_ cache: Cache) -> CacheID {
    caches.append(cache)
    return CacheID(index: caches.count - 1)
  }

  /// Returns how many rows of a step are computed and how many are skipped, each summed over the
  /// layers.
  package func layerRows(all: Int, wanted: Int) -> (computed: Int, skipped: Int) {
    let narrow = layers.clamped(to: (narrowingLayer ?? layers.upperBound)..<Int.max).count
    let skipped = narrow * (all - wanted)
    return (layers.count * all - skipped, skipped)
  }
}
