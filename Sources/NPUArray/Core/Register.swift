// The registers of a core, and how fields of instructions number them.

/// A register, or one of the overlapping parts of one.
package struct Register: Sendable, Hashable, CustomStringConvertible {
  package enum Kind: String, Sendable, Hashable, CaseIterable {
    /// Integers of 32 bits.
    case r
    /// Addresses of 20 bits.
    case p
    /// Increments of addresses; and for walks in two and three dimensions the stride, size and count.
    case m, dj, dn, dc
    /// All of `m`, `dn`, `dj` and `dc` of one number.
    case d
    /// Shifts of accumulators to vectors.
    case s
    /// Vectors of 512 bits and their halves.
    case x, wl, wh
    /// Accumulators of 1024 bits, their halves and quarters.
    case cm, bml, bmh, amll, amlh, amhl, amhh
    case crVaddSign, crF2FMask, crF2IMask, crFPMask, crMCDEn, crPackSign, crRnd, crSCDEn
    case crSRSSign, crSat, crUPSSign, crUnpackSign
    case srCarry, srCompr_uf, srF2FFlags, srF2IFlags, srFPFlags, srMS0, srSRS_of, srSS0
    case srSparse_of, srUPS_of
    /// Start, end and count of a loop, the return address, the stack.
    case ls, le, lc, lr, sp
    case dp
    case coreID = "CORE_ID"
  }

  package var kind: Kind
  /// Its number among those of its kind; 0 for one that is alone.
  package var index: Int

  package init(_ kind: Kind, _ index: Int = 0) {
    self.kind = kind
    self.index = index
  }

  package var description: String {
    Self.counts[kind].map { _ in "\(kind.rawValue)\(index)" } ?? kind.rawValue
  }

  /// How many there are of the kinds that have several.
  static let counts: [Kind: Int] = [
    .r: 32, .p: 8, .m: 8, .dj: 8, .dn: 8, .dc: 8, .d: 8, .s: 4, .x: 12, .wl: 12, .wh: 12, .cm: 9,
    .bml: 9, .bmh: 9, .amll: 9, .amlh: 9, .amhl: 9, .amhh: 9,
  ]

  /// The registers of a kind.
  static func all(_ kind: Kind) -> [Register] {
    (0..<(counts[kind] ?? 1)).map { Register(kind, $0) }
  }

  /// The control registers, in the order of their numbers.
  static let controls: [Kind] = [
    .crVaddSign, .crF2FMask, .crF2IMask, .crFPMask, .crMCDEn, .crPackSign, .crRnd, .crSCDEn,
    .crSRSSign, .crSat, .crUPSSign, .crUnpackSign,
  ]
  /// The status registers, in the order of their numbers.
  static let statuses: [Kind] = [
    .srCarry, .srCompr_uf, .srF2FFlags, .srF2IFlags, .srFPFlags, .srMS0, .srSRS_of, .srSS0,
    .srSparse_of, .srUPS_of,
  ]

  /// All registers by their names.
  static let named = Dictionary(
    uniqueKeysWithValues: Kind.allCases.flatMap { all($0) }.map { ($0.description, $0) }
  )
}

/// How a field of an instruction numbers the registers that it can name.
package struct RegisterField: Sendable, Hashable {
  /// What the tables of instructions call it.
  let name: String
  private let codes: [Register: UInt64]
  private let registers: [UInt64: Register]

  private init(_ name: String, _ codes: [(Register, Int)]) {
    self.name = name
    self.codes = Dictionary(uniqueKeysWithValues: codes.map { ($0.0, UInt64($0.1)) })
    registers = Dictionary(uniqueKeysWithValues: codes.map { (UInt64($0.1), $0.0) })
  }

  func code(of register: Register) -> UInt64? { codes[register] }
  func register(of code: UInt64) -> Register? { registers[code] }

  private static func each(
    _ kind: Register.Kind,
    _ code: (Int) -> Int
  ) -> [(Register, Int)] {
    Register.all(kind).map { ($0, code($0.index)) }
  }

  private static let modifiers =
    each(.m) { $0 * 4 + 2 } + each(.dn) { (8 + $0) * 4 + 2 } + each(.dj) { (16 + $0) * 4 + 2 }
    + each(.dc) { (24 + $0) * 4 + 2 }

  private static let scalars = each(.r) { $0 * 4 } + modifiers

  private static let accumulatorQuarters: [(Register.Kind, Int)] = [
    (.amll, 0), (.amlh, 1), (.amhl, 2), (.amhh, 3),
  ]

  /// The number of a half of a vector in fields of five bits.
  private static func half(_ index: Int, _ isHigh: Bool) -> Int {
    index / 2 * 4 + index % 2 * 2 + (isHigh ? 1 : 0)
  }

  /// The group of a half of a vector: low even, low odd, high even, high odd.
  private static func group(_ index: Int, _ isHigh: Bool) -> Int {
    (isHigh ? 2 : 0) + index % 2
  }

  /// All fields by their names.
  static let named: [String: RegisterField] = {
    let halves = [(Register.Kind.wl, false), (.wh, true)]
    let quarters = { (code: @escaping (Int) -> Int) in
      accumulatorQuarters.flatMap { kind, place in each(kind) { code($0 * 4 + place) } }
    }
    let accumulatorHalves = { (code: @escaping (Int) -> Int) in
      each(.bml) { code($0 * 2) } + each(.bmh) { code($0 * 2 + 1) }
    }
    let controls = Register.controls.enumerated().map { (Register($0.element), $0.offset) }
    let statuses = Register.statuses.enumerated().map { (Register($0.element), $0.offset) }
    let specials: [(Register, Int)] = [
      (Register(.ls), 0), (Register(.dp), 2), (Register(.lr), 4), (Register(.coreID), 6),
      (Register(.le), 8), (Register(.lc), 10), (Register(.sp), 12),
    ]
    let pointers = each(.p) { $0 * 16 + 13 }
    let fields = [
      RegisterField("r", each(.r) { $0 }),
      RegisterField("p", each(.p) { $0 }),
      RegisterField("m", each(.m) { $0 }),
      RegisterField("dj", each(.dj) { $0 }),
      RegisterField("d", each(.d) { $0 }),
      // Walks in three dimensions use two of these together.
      RegisterField("d3", each(.d) { $0 }.filter { $0.1 < 4 }),
      RegisterField("s", each(.s) { $0 }),
      RegisterField("x", each(.x) { $0 }),
      RegisterField("cm", each(.cm) { $0 }),
      RegisterField("w", halves.flatMap { kind, high in each(kind) { half($0, high) } }),
      RegisterField("bm", accumulatorHalves { $0 }),
      RegisterField("am", quarters { $0 }),
      RegisterField("cr", controls),
      RegisterField("lda", scalars + pointers + [(Register(.lr), 5)]),
      RegisterField("mova", scalars + pointers + [(Register(.lc), 0x15)]),
      RegisterField(
        "mv",
        scalars + each(.p) { $0 * 16 + 3 } + each(.s) { $0 * 32 + 11 }
          + controls.map { ($0.0, $0.1 * 8 + 1) } + statuses.map { ($0.0, $0.1 * 8 + 5) }
          + specials.map { ($0.0, $0.1 * 8 + 7) }
      ),
      RegisterField("movx", each(.r) { $0 * 2 } + [(Register(.lc), 1)]),
      RegisterField("bmxs", accumulatorHalves { $0 * 16 } + each(.x) { 0x180 + $0 }),
      RegisterField("bmxd", accumulatorHalves { $0 * 2 + 1 } + each(.x) { $0 * 4 }),
      RegisterField(
        "amws",
        quarters { $0 * 8 + 1 }
          + halves.flatMap { kind, high in each(kind) { (0x30 + group($0, high)) * 8 + $0 / 2 } }
      ),
      RegisterField(
        "amwd",
        quarters { $0 * 2 + 1 }
          + halves.flatMap { kind, high in each(kind) { group($0, high) * 32 + $0 / 2 * 4 } }
      ),
      RegisterField(
        "wm",
        halves.flatMap { kind, high in each(kind) { group($0, high) * 8 + $0 / 2 } }
      ),
      RegisterField(
        "shfl",
        each(.x) { $0 * 2 } + each(.bml) { $0 * 2 + 1 }.filter { $0.1 < 16 }
          + each(.bmh) { (8 + $0) * 2 + 1 }.filter { $0.1 < 32 }
      ),
    ]
    return Dictionary(uniqueKeysWithValues: fields.map { ($0.name, $0) })
  }()
}
