// A bundle: what a core issues in one cycle, and its sixteen bytes.

/// The instructions of one cycle, at most one a slot.
package struct Bundle: Sendable, CustomStringConvertible {
  package private(set) var instructions: [Slot: Instruction] = [:]
  /// Whether an empty bundle has the form with two short slots or the one with the long slot.
  ///
  /// Both do nothing; what was read is written again as it was.
  private var isLong = false

  package static let byteCount = 16

  /// A bundle of these instructions.
  ///
  /// - Throws: `NPUError.bundle` if two want one slot.
  package init(_ instructions: [Instruction] = []) throws(NPUError) {
    for instruction in instructions {
      if let other = self.instructions.updateValue(instruction, forKey: instruction.slot) {
        throw NPUError(
          .bundle,
          "\(other.mnemonic) and \(instruction.mnemonic) want slot \(instruction.slot)"
        )
      }
    }
    guard let long = self.instructions[.lng] else { return }
    isLong = true
    for slot in [Slot.alu, .mv] {
      guard let other = self.instructions[slot] else { continue }
      throw NPUError(
        .bundle,
        "\(long.mnemonic) takes the slot \(slot), which \(other.mnemonic) wants"
      )
    }
  }

  package subscript(_ slot: Slot) -> Instruction? { instructions[slot] }

  // MARK: Bytes

  private static let longBit: UInt128 = 1 << 27

  /// The bytes, in the order of memory.
  package var bytes: [UInt8] {
    let slots: [Slot] =
      isLong ? [.ldb, .lda, .st, .lng, .vec] : [.ldb, .lda, .st, .alu, .mv, .vec]
    var bits: UInt128 = isLong ? 0 : Self.longBit
    for slot in slots {
      bits |= UInt128(instructions[slot]?.field ?? slot.nop) << UInt128(slot.shift)
    }
    return (0..<Self.byteCount).map { UInt8(truncatingIfNeeded: bits >> UInt128($0 * 8)) }
  }

  /// Reads a bundle.
  ///
  /// - Parameter bytes: Sixteen, in the order of memory.
  /// - Throws: `NPUError.bytes` if a slot has something unknown, or if it is a bundle of another length.
  package init(bytes: some Collection<UInt8>) throws(NPUError) {
    guard bytes.count == Self.byteCount else {
      throw NPUError(.bytes, "\(bytes.count) bytes are no bundle of \(Self.byteCount)")
    }
    let bits = bytes.reversed().reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
    guard bits & 1 == 0 else { throw NPUError(.bytes, "a bundle of less than 16 bytes") }
    isLong = bits & Self.longBit == 0
    let slots: [Slot] =
      isLong ? [.ldb, .lda, .st, .lng, .vec] : [.ldb, .lda, .st, .alu, .mv, .vec]
    for slot in slots {
      let field =
        UInt64(truncatingIfNeeded: bits >> UInt128(slot.shift)) & (1 << UInt64(slot.width) - 1)
      instructions[slot] = try Instruction.decode(field, in: slot)
    }
  }

  // MARK: Text

  /// Reads the instructions of a line, which `;` separates; none is `nop`.
  ///
  /// - Throws: `NPUError` that names what is wrong.
  package init(_ text: some StringProtocol, _ symbols: Symbols = [:]) throws(NPUError) {
    var instructions: [Instruction] = []
    for part in text.split(separator: ";", omittingEmptySubsequences: false) {
      let part = part.drop { $0 == " " }
      let isNop = part.prefix { $0 != " " } == "nop" && part.allSatisfy { "nop ".contains($0) }
      if !isNop { instructions.append(try Instruction(part, symbols)) }
    }
    try self.init(instructions)
  }

  /// The assembler's own text, slot by slot.
  package var description: String {
    let texts = Slot.allCases.compactMap { instructions[$0].map { "\($0)" } }
    return texts.isEmpty ? "nop" : texts.joined(separator: "; ")
  }
}
