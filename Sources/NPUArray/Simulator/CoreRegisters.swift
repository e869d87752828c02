// The registers of a simulated core, and the results that are on their way to them.

/// Eight lanes of 32 bits: a quarter of an accumulator.
typealias Quarter = SIMD8<Int32>
/// An accumulator of 32 lanes of 32 bits, amll in the lowest.
typealias Accumulator = SIMD32<Int32>
/// Half a vector.
typealias HalfVector = SIMD32<UInt8>

/// What instructions write, and when it lands.
struct CoreRegisters {
  /// Registers of up to 32 bits, by their places.
  private var scalars = [UInt32](repeating: 0, count: Self.scalarCount)
  /// wl and wh by turns.
  private var halves = [HalfVector](repeating: HalfVector(), count: 24)
  private var accumulators = [Accumulator](repeating: Accumulator(), count: 9)

  /// Results that land at the end of a cycle, by the cycle modulo the ring's size.
  private var scalarRing = [[(Int, UInt32)]](repeating: [], count: Self.ringSize)
  private var halfRing = [[(Int, HalfVector)]](repeating: [], count: Self.ringSize)
  private var quarterRing = [[(Int, Int, Quarter)]](repeating: [], count: Self.ringSize)
  private var productRing = [[(Int, Accumulator)]](repeating: [], count: Self.ringSize)

  private static let ringSize = 16

  // MARK: Places of scalars

  private static let kinds: [Register.Kind] =
    [.r, .p, .m, .dj, .dn, .dc, .s, .ls, .le, .lc, .lr, .sp, .dp, .coreID]
    + Register.controls + Register.statuses
  private static let bases: [Register.Kind: Int] = {
    var bases: [Register.Kind: Int] = [:]
    var next = 0
    for kind in kinds {
      bases[kind] = next
      next += Register.counts[kind] ?? 1
    }
    return bases
  }()
  private static let scalarCount = kinds.reduce(0) { $0 + (Register.counts[$1] ?? 1) }

  /// The place of a register of up to 32 bits; nil for vectors and accumulators.
  static func place(_ register: Register) -> Int? {
    bases[register.kind].map { $0 + register.index }
  }

  /// The bits of addresses.
  static let addressMask: UInt32 = 0xFFFFF

  // MARK: Now

  func scalar(_ place: Int) -> UInt32 { scalars[place] }
  func half(_ place: Int) -> HalfVector { halves[place] }
  func accumulator(_ index: Int) -> Accumulator { accumulators[index] }

  /// An accumulator as a product sees it that reads in this cycle: with what another product writes at its end.
  func accumulator(_ index: Int, at cycle: Int) -> Accumulator {
    for (place, value) in productRing[cycle % Self.ringSize] where place == index { return value }
    return accumulators[index]
  }

  mutating func set(_ place: Int, _ value: UInt32) { scalars[place] = value }
  mutating func setHalf(_ place: Int, _ value: HalfVector) { halves[place] = value }
  mutating func setAccumulator(_ index: Int, _ value: Accumulator) { accumulators[index] = value }

  // MARK: Later

  mutating func land(_ place: Int, _ value: UInt32, at cycle: Int) {
    scalarRing[cycle % Self.ringSize].append((place, value))
  }

  mutating func landHalf(_ place: Int, _ value: HalfVector, at cycle: Int) {
    halfRing[cycle % Self.ringSize].append((place, value))
  }

  mutating func landQuarter(_ index: Int, _ quarter: Int, _ value: Quarter, at cycle: Int) {
    quarterRing[cycle % Self.ringSize].append((index, quarter, value))
  }

  mutating func landProduct(_ index: Int, _ value: Accumulator, at cycle: Int) {
    productRing[cycle % Self.ringSize].append((index, value))
  }

  /// Lets all land that does so at the end of a cycle.
  mutating func finish(_ cycle: Int) {
    let slot = cycle % Self.ringSize
    if !scalarRing[slot].isEmpty {
      for (place, value) in scalarRing[slot] { scalars[place] = value }
      scalarRing[slot].removeAll(keepingCapacity: true)
    }
    if !halfRing[slot].isEmpty {
      for (place, value) in halfRing[slot] { halves[place] = value }
      halfRing[slot].removeAll(keepingCapacity: true)
    }
    if !quarterRing[slot].isEmpty {
      for (index, quarter, value) in quarterRing[slot] {
        for lane in 0..<8 { accumulators[index][quarter * 8 + lane] = value[lane] }
      }
      quarterRing[slot].removeAll(keepingCapacity: true)
    }
    if !productRing[slot].isEmpty {
      for (index, value) in productRing[slot] { accumulators[index] = value }
      productRing[slot].removeAll(keepingCapacity: true)
    }
  }
}
