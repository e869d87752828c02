// When instructions read and write, and which ports and units they use: what a schedule has to keep to, because the
// core itself stalls for nothing but locks and banks of memory.
//
// An instruction that is issued in cycle t reads an operand of stage r in cycle t + r - 1, and writes a result of
// stage w at the end of cycle t + w - 1. A read sees what was written in earlier cycles; with a bypass that both know,
// also what is written in its own. Source: Xilinx/llvm-aie, AIE2Schedule.td; loads, products and their accumulators
// were checked by running a published program.

/// What an instruction does when.
struct Timing: Sendable {
  /// A path from a result to an operand of the same cycle.
  enum Bypass: Sendable, Hashable {
    /// Between products, for accumulators.
    case products
    /// Between moves and additions of vectors.
    case moves
  }

  struct Read: Sendable {
    var letter: Character
    var registers: [Register]
    var stage = 1
    var bypass: Bypass?
  }

  struct Write: Sendable {
    var registers: [Register]
    var stage = 1
    var bypass: Bypass?
  }

  /// What two instructions cannot use in one cycle.
  enum Unit: String, Sendable, Hashable {
    case scalarRead = "the read port for scalars to be stored and configurations"
    case pointerRead = "the read port for moved scalars and pointers"
    case aluWrite = "the write port of the integer unit"
    case moveWrite = "the write port of moves to scalars"
    case loadWrite = "the write port of loads to scalars"
    case pointerWrite = "the write port of pointers"
    case modifierWrite = "the write port of m"
    case strideWrite = "the write port of dj"
    case sizeWrite = "the write port of dn"
    case countWrite = "the write port of dc"
    case vectorWriteA = "the write port of vector loads"
    case vectorWriteB = "the write port of second vector loads"
    case vectorWriteM = "the write port of vector moves"
    case vectorRead = "the read port of vector stores"
    case accumulatorRead = "the read port of accumulators"
    case accumulatorWriteM = "the write port of loads and moves to accumulators"
    case accumulatorWriteA = "the write port of products"
    case shiftUp = "the unit that widens"
    case store = "the unit that stores"
    case loadA = "the first unit that loads"
    case loadB = "the second unit that loads"
    case locks = "the unit for locks"
  }

  enum Memory: Sendable, Hashable {
    case load
    case store
    /// A store behind a shift.
    case lateStore
    /// A store of less than a word: reads, and writes later.
    case partStore
  }

  var reads: [Read] = []
  var writes: [Write] = []
  var units: [(unit: Unit, cycle: Int)] = []
  var memory: Memory?
}

extension Register {
  /// The registers of which none is a part of another.
  var parts: [Register] {
    switch kind {
    case .x: [Register(.wl, index), Register(.wh, index)]
    case .cm: [.amll, .amlh, .amhl, .amhh].map { Register($0, index) }
    case .bml: [.amll, .amlh].map { Register($0, index) }
    case .bmh: [.amhl, .amhh].map { Register($0, index) }
    case .d: [.m, .dj, .dn, .dc].map { Register($0, index) }
    default: [self]
    }
  }

  /// The write port for what moves and loads bring, if it is no port of vectors.
  fileprivate func writeUnit(_ scalars: Timing.Unit) -> Timing.Unit? {
    switch kind {
    case .r, .s: scalars
    case .p: .pointerWrite
    case .m: .modifierWrite
    case .dj: .strideWrite
    case .dn: .sizeWrite
    case .dc: .countWrite
    default: nil
    }
  }

  fileprivate var isAccumulator: Bool {
    switch kind {
    case .cm, .bml, .bmh, .amll, .amlh, .amhl, .amhh: true
    default: false
    }
  }
}

extension Instruction {
  /// - Throws: `NPUError.operand` for an instruction whose timing is not known.
  func timing() throws(NPUError) -> Timing {
    var timing = Timing()
    addAddress(&timing)
    switch slot {
    case .lda, .ldb: try addLoad(&timing)
    case .st: addStore(&timing)
    case .alu: addInteger(&timing)
    case .mv: addMove(&timing)
    case .lng: addLong(&timing)
    case .vec: try addProduct(&timing)
    }
    return timing
  }

  private func read(
    _ letters: [Character],
    stage: Int = 1,
    bypass: Timing.Bypass? = nil,
    _ timing: inout Timing
  ) {
    for letter in letters {
      guard let register = self[letter] else { continue }
      timing.reads.append(
        Timing.Read(letter: letter, registers: register.parts, stage: stage, bypass: bypass)
      )
    }
  }

  private func write(_ stage: Int, bypass: Timing.Bypass? = nil, _ timing: inout Timing) {
    guard let register = self["D"] else { return }
    timing.writes.append(Timing.Write(registers: register.parts, stage: stage, bypass: bypass))
  }

  private func unknown() -> NPUError {
    NPUError(.operand, "the timing of \(mnemonic) is not known")
  }

  /// Whether the address is changed behind the access.
  private var incrementsAddress: Bool {
    guard self["P"] != nil else { return false }
    return form.tokens.last != .text("]") && form.tokens.contains(.text("]"))
  }

  /// The pointer, and what it is advanced by.
  private func addAddress(_ timing: inout Timing) {
    guard form.tokens.contains(.text("[")) else { return }
    if form.tokens.contains(.text("sp")) {
      timing.reads.append(Timing.Read(letter: "P", registers: [Register(.sp)]))
      if mnemonic.hasPrefix("padd") {
        timing.writes.append(Timing.Write(registers: [Register(.sp)]))
      }
    }
    read(["P", "M", "J"], &timing)
    if let pointer = self["P"], incrementsAddress {
      timing.writes.append(Timing.Write(registers: [pointer]))
    }
    guard let walk = self["E"] else { return }
    let isDeep = mnemonic.hasSuffix(".3d")
    let all = [walk] + (isDeep ? [Register(.d, walk.index + 4)] : [])
    for each in all {
      timing.reads.append(Timing.Read(letter: "E", registers: each.parts))
      timing.writes.append(Timing.Write(registers: [Register(.dc, each.index)]))
    }
  }

  private func addLoad(_ timing: inout Timing) throws(NPUError) {
    guard !mnemonic.hasPrefix("padd") else { return }
    if mnemonic == "mova" {
      write(1, &timing)
      if let unit = self["D"]?.writeUnit(.loadWrite) { timing.units.append((unit, 1)) }
      return
    }
    if mnemonic.hasPrefix("st.") {
      read(["S"], &timing)
      timing.memory = .partStore
      return
    }
    guard !mnemonic.contains("unpack") else { throw unknown() }
    timing.memory = .load
    timing.units.append((slot == .lda ? .loadA : .loadB, 2))
    if mnemonic.contains("ups") {
      read(["K"], stage: 7, &timing)
      write(9, &timing)
      timing.units += [(.accumulatorWriteM, 9), (.shiftUp, 7)]
      return
    }
    write(7, &timing)
    guard let destination = self["D"] else { return }
    if destination.isAccumulator {
      timing.units.append((.accumulatorWriteM, 7))
    } else if mnemonic.hasPrefix("v") {
      timing.units.append((slot == .lda ? .vectorWriteA : .vectorWriteB, 7))
    } else if let unit = destination.writeUnit(.loadWrite) {
      timing.units.append((unit, 7))
    }
  }

  private func addStore(_ timing: inout Timing) {
    guard !mnemonic.hasPrefix("padd") else { return }
    read(["S", "K"], &timing)
    let readsAccumulator = self["S"]?.isAccumulator ?? false
    if readsAccumulator { timing.units.append((.accumulatorRead, 1)) }
    if mnemonic.hasPrefix("vsrs") {
      write(4, &timing)
      timing.units.append((.vectorWriteA, 4))
      return
    }
    let isLate = mnemonic.hasPrefix("vst.srs")
    timing.memory = isLate ? .lateStore : .store
    timing.units.append((.store, isLate ? 4 : 2))
    if mnemonic.hasPrefix("vst") {
      if !readsAccumulator { timing.units.append((.vectorRead, 1)) }
    } else {
      timing.units += [(.scalarRead, 1), (.pointerRead, 1)]
    }
  }

  private func addInteger(_ timing: inout Timing) {
    switch mnemonic {
    case "acq", "rel", "acq.cond", "rel.cond":
      read(["V", "A"], &timing)
      timing.units += (2...5).map { (.locks, $0) }
    case "j", "jl":
      read(["P"], &timing)
      timing.units.append((.pointerRead, 1))
      if mnemonic == "jl" {
        timing.writes.append(Timing.Write(registers: [Register(.lr)], stage: 4))
      }
    case "ret": timing.reads.append(Timing.Read(letter: "L", registers: [Register(.lr)]))
    case "event", "done": break
    default:
      read(["A", "B", "P"], &timing)
      if mnemonic.hasPrefix("sel") {
        timing.reads.append(Timing.Read(letter: "Q", registers: [Register(.r, 27)]))
      }
      if mnemonic == "jnzd" { timing.units.append((.pointerRead, 1)) }
      let stage = mnemonic == "mul" ? 2 : 1
      write(stage, &timing)
      if self["D"]?.kind == .r { timing.units.append((.aluWrite, stage)) }
    }
  }

  private func addMove(_ timing: inout Timing) {
    if mnemonic == "mov" || mnemonic == "add.nc" {
      read(["S", "A"], &timing)
      if mnemonic == "mov", self["S"] != nil { timing.units.append((.pointerRead, 1)) }
      write(1, &timing)
      if let unit = self["D"]?.writeUnit(.moveWrite) { timing.units.append((unit, 1)) }
      return
    }
    guard mnemonic.hasPrefix("vups") || mnemonic.hasPrefix("vsrsm") else {
      let isFromAccumulator = self["S"]?.isAccumulator ?? false
      let isToAccumulator = self["D"]?.isAccumulator ?? false
      let isVector = !isFromAccumulator && !isToAccumulator
      read(["S", "A", "B", "C"], bypass: isVector ? .moves : nil, &timing)
      if isFromAccumulator { timing.units.append((.accumulatorRead, 1)) }
      write(2, bypass: isVector ? .moves : nil, &timing)
      timing.units.append((isToAccumulator ? .accumulatorWriteM : .vectorWriteM, 2))
      return
    }
    read(["S", "K"], &timing)
    if mnemonic.hasPrefix("vups") {
      write(3, &timing)
      timing.units += [(.accumulatorWriteM, 3), (.shiftUp, 1)]
    } else {
      write(4, &timing)
      timing.units += [(.accumulatorRead, 1), (.vectorWriteM, 4)]
    }
  }

  private func addLong(_ timing: inout Timing) {
    read(["A"], &timing)
    if mnemonic == "jl" {
      timing.writes.append(Timing.Write(registers: [Register(.lr)], stage: 4))
    }
    write(1, &timing)
    if let unit = self["D"]?.writeUnit(.moveWrite) { timing.units.append((unit, 1)) }
  }

  private func addProduct(_ timing: inout Timing) throws(NPUError) {
    guard mnemonic != "vmov.d" else { throw unknown() }
    let isFloat = mnemonic.hasSuffix(".f")
    read(["X", "Y", "C"], &timing)
    read(["A", "B"], stage: 3, bypass: isFloat ? nil : .products, &timing)
    write(isFloat ? 6 : 5, bypass: isFloat ? nil : .products, &timing)
    timing.units.append((.accumulatorWriteA, isFloat ? 6 : 5))
    if self["C"] != nil { timing.units.append((.scalarRead, 1)) }
    if self["B"] != nil { timing.units.append((.accumulatorRead, 3)) }
  }
}
