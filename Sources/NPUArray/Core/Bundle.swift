// A bundle: what a core issues in one cycle, and its bytes.

/// The instructions of one cycle, at most one a slot.
package struct Bundle: Sendable, CustomStringConvertible {
  package private(set) var instructions: [Slot: Instruction] = [:]
  /// How it is written: what was read is written again as it was.
  private var format = BundleFormat.usual

  /// The bytes of each bundle that the assembler makes.
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
    format = .long
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

  /// How many bytes it has.
  package var byteCount: Int { format.byteCount }

  /// The bytes, in the order of memory.
  package var bytes: [UInt8] {
    let bits = format.bits { instructions[$0]?.field }
    return (0..<byteCount).map { UInt8(truncatingIfNeeded: bits >> UInt128($0 * 8)) }
  }

  /// Returns how many bytes a bundle has that begins with a byte.
  package static func length(ofFirst byte: UInt8) -> Int {
    if byte & 1 == 0 { return byteCount }
    if byte & 7 == 5 { return 6 }
    return switch byte & 15 {
    case 1: 2
    case 9: 4
    case 3: 8
    case 11: 10
    case 7: 12
    default: 14
    }
  }

  /// Reads a bundle.
  ///
  /// - Parameter bytes: As many as the first one tells, in the order of memory.
  /// - Throws: `NPUError.bytes` if there are more or fewer, if they have no known format, or if a slot has something
  ///   unknown.
  package init(bytes: some Collection<UInt8>) throws(NPUError) {
    guard let first = bytes.first else { throw NPUError(.bytes, "no bytes are no bundle") }
    let count = Self.length(ofFirst: first)
    guard bytes.count == count else {
      throw NPUError(.bytes, "a bundle of \(count) bytes has \(bytes.count)")
    }
    let bits = bytes.reversed().reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
    guard let format = BundleFormat.matching(bits, byteCount: count) else {
      throw NPUError(.bytes, "no known bundle of \(count) bytes is 0x\(String(bits, radix: 16))")
    }
    self.format = format
    for field in format.fields {
      let value = format.value(of: field, in: bits)
      instructions[field.slot] = try Instruction.decode(value, in: field.slot)
    }
  }

  // MARK: Text

  /// Reads the instructions of a line, which `;` separates; none is `nop`.
  ///
  /// - Throws: `NPUError` that names what is wrong.
  package init(_ text: some StringProtocol, _ symbols: Symbols = [:]) throws(NPUError) {
    var instructions: [Instruction] = []
    for part in text.split(separator: ";", omittingEmptySubsequences: false)
    where AssemblyLexer.tokens(Substring(part)) != ["nop"] {
      instructions.append(try Instruction(part, symbols))
    }
    try self.init(instructions)
  }

  /// The assembler's own text, slot by slot.
  package var description: String {
    let texts = Slot.allCases.compactMap { instructions[$0].map { "\($0)" } }
    return texts.isEmpty ? "nop" : texts.joined(separator: "; ")
  }
}
