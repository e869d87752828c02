// A program: what one stage computes in a step, as a value. It can be printed, validated, compared
// and sent nowhere: each worker lowers its own from the model and the layers it is given.

/// The ops of one stage over named buffers.
package struct Program: Sendable, Hashable {
  /// The layers this stage holds.
  package var layers: Range<Int>
  package var buffers: [Buffer] = []
  package var caches: [Cache] = []
  /// What arrives from the stage before, in the order of the hand-off's frames.
  package var inputs: [BufferID] = []
  /// What leaves for the stage behind, in the order of the hand-off's frames; for the last stage
  /// the logits.
  package var outputs: [BufferID] = []
  package var ops: [Op] = []

  package init(layers: Range<Int>) { self.layers = layers }

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
}
