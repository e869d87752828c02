// Memory that several stages of a placement take from: workers of one machine tell of all of its memory
// each, and have it only once.

package import Gemma

/// Which stages of a placement share memory, and how much there is.
package struct SharedMemory {
  /// By stage: the memory it takes from, an index of `byteCounts`; nil for one of its own.
  package var pools: [Int?]
  package var byteCounts: [UInt64]
  /// What a stage with a slice holds.
  package var held: (_ stage: Int, _ slice: ModelSlice) -> HeldMemory

  package init(
    pools: [Int?],
    byteCounts: [UInt64],
    held: @escaping (_ stage: Int, _ slice: ModelSlice) -> HeldMemory
  ) {
    self.pools = pools
    self.byteCounts = byteCounts
    self.held = held
  }

  /// By shared memory: what the stages of a placement hold of it.
  package func use(of stages: [ModelSlice]) -> [HeldMemory] {
    var use = Array(repeating: HeldMemory(), count: byteCounts.count)
    for (stage, slice) in stages.enumerated() {
      if let pool = pools[stage] { use[pool] = use[pool].joined(with: held(stage, slice)) }
    }
    return use
  }

  /// Whether a memory has room for so much.
  func fits(_ held: HeldMemory, in pool: Int) -> Bool {
    UInt64(clamping: held.total) <= byteCounts[pool]
  }

  /// Whether the memories have room for the stages of a placement.
  package func holds(_ stages: [ModelSlice]) -> Bool {
    zip(use(of: stages).indices, use(of: stages)).allSatisfy { fits($1, in: $0) }
  }
}
