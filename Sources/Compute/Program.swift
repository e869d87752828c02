// A program: what one stage computes in a step, as a value. It can be printed, validated, compared
// and sent nowhere: each worker lowers its own from the model and the layers it is given.

/// The ops of one stage over named buffers.
package struct Program: Sendable, Hashable {
  /// The layers this stage holds, if any.
  package var layers: Range<Int>
  /// The layer of the model from which on only rows whose output is wanted pass; nil if all pass all.
  ///
  /// In this layer itself the others leave their keys and values. For counting what is spared; the ops
  /// say what is done.
  package var narrowingLayer: Int?
  package var buffers: [Buffer] = []
  package var caches: [Cache] = []
  /// What arrives from the stage before, in the order of the hand-off's frames.
  package var inputs: [BufferID] = []
  /// What leaves for the stage behind, in the order of the hand-off's frames; the logits come last, and
  /// from the last stage alone.
  package var outputs: [BufferID] = []
  package var ops: [Op] = []

  package init(layers: Range<Int>) { self.layers = layers }

  /// The rows of the vocabulary whose logits the stage computes, none for most stages.
  package var vocabulary: Range<Int> {
    for case .logits(let op) in ops { return op.weight.rows }
    return 0..<0
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

  /// Returns how many of a step's rows pass how many layers, as a sum over the layers, and how many are
  /// spared it.
  package func layerRows(all: Int, wanted: Int) -> (computed: Int, skipped: Int) {
    let narrow = layers.clamped(to: (narrowingLayer ?? layers.upperBound)..<Int.max).count
    let skipped = narrow * (all - wanted)
    return (layers.count * all - skipped, skipped)
  }
}
