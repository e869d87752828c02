// A core that runs the bytes of its program, with the latencies of its instructions.
//
// A cycle goes so: products whose accumulators are read in it do so; the bundle is issued, which reads all else that
// it reads; what lands in it lands. Loads and usual stores touch the memory in the same stage, so they do it here when
// they are issued, loads first. A stall, for a lock or for a bank of memory that two instructions want, stops
// everything, and nothing is late for it: stalls are counted apart.

/// Locks and what else a core can reach outside of itself.
protocol CoreSurroundings {
  /// Takes from a lock, or returns false if it has to wait.
  mutating func acquire(_ lock: Int, _ value: Int) -> Bool
  mutating func release(_ lock: Int, _ value: Int)
}

/// What the cycles of cores went to.
package struct CoreActivity: Sendable, Hashable {
  /// Bundles with a product, and all others.
  package var products = 0
  package var others = 0
  /// Cycles that were lost behind lock instructions, to banks of memory, and waiting for a lock.
  package var lockStalls = 0
  package var bankStalls = 0
  package var waits = 0

  package static func + (a: Self, b: Self) -> Self {
    CoreActivity(
      products: a.products + b.products,
      others: a.others + b.others,
      lockStalls: a.lockStalls + b.lockStalls,
      bankStalls: a.bankStalls + b.bankStalls,
      waits: a.waits + b.waits
    )
  }

  static func - (a: Self, b: Self) -> Self {
    CoreActivity(
      products: a.products - b.products,
      others: a.others - b.others,
      lockStalls: a.lockStalls - b.lockStalls,
      bankStalls: a.bankStalls - b.bankStalls,
      waits: a.waits - b.waits
    )
  }

  var stalls: Int { lockStalls + bankStalls }
}

/// A core of the simulated array.
final class SimulatedCore {
  enum Status: Sendable, Hashable {
    case running
    /// For this lock, by the core's number of it.
    case waiting(lock: Int)
    case done
  }

  private struct Branch {
    var target: Int
    var slotsLeft: Int
  }

  /// A product that has its factors and reads its accumulator later.
  private struct Product {
    var destination: Int
    var addend: Int?
    var factors: (HalfVector, HalfVector, HalfVector)
    var configuration: UInt32
    var subtracts: Bool
  }

  let registers = CoreRegisters()
  /// The own memory.
  let memory: TileMemory
  private(set) var activity = CoreActivity()
  /// Cycles that may still be used; below zero where a stall has used more.
  private var credit = 0
  /// The banks that the bundle has used.
  private var banks = 0
  /// The next bundle.
  private(set) var pc = 0
  /// Cycles that were not stalled.
  private(set) var cycle = 0
  private(set) var status = Status.running
  /// The operations of all bundles, and where those of each begin.
  private let operations: [CoreOperation]
  private let starts: [Int]
  /// Whether a bundle takes a lock.
  private let takesLock: [Bool]
  private let places: CoreProgram
  private var branch: Branch?
  /// By the cycle in which their accumulators are read.
  private var products = InlineArray<4, Product?>(repeating: nil)
  /// Whether a bundle has a product, and whether it uses a lock.
  private let hasProduct: [Bool]
  private let usesLock: [Bool]

  /// Where the own memory is for the core.
  static let memoryBase: UInt32 = 0x70000
  private static let productLead = 2
  /// Cycles in which nothing is issued behind a lock instruction; published, and said to be conservative.
  private static let lockStall = 6
  private static let bankBytes = RegisterMap.of(.core).bankBytes
  private static let loopStart = CoreRegisters.place(Register(.ls)) ?? 0
  private static let loopEnd = CoreRegisters.place(Register(.le)) ?? 0
  private static let loopCount = CoreRegisters.place(Register(.lc)) ?? 0
  private static let returnAddress = CoreRegisters.place(Register(.lr)) ?? 0
  private static let selector = CoreRegisters.place(Register(.r, 27)) ?? 0

  /// - Throws: `NPUError.operand` with the place of an instruction that is not simulated.
  init(_ program: CoreProgram, memory: TileMemory) throws(NPUError) {
    places = program
    self.memory = memory
    var operations: [CoreOperation] = []
    var (starts, takesLock): ([Int], [Bool]) = ([0], [])
    var (usesLock, hasProduct): ([Bool], [Bool]) = ([], [])
    for (index, bundle) in program.bundles.enumerated() {
      // Loads before stores: what one bundle does to the same bytes.
      for slot in [Slot.ldb, .lda, .alu, .mv, .lng, .vec, .st] {
        guard let instruction = bundle[slot] else { continue }
        do throws(NPUError) {
          operations.append(try CoreOperation(instruction))
        } catch {
          throw NPUError(error.code, error.message, at: program.place(index))
        }
      }
      starts.append(operations.count)
      takesLock.append(bundle[.alu]?.mnemonic == "acq")
      usesLock.append(["acq", "rel"].contains(bundle[.alu]?.mnemonic))
      hasProduct.append(bundle[.vec] != nil)
    }
    self.operations = operations
    self.starts = starts
    self.takesLock = takesLock
    self.usesLock = usesLock
    self.hasProduct = hasProduct
  }

  /// Sets a register before the program runs, as a caller does.
  func set(_ register: Register, _ value: UInt32) {
    if let place = CoreRegisters.place(register) { registers.set(place, value) }
  }

  /// Runs for some cycles, or until it waits for a lock.
  ///
  /// - Returns: Whether anything was done.
  /// - Throws: `NPUError.bundle` for an access outside of the own memory, or a program that runs over its end.
  func run(cycles: Int, _ outside: inout some CoreSurroundings) throws(NPUError) -> Bool {
    let before = cycle
    credit += cycles
    while credit > 0, status != .done {
      let stalls = activity.stalls
      try step(&outside)
      guard status == .running else { break }
      credit -= 1 + activity.stalls - stalls
    }
    if credit > 0 {
      if status != .done { activity.waits += credit }
      credit = 0
    }
    return cycle > before
  }

  /// Runs one bundle, unless it waits for a lock.
  ///
  /// - Throws: `NPUError.bundle` for an access outside of the own memory, or a program that runs over its end.
  func step(_ outside: inout some CoreSurroundings) throws(NPUError) {
    guard status != .done else { return }
    guard pc >= 0, pc < takesLock.count else {
      throw NPUError(.bundle, "the program runs over its end", at: places.place(pc))
    }
    for index in starts[pc]..<starts[pc + 1] where takesLock[pc] {
      guard case .acquire(let lock, let register, let value) = operations[index] else { continue }
      let number = lock ?? Int(registers.scalar(register))
      guard outside.acquire(number, Int(Int32(bitPattern: registers.scalar(value)))) else {
        status = .waiting(lock: number)
        return
      }
    }
    status = .running
    multiply()
    let issued = pc
    banks = 0
    if hasProduct[issued] { activity.products += 1 } else { activity.others += 1 }
    if usesLock[issued] { activity.lockStalls += Self.lockStall }
    for index in starts[issued]..<starts[issued + 1] {
      do throws(NPUError) {
        try run(operations[index], &outside)
      } catch {
        throw NPUError(error.code, error.message, at: places.place(issued))
      }
    }
    registers.finish(cycle)
    cycle += 1
    advance(issued)
  }

  /// Finds the next bundle.
  private func advance(_ issued: Int) {
    if var current = branch {
      current.slotsLeft -= 1
      if current.slotsLeft < 0 {
        pc = places.index(at: current.target) ?? places.bundles.count
        branch = nil
        return
      }
      branch = current
    }
    pc = issued + 1
    let count = registers.scalar(Self.loopCount)
    guard count > 0, Int(registers.scalar(Self.loopEnd)) == places.addresses[issued] else {
      return
    }
    registers.set(Self.loopCount, count - 1)
    guard count > 1 else { return }
    pc = places.index(at: Int(registers.scalar(Self.loopStart))) ?? places.bundles.count
  }

  private func jump(_ target: Int) {
    branch = Branch(target: target, slotsLeft: 5)
  }

  // MARK: Memory

  /// Returns the address of an access in the own memory, and changes the pointer.
  private func resolve(
    _ address: CoreOperation.Address,
    _ count: Int
  ) throws(NPUError) -> Int {
    let pointer = registers.scalar(address.pointer)
    let index = address.index.map { registers.scalar($0) } ?? 0
    let place = (pointer &+ address.offset &+ index) & CoreRegisters.addressMask
    change(address, pointer)
    guard place >= Self.memoryBase, Int(place - Self.memoryBase) + count <= memory.count,
      Int(place).isMultiple(of: count)
    else {
      throw NPUError(.bundle, "an access of \(count) bytes at \(place.hexadecimal)")
    }
    let own = Int(place - Self.memoryBase)
    let bank = 1 << (own / Self.bankBytes)
    if banks & bank != 0 { activity.bankStalls += 1 }
    banks |= bank
    return own
  }

  private func change(_ address: CoreOperation.Address, _ pointer: UInt32) {
    switch address.change {
    case .none: break
    case .constant(let step):
      registers.land(address.pointer, (pointer &+ step) & CoreRegisters.addressMask, at: cycle)
    case .register(let place):
      let step = registers.scalar(place)
      registers.land(address.pointer, (pointer &+ step) & CoreRegisters.addressMask, at: cycle)
    }
  }

  // MARK: Instructions

  /// Loads land so many cycles after the issue.
  private static let loadDelay = 6

  private func run(
    _ operation: CoreOperation,
    _ outside: inout some CoreSurroundings
  ) throws(NPUError) {
    switch operation {
    case .loadScalar(let place, let address):
      let start = try resolve(address, 4)
      let value = UInt32(littleEndian: memory.load(UInt32.self, at: start))
      registers.land(place, value, at: cycle + Self.loadDelay)
    case .storeScalar(let place, let address):
      memory.store(registers.scalar(place).littleEndian, at: try resolve(address, 4))
    case .loadPart(let place, let address, let bytes, let isSigned):
      let start = try resolve(address, bytes)
      let low = UInt32(memory.load(UInt8.self, at: start))
      let high = bytes == 2 ? UInt32(memory.load(UInt8.self, at: start + 1)) << 8 : 0
      let value = Self.extended(high | low, bits: UInt32(8 * bytes), isSigned)
      registers.land(place, value, at: cycle + Self.loadDelay)
    case .storePart(let place, let address, let bytes):
      // It writes later than others, but no access may be so near that it could see that.
      let (value, start) = (registers.scalar(place), try resolve(address, bytes))
      for byte in 0..<bytes {
        memory.store(UInt8(truncatingIfNeeded: value >> UInt32(8 * byte)), at: start + byte)
      }
    case .loadHalf(let place, let address):
      let value = memory.load(HalfVector.self, at: try resolve(address, 32))
      registers.landHalf(place, value, at: cycle + Self.loadDelay)
    case .loadQuarter(let index, let quarter, let address):
      let value = memory.load(Quarter.self, at: try resolve(address, 32))
      registers.landQuarter(index, quarter, value, at: cycle + Self.loadDelay)
    case .storeHalf(let place, let address):
      memory.store(registers.half(place), at: try resolve(address, 32))
    case .storeQuarter(let index, let quarter, let address):
      memory.store(registers.quarter(index, quarter), at: try resolve(address, 32))
    case .advance(let address): change(address, registers.scalar(address.pointer))
    case .product(let destination, let addend, let x, let y, let configuration, let subtracts):
      let word = registers.scalar(configuration)
      guard word & ~1 == Self.bytesConfiguration else {
        throw NPUError(.operand, "products of configuration \(word.hexadecimal) are not simulated")
      }
      products[(cycle + Self.productLead) & 3] = Product(
        destination: destination,
        addend: addend,
        factors: (registers.half(2 * x), registers.half(2 * y), registers.half(2 * y + 1)),
        configuration: word,
        subtracts: subtracts
      )
    case .clear(let index): registers.landProduct(index, Accumulator(), at: cycle + 4)
    default:
      runMove(operation)
      runInteger(operation)
      runControl(operation, &outside)
    }
  }

  private func runMove(_ operation: CoreOperation) {
    switch operation {
    case .broadcast(let vector, let source, let bytes):
      let value = registers.scalar(source)
      var half = HalfVector()
      for lane in 0..<32 {
        half[lane] = UInt8(truncatingIfNeeded: value >> UInt32(lane % bytes * 8))
      }
      for part in 0..<2 { registers.landHalf(2 * vector + part, half, at: cycle + 1) }
    case .moveVector(let vector, let source):
      for part in 0..<2 {
        registers.landHalf(2 * vector + part, registers.half(2 * source + part), at: cycle + 1)
      }
    case .vectorSum(let vector, let a, let b, let bytes, let subtracts):
      for part in 0..<2 {
        let halves = (registers.half(2 * a + part), registers.half(2 * b + part))
        let value = Self.sum(halves.0, halves.1, bytes: bytes, subtracts)
        registers.landHalf(2 * vector + part, value, at: cycle + 1)
      }
    case .moveToAccumulator(let index, let half, let source):
      for part in 0..<2 {
        let value = unsafe unsafeBitCast(registers.half(2 * source + part), to: Quarter.self)
        registers.landQuarter(index, 2 * half + part, value, at: cycle + 1)
      }
    default: break
    }
  }

  private func runInteger(_ operation: CoreOperation) {
    switch operation {
    case .constant(let place, let value): registers.land(place, value, at: cycle)
    case .move(let place, let source): registers.land(place, registers.scalar(source), at: cycle)
    case .integer(let kind, let place, let a, let b):
      let value = kind(registers.scalar(a), registers.scalar(b))
      registers.land(place, value, at: kind == .mul ? cycle + 1 : cycle)
    case .addConstant(let place, let a, let value):
      registers.land(place, registers.scalar(a) &+ value, at: cycle)
    case .extend(let place, let a, let bits, let isSigned):
      registers.land(place, Self.extended(registers.scalar(a), bits: bits, isSigned), at: cycle)
    case .isZero(let place, let a, let wants):
      registers.land(place, (registers.scalar(a) == 0) == wants ? 1 : 0, at: cycle)
    case .select(let place, let a, let b, let ifZero):
      let takesFirst = (registers.scalar(Self.selector) == 0) == ifZero
      registers.land(place, registers.scalar(takesFirst ? a : b), at: cycle)
    default: break
    }
  }

  /// The lowest bits of a number, with their sign or without.
  private static func extended(_ value: UInt32, bits: UInt32, _ isSigned: Bool) -> UInt32 {
    let shift = 32 - bits
    let high = value << shift
    return isSigned ? UInt32(bitPattern: Int32(bitPattern: high) >> Int32(shift)) : high >> shift
  }

  /// Sums or differences of lanes of one, two or four bytes, without carries between them.
  private static func sum(
    _ a: HalfVector,
    _ b: HalfVector,
    bytes: Int,
    _ subtracts: Bool
  ) -> HalfVector {
    var result = HalfVector()
    for lane in stride(from: 0, to: 32, by: bytes) {
      var (first, second): (UInt32, UInt32) = (0, 0)
      for byte in 0..<bytes {
        first |= UInt32(a[lane + byte]) << UInt32(8 * byte)
        second |= UInt32(b[lane + byte]) << UInt32(8 * byte)
      }
      let value = subtracts ? first &- second : first &+ second
      for byte in 0..<bytes {
        result[lane + byte] = UInt8(truncatingIfNeeded: value >> UInt32(8 * byte))
      }
    }
    return result
  }

  /// Goes on elsewhere, and remembers where to come back: behind the delay slots.
  private func call(_ target: Int) {
    let back = UInt32(places.addresses[min(pc + 6, places.bundles.count)])
    registers.land(Self.returnAddress, back, at: cycle + 3)
    jump(target)
  }

  private func runControl(
    _ operation: CoreOperation,
    _ outside: inout some CoreSurroundings
  ) {
    switch operation {
    case .jump(let target): jump(target)
    case .jumpToRegister(let place): jump(Int(registers.scalar(place)))
    case .call(let target): call(target)
    case .callRegister(let place): call(Int(registers.scalar(place)))
    case .jumpIf(let place, let target, let zero):
      if (registers.scalar(place) == 0) == zero { jump(target) }
    case .countDown(let place, let source, let pointer):
      let count = registers.scalar(source)
      registers.land(place, count &- 1, at: cycle)
      if count != 0 { jump(Int(registers.scalar(pointer))) }
    case .back: jump(Int(registers.scalar(Self.returnAddress)))
    case .release(let lock, let register, let value):
      let number = lock ?? Int(registers.scalar(register))
      outside.release(number, Int(Int32(bitPattern: registers.scalar(value))))
    case .done: status = .done
    default: break
    }
  }

  // MARK: Products

  /// The configuration of products of 4 x 8 by 8 x 8 signed bytes.
  static let bytesConfiguration: UInt32 = 0x308

  private func multiply() {
    guard let product = products[cycle & 3] else { return }
    products[cycle & 3] = nil
    let addend = product.addend.map { registers.accumulator($0, at: cycle) } ?? Accumulator()
    let clears = product.configuration & 1 == 1
    let own = Self.product(product.factors)
    let base = clears ? Accumulator() : addend
    registers.landProduct(
      product.destination,
      product.subtracts ? base &- own : base &+ own,
      at: cycle + 4 - Self.productLead
    )
  }

  /// 4 x 8 signed bytes, row by row, times 8 x 8: lane 8 i + j has the sum over k of a(i, k) b(k, j).
  private static func product(_ factors: (HalfVector, HalfVector, HalfVector)) -> Accumulator {
    typealias Row = SIMD8<Int8>
    // Sizes and layouts are those of arrays of bytes.
    let a = unsafe unsafeBitCast(factors.0, to: (Row, Row, Row, Row).self)
    let low = unsafe unsafeBitCast(factors.1, to: (Row, Row, Row, Row).self)
    let high = unsafe unsafeBitCast(factors.2, to: (Row, Row, Row, Row).self)
    let b = (
      Quarter(truncatingIfNeeded: low.0), Quarter(truncatingIfNeeded: low.1),
      Quarter(truncatingIfNeeded: low.2), Quarter(truncatingIfNeeded: low.3),
      Quarter(truncatingIfNeeded: high.0), Quarter(truncatingIfNeeded: high.1),
      Quarter(truncatingIfNeeded: high.2), Quarter(truncatingIfNeeded: high.3)
    )
    func row(_ factors: Row) -> Quarter {
      let each = Quarter(truncatingIfNeeded: factors)
      let first = each[0] &* b.0 &+ each[1] &* b.1 &+ each[2] &* b.2 &+ each[3] &* b.3
      return first &+ each[4] &* b.4 &+ each[5] &* b.5 &+ each[6] &* b.6 &+ each[7] &* b.7
    }
    let rows = (row(a.0), row(a.1), row(a.2), row(a.3))
    return unsafe unsafeBitCast(rows, to: Accumulator.self)
  }
}
