// Instructions made ready to be run: registers by their places, modes of addresses told apart once.

/// What an instruction does in a simulated core.
enum CoreOperation: Sendable {
  /// How an address is made, and what becomes of the pointer.
  struct Address: Sendable {
    enum Change: Sendable {
      case none
      /// By a number of bytes.
      case constant(UInt32)
      /// By a register.
      case register(Int)
    }

    var pointer: Int
    /// Added for this access alone.
    var offset: UInt32 = 0
    /// A register that is added for this access alone.
    var index: Int?
    var change = Change.none
  }

  enum Integer: Sendable {
    case add, sub, and, or, xor, eq, ne, ge, lt, geu, ltu, lshl, ashl, mul
  }

  case loadScalar(Int, Address)
  case storeScalar(Int, Address)
  /// One or two bytes, which become a number of 32 bits.
  case loadPart(Int, Address, bytes: Int, isSigned: Bool)
  case storePart(Int, Address, bytes: Int)
  case loadHalf(Int, Address)
  case loadQuarter(Int, Int, Address)
  case storeHalf(Int, Address)
  case storeQuarter(Int, Int, Address)
  case advance(Address)
  case constant(Int, UInt32)
  case move(Int, Int)
  case integer(Integer, Int, Int, Int)
  /// With a constant.
  case addConstant(Int, Int, UInt32)
  case isZero(Int, Int, wants: Bool)
  /// The lowest bits as a number of 32 bits.
  case extend(Int, Int, bits: UInt32, isSigned: Bool)
  /// By whether r27 is zero.
  case select(Int, Int, Int, ifZero: Bool)
  /// Both halves of a vector, by their places.
  case broadcast(Int, Int, bytes: Int)
  case moveVector(Int, Int)
  /// Lanes of so many bytes.
  case vectorSum(Int, Int, Int, bytes: Int, subtracts: Bool)
  case moveToAccumulator(Int, half: Int, from: Int)
  case product(Int, Int?, Int, Int, Int, subtracts: Bool)
  case clear(Int)
  case jump(Int)
  case jumpToRegister(Int)
  case call(Int)
  case callRegister(Int)
  case jumpIf(Int, Int, zero: Bool)
  case countDown(Int, Int, Int)
  case back
  case acquire(lock: Int?, register: Int, value: Int)
  case release(lock: Int?, register: Int, value: Int)
  case done
  case event(Int)

  /// - Throws: `NPUError.operand` for an instruction that is not simulated.
  init(_ instruction: Instruction) throws(NPUError) {
    let places = OperandPlaces(instruction)
    // No two of these know one instruction.
    var found = try Self.memory(places)
    if found == nil { found = try Self.control(places) }
    if found == nil { found = try Self.integer(places) }
    if found == nil { found = try Self.vector(places) }
    if found == nil { found = try Self.product(places) }
    guard let found else { throw places.unknown }
    self = found
  }

  private static func memory(_ places: OperandPlaces) throws(NPUError) -> CoreOperation? {
    switch places.mnemonic {
    case "lda": return .loadScalar(try places.scalar("D"), try places.address())
    case "st": return .storeScalar(try places.scalar("S"), try places.address())
    case "lda.s8", "lda.u8", "lda.s16", "lda.u16":
      return .loadPart(
        try places.scalar("D"),
        try places.address(),
        bytes: places.mnemonic.hasSuffix("8") ? 1 : 2,
        isSigned: places.mnemonic.contains(".s")
      )
    case "st.s8", "st.s16":
      let bytes = places.mnemonic == "st.s8" ? 1 : 2
      return .storePart(try places.scalar("S"), try places.address(), bytes: bytes)
    case "vlda", "vldb":
      if let (index, part) = places.quarter("D") {
        return .loadQuarter(index, part, try places.address())
      }
      return .loadHalf(try places.half("D"), try places.address())
    case "vst":
      if let (index, part) = places.quarter("S") {
        return .storeQuarter(index, part, try places.address())
      }
      return .storeHalf(try places.half("S"), try places.address())
    case "padda", "paddb", "padds": return .advance(try places.address())
    default: return nil
    }
  }

  private static func integer(_ places: OperandPlaces) throws(NPUError) -> CoreOperation? {
    switch places.mnemonic {
    case "mova", "movx", "movxm", "mov":
      let source: Character = places.has("S") ? "S" : "A"
      guard places.has(source) else { return .constant(try places.scalar("D"), places.value) }
      return .move(try places.scalar("D"), try places.scalar(source))
    case "add.nc": return .addConstant(try places.scalar("D"), try places.scalar("A"), places.value)
    case "add" where !places.has("B"):
      return .addConstant(try places.scalar("D"), try places.scalar("A"), places.value)
    case "extend.s8", "extend.s16", "extend.u8", "extend.u16":
      return .extend(
        try places.scalar("D"),
        try places.scalar("A"),
        bits: places.mnemonic.hasSuffix("8") ? 8 : 16,
        isSigned: places.mnemonic.contains(".s")
      )
    case "eqz": return .isZero(try places.scalar("D"), try places.scalar("A"), wants: true)
    case "nez": return .isZero(try places.scalar("D"), try places.scalar("A"), wants: false)
    case "sel.eqz", "sel.nez":
      return .select(
        try places.scalar("D"),
        try places.scalar("A"),
        try places.scalar("B"),
        ifZero: places.mnemonic == "sel.eqz"
      )
    default:
      guard let kind = Integer(named: places.mnemonic) else { return nil }
      return .integer(
        kind,
        try places.scalar("D"),
        try places.scalar("A"),
        try places.scalar("B")
      )
    }
  }

  private static func vector(_ places: OperandPlaces) throws(NPUError) -> CoreOperation? {
    switch places.mnemonic {
    case "vbcst.8": return .broadcast(try places.vector("D"), try places.scalar("A"), bytes: 1)
    case "vbcst.16": return .broadcast(try places.vector("D"), try places.scalar("A"), bytes: 2)
    case "vbcst.32": return .broadcast(try places.vector("D"), try places.scalar("A"), bytes: 4)
    case "vadd.8", "vadd.16", "vadd.32", "vsub.8", "vsub.16", "vsub.32":
      let bits = places.mnemonic.drop { $0 != "." }.dropFirst()
      return .vectorSum(
        try places.vector("D"),
        try places.vector("A"),
        try places.vector("B"),
        bytes: bits == "8" ? 1 : bits == "16" ? 2 : 4,
        subtracts: places.mnemonic.hasPrefix("vsub")
      )
    case "vmov":
      let source = try places.vector("S")
      switch places.instruction["D"] {
      case let register? where register.kind == .bml:
        return .moveToAccumulator(register.index, half: 0, from: source)
      case let register? where register.kind == .bmh:
        return .moveToAccumulator(register.index, half: 1, from: source)
      default: return .moveVector(try places.vector("D"), source)
      }
    default: return nil
    }
  }

  private static func product(_ places: OperandPlaces) throws(NPUError) -> CoreOperation? {
    switch places.mnemonic {
    case "vmac", "vmsc", "vmul":
      return .product(
        try places.accumulator("D"),
        places.has("A") ? try places.accumulator("A") : nil,
        try places.vector("X"),
        try places.vector("Y"),
        try places.scalar("C"),
        subtracts: places.mnemonic == "vmsc"
      )
    case "vclr": return .clear(try places.accumulator("D"))
    default: return nil
    }
  }

  private static func control(_ places: OperandPlaces) throws(NPUError) -> CoreOperation? {
    let target = Int(places.value)
    switch places.mnemonic {
    case "j": return places.has("P") ? .jumpToRegister(try places.scalar("P")) : .jump(target)
    case "jl" where places.has("P"): return .callRegister(try places.scalar("P"))
    case "jl": return .call(target)
    case "jz": return .jumpIf(try places.scalar("A"), target, zero: true)
    case "jnz": return .jumpIf(try places.scalar("A"), target, zero: false)
    case "jnzd":
      return .countDown(try places.scalar("D"), try places.scalar("A"), try places.scalar("P"))
    case "ret": return .back
    case "acq", "rel":
      // Its number is a constant, or in a register.
      let constant = places.instruction.immediate
      let register = constant == nil ? try places.scalar("A") : 0
      let value = try places.scalar("V")
      return places.mnemonic == "acq"
        ? .acquire(lock: constant, register: register, value: value)
        : .release(lock: constant, register: register, value: value)
    case "done": return .done
    case "event": return .event(target)
    default: return nil
    }
  }
}

/// Where the registers of an instruction's operands are.
private struct OperandPlaces {
  let instruction: Instruction

  init(_ instruction: Instruction) { self.instruction = instruction }

  var mnemonic: String { instruction.mnemonic }
  var value: UInt32 { UInt32(truncatingIfNeeded: instruction.immediate ?? 0) }
  var unknown: NPUError { NPUError(.operand, "\(instruction) is not simulated") }

  func has(_ letter: Character) -> Bool { instruction[letter] != nil }

  func scalar(_ letter: Character) throws(NPUError) -> Int {
    guard let register = instruction[letter], let place = CoreRegisters.place(register) else {
      throw unknown
    }
    return place
  }

  func half(_ letter: Character) throws(NPUError) -> Int {
    switch instruction[letter] {
    case let register? where register.kind == .wl: return 2 * register.index
    case let register? where register.kind == .wh: return 2 * register.index + 1
    default: throw unknown
    }
  }

  func vector(_ letter: Character) throws(NPUError) -> Int {
    guard let register = instruction[letter], register.kind == .x else { throw unknown }
    return register.index
  }

  func accumulator(_ letter: Character) throws(NPUError) -> Int {
    guard let register = instruction[letter], register.kind == .cm else { throw unknown }
    return register.index
  }

  /// The accumulator and which quarter of it; nil for other registers.
  func quarter(_ letter: Character) -> (Int, Int)? {
    let kinds: [Register.Kind] = [.amll, .amlh, .amhl, .amhh]
    guard let register = instruction[letter],
      let quarter = kinds.firstIndex(of: register.kind)
    else { return nil }
    return (register.index, quarter)
  }

  func address() throws(NPUError) -> CoreOperation.Address {
    try CoreOperation.Address(instruction, unknown)
  }
}

extension CoreOperation.Integer {
  fileprivate init?(named name: String) {
    let all: [String: Self] = [
      "add": .add, "sub": .sub, "and": .and, "or": .or, "xor": .xor, "eq": .eq, "ne": .ne,
      "ge": .ge,
      "lt": .lt, "geu": .geu, "ltu": .ltu, "lshl": .lshl, "ashl": .ashl, "mul": .mul,
    ]
    guard let found = all[name] else { return nil }
    self = found
  }

  func callAsFunction(_ a: UInt32, _ b: UInt32) -> UInt32 {
    let (signedA, signedB) = (Int32(bitPattern: a), Int32(bitPattern: b))
    switch self {
    case .add: return a &+ b
    case .sub: return a &- b
    case .and: return a & b
    case .or: return a | b
    case .xor: return a ^ b
    case .eq: return a == b ? 1 : 0
    case .ne: return a != b ? 1 : 0
    case .ge: return signedA >= signedB ? 1 : 0
    case .lt: return signedA < signedB ? 1 : 0
    case .geu: return a >= b ? 1 : 0
    case .ltu: return a < b ? 1 : 0
    // A negative count shifts to the right.
    case .lshl: return signedB >= 0 ? a << UInt32(signedB) : a >> UInt32(-Int64(signedB))
    case .ashl:
      return signedB >= 0
        ? a << UInt32(signedB) : UInt32(bitPattern: signedA >> Int32(clamping: -Int64(signedB)))
    case .mul: return a &* b
    }
  }
}

extension CoreOperation.Address {
  fileprivate init(_ instruction: Instruction, _ unknown: NPUError) throws(NPUError) {
    let isStack = instruction.form.tokens.contains(.text("sp"))
    let register = isStack ? Register(.sp) : instruction["P"]
    guard let register, let pointer = CoreRegisters.place(register), instruction["E"] == nil else {
      throw unknown
    }
    self.init(pointer: pointer)
    let step = UInt32(truncatingIfNeeded: instruction.immediate ?? 0)
    if instruction.mnemonic.hasPrefix("padd") || instruction.form.tokens.last != .text("]") {
      change =
        try instruction["M"].map { modifier throws(NPUError) in
          guard let place = CoreRegisters.place(modifier) else { throw unknown }
          return .register(place)
        } ?? .constant(step)
    } else {
      offset = step
      index = instruction["J"].flatMap(CoreRegisters.place)
    }
  }
}
