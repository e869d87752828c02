// The registers of a simulated core, and the results that are on their way to them.

/// Eight lanes of 32 bits: a quarter of an accumulator.
typealias Quarter = SIMD8<Int32>
/// An accumulator of 32 lanes of 32 bits, amll in the lowest.
typealias Accumulator = SIMD32<Int32>
/// Half a vector.
typealias HalfVector = SIMD32<UInt8>

/// What instructions write, and when it lands.
///
/// A core touches this several times a cycle, so it is plain memory that nothing copies and nobody counts.
@safe final class CoreRegisters {
  /// A result on its way: to a register of up to 32 bits, half a vector, or a quarter of an accumulator, by its place.
  private struct Landing<Value> {
    var place: Int
    var value: Value
  }

  /// The results of one kind that land at the end of each of eight cycles.
  @safe private struct Ring<Value> {
    /// No schedule that keeps to the ports has more.
    static var most: Int { 12 }
    let counts: UnsafeMutablePointer<Int>
    let landings: UnsafeMutablePointer<Landing<Value>>

    init(_ value: Value) {
      unsafe counts = .allocate(capacity: 8)
      unsafe counts.initialize(repeating: 0, count: 8)
      unsafe landings = .allocate(capacity: 8 * Self.most)
      unsafe landings.initialize(repeating: Landing(place: 0, value: value), count: 8 * Self.most)
    }

    func free() {
      unsafe counts.deallocate()
      unsafe landings.deallocate()
    }

    func add(_ place: Int, _ value: Value, _ cycle: Int) {
      let slot = cycle & 7
      let count = unsafe counts[slot]
      precondition(count < Self.most)
      unsafe landings[slot * Self.most + count] = Landing(place: place, value: value)
      unsafe counts[slot] = count + 1
    }

    /// Stores what lands at the end of a cycle.
    func land(_ cycle: Int, in registers: UnsafeMutablePointer<Value>) {
      let slot = cycle & 7
      let count = unsafe counts[slot]
      for item in 0..<count {
        let landing = unsafe landings[slot * Self.most + item]
        unsafe registers[landing.place] = landing.value
      }
      unsafe counts[slot] = 0
    }

    /// What lands in a register at the end of a cycle.
    func value(of place: Int, _ cycle: Int) -> Value? {
      let slot = cycle & 7
      for item in 0..<(unsafe counts[slot]) {
        let landing = unsafe landings[slot * Self.most + item]
        if landing.place == place { return landing.value }
      }
      return nil
    }
  }

  /// Registers of up to 32 bits, by their places.
  private let scalars: UnsafeMutablePointer<UInt32>
  /// wl and wh by turns.
  private let halves: UnsafeMutablePointer<HalfVector>
  /// Accumulators in the order of their quarters.
  private let quarters: UnsafeMutablePointer<Quarter>
  private let accumulators: UnsafeMutablePointer<Accumulator>
  private let scalarRing = Ring<UInt32>(0)
  private let halfRing = Ring(HalfVector())
  private let quarterRing = Ring(Quarter())
  private let productRing = Ring(Accumulator())

  private static let scalarCount = 128
  private static let halfCount = 24
  private static let accumulatorCount = 9

  init() {
    unsafe scalars = .allocate(capacity: Self.scalarCount)
    unsafe scalars.initialize(repeating: 0, count: Self.scalarCount)
    unsafe halves = .allocate(capacity: Self.halfCount)
    unsafe halves.initialize(repeating: HalfVector(), count: Self.halfCount)
    unsafe accumulators = .allocate(capacity: Self.accumulatorCount)
    unsafe accumulators.initialize(repeating: Accumulator(), count: Self.accumulatorCount)
    unsafe quarters = UnsafeMutableRawPointer(accumulators).assumingMemoryBound(to: Quarter.self)
  }

  deinit {
    unsafe scalars.deallocate()
    unsafe halves.deallocate()
    unsafe accumulators.deallocate()
    scalarRing.free()
    halfRing.free()
    quarterRing.free()
    productRing.free()
  }

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
    precondition(next <= 128, "more registers than places")
    return bases
  }()

  /// The place of a register of up to 32 bits; nil for vectors and accumulators.
  static func place(_ register: Register) -> Int? {
    bases[register.kind].map { $0 + register.index }
  }

  /// The bits of addresses.
  static let addressMask: UInt32 = 0xFFFFF

  // MARK: Now

  func scalar(_ place: Int) -> UInt32 {
    precondition(place < Self.scalarCount)
    return unsafe scalars[place]
  }

  func half(_ place: Int) -> HalfVector {
    precondition(place < Self.halfCount)
    return unsafe halves[place]
  }

  func quarter(_ index: Int, _ quarter: Int) -> Quarter {
    precondition(index < Self.accumulatorCount)
    return unsafe quarters[4 * index + quarter]
  }

  /// An accumulator as a product sees it that reads in this cycle: with what another product writes at its end.
  func accumulator(_ index: Int, at cycle: Int) -> Accumulator {
    precondition(index < Self.accumulatorCount)
    return productRing.value(of: index, cycle) ?? (unsafe accumulators[index])
  }

  func set(_ place: Int, _ value: UInt32) {
    precondition(place < Self.scalarCount)
    unsafe scalars[place] = value
  }

  // MARK: Later

  func land(_ place: Int, _ value: UInt32, at cycle: Int) {
    precondition(place < Self.scalarCount)
    scalarRing.add(place, value, cycle)
  }

  func landHalf(_ place: Int, _ value: HalfVector, at cycle: Int) {
    precondition(place < Self.halfCount)
    halfRing.add(place, value, cycle)
  }

  func landQuarter(_ index: Int, _ quarter: Int, _ value: Quarter, at cycle: Int) {
    precondition(index < Self.accumulatorCount)
    quarterRing.add(4 * index + quarter, value, cycle)
  }

  func landProduct(_ index: Int, _ value: Accumulator, at cycle: Int) {
    precondition(index < Self.accumulatorCount)
    productRing.add(index, value, cycle)
  }

  /// Lets all land that does so at the end of a cycle.
  func finish(_ cycle: Int) {
    unsafe scalarRing.land(cycle, in: scalars)
    unsafe halfRing.land(cycle, in: halves)
    unsafe quarterRing.land(cycle, in: quarters)
    unsafe productRing.land(cycle, in: accumulators)
  }
}
