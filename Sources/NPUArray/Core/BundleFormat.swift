// The formats of bundles: which slots stand where in 2, 4, 6, 8, 10, 12, 14 or 16 bytes.
//
// Programs of other makers have short bundles where few slots are used; the assembler here writes those of 16 bytes
// alone. Formats are lines of a table. Source: AIE2CompositeFormats.td of Xilinx/llvm-aie, all of it. Formats that the
// published bytes in Tests/Goldens/npu show are checked against them; the others stand here as that table has them.

/// The order of slots and fixed bits in the bundles of one kind.
struct BundleFormat: Sendable {
  struct Field: Sendable {
    var slot: Slot
    /// The lowest bit of it in the bundle, as a little-endian number.
    var shift: Int
  }

  let byteCount: Int
  /// The highest first.
  let fields: [Field]
  /// The bits that tell the format from others.
  let fixed: UInt128
  let fixedMask: UInt128

  /// Parses a line of the table.
  ///
  /// - Precondition: It names slots and bits, as many as the bytes have.
  private init(_ words: [Substring]) {
    byteCount = words.first.flatMap { Int($0) } ?? 0
    var fields: [Field] = []
    var (fixed, mask) = (UInt128(0), UInt128(0))
    var bit = byteCount * 8
    for word in words.dropFirst() {
      if let slot = Slot(rawValue: String(word)) {
        bit -= slot.width
        fields.append(Field(slot: slot, shift: bit))
      } else {
        for character in word {
          bit -= 1
          precondition(bit >= 0 && "01-".contains(character), "no format: \(words)")
          if character != "-" { mask |= 1 << UInt128(bit) }
          if character == "1" { fixed |= 1 << UInt128(bit) }
        }
      }
    }
    precondition(bit == 0, "bits do not fill the bytes: \(words)")
    self.fields = fields
    self.fixed = fixed
    fixedMask = mask
  }

  /// The bits that a bundle has with these fields; slots without one do nothing.
  func bits(_ fieldOf: (Slot) -> UInt64?) -> UInt128 {
    fields.reduce(fixed) { bits, field in
      bits | UInt128(fieldOf(field.slot) ?? field.slot.nop) << UInt128(field.shift)
    }
  }

  /// What a slot's field of a bundle holds.
  func value(of field: Field, in bits: UInt128) -> UInt64 {
    UInt64(truncatingIfNeeded: bits >> UInt128(field.shift)) & (1 << UInt64(field.slot.width) - 1)
  }

  // MARK: All formats

  static let all: [BundleFormat] = lines.split(whereSeparator: \.isNewline).flatMap { line in
    let words = line.split(separator: " ")
    guard let pair = words.firstIndex(of: "pair") else { return [BundleFormat(words)] }
    return [["alu", "mv", "1"], ["lng", "0"]].map { each in
      BundleFormat(words[..<pair] + each + words[(pair + 1)...])
    }
  }

  private static let byLength = Dictionary(grouping: all, by: \.byteCount)

  /// What the assembler writes.
  static let usual = whole(with: .alu)
  /// The same with the long slot.
  static let long = whole(with: .lng)

  private static func whole(with slot: Slot) -> BundleFormat {
    for format in byLength[Bundle.byteCount] ?? []
    where format.fields.contains(where: { $0.slot == slot }) {
      return format
    }
    preconditionFailure("no format of \(Bundle.byteCount) bytes has \(slot)")
  }

  /// Returns the format that bits of a bundle of so many bytes have; nil if there is none.
  static func matching(_ bits: UInt128, byteCount: Int) -> BundleFormat? {
    byLength[byteCount]?.first { bits & $0.fixedMask == $0.fixed }
  }

  /// A line is a number of bytes, then slots and bits, the highest first.
  ///
  /// A bit `-` has no meaning, and is zero in what is written. `pair` stands for `alu mv 1` and for `lng 0`. The last
  /// bits are those that tell the length.
  private static let lines = """
    2 ------------ 0001
    4 vec -0 1001
    4 -0001 st -1 1001
    4 -0011 mv 1 1001
    4 --111 ldb ------1 1001
    4 -0000 lda -1 1001
    4 -0010 alu --1 1001
    6 st alu 0111 101
    6 lng 010 101
    6 ---01 ldb st -00 101
    6 ---00 ldb mv 00 101
    6 ---10 ldb alu --00 101
    6 lda st 110 101
    6 lda mv 01 101
    6 lda ldb ----1111 101
    6 lda alu -011 101
    8 st --------010 vec 10 0011
    8 st --------- mv -----000 0011
    8 ----- mv --110 vec 10 0011
    8 ----- ldb --------000 vec 10 0011
    8 st ldb alu 101 0011
    8 lda --------100 vec 10 0011
    8 lda ldb st 11 0011
    8 lda ldb alu 001 0011
    8 ---------- alu 01 vec 10 0011
    8 ---------- pair ----100 0011
    10 st mv --100 vec 00 1011
    10 st ----- alu 01 vec 10 1011
    10 st ----- pair --10011 1011
    10 st ldb -------0001 vec 00 1011
    10 st ldb --------- mv 01101011 1011
    10 ----- ldb mv --110 vec 00 1011
    10 ----- ldb ----- alu 10 vec 10 1011
    10 ----- ldb ----- pair --00011 1011
    10 lda st --1001 vec 00 1011
    10 lda st ---- mv -0101011 1011
    10 lda st ----------- alu 111 1011
    10 lda mv --010 vec 00 1011
    10 lda ldb ------11101 vec 00 1011
    10 lda ldb --------- mv 11101011 1011
    10 lda ----- alu 00 vec 10 1011
    10 lda ----- pair -001011 1011
    10 ----- pair vec 01 1011
    12 st pair vec 01 0111
    12 st ldb mv -0110 vec 10 0111
    12 st ldb ----- alu 01 vec 10 0111
    12 st ldb ----- pair --00011 0111
    12 ldb - pair 1010 vec 10 0111
    12 lda st alu 00 vec 10 0111
    12 lda st pair --00111 0111
    12 lda ldb st --1110 vec 10 0111
    12 lda ldb st ---- mv ---01111 0111
    12 lda ldb ----- alu st ----10011 0111
    12 lda ldb mv -0010 vec 10 0111
    12 lda ldb ----- alu 11 vec 10 0111
    12 lda ldb ----- pair --01011 0111
    12 lda pair vec 00 0111
    14 st ldb pair vec 01 1111
    14 lda st ---------------1 mv vec 10 1111
    14 lda ldb alu 0- st vec 10 1111
    14 lda ldb pair st ---0111 1111
    14 lda ldb pair vec 00 1111
    16 ldb lda st pair vec 0
    """
}
