// An instruction with its operands, from the text of assembly or from the field of a slot.

/// What stands at an operand's place.
package enum Operand: Sendable, Hashable {
  case register(Register)
  case immediate(Int)
}

/// An instruction of one slot.
package struct Instruction: Sendable, CustomStringConvertible {
  let form: InstructionForm
  /// In the order of the text.
  package let operands: [Operand]
  /// The operands that are wanted as they were before the writes that are under way: no part of the bytes.
  package private(set) var old: Set<Int> = []

  /// The register with a letter of the table; nil if the form has none.
  subscript(_ letter: Character) -> Register? {
    guard let index = form.operands.firstIndex(where: { $0.letter == letter }),
      case .register(let register) = operands[index]
    else { return nil }
    return register
  }

  /// The number of the form; nil if it has none.
  var immediate: Int? {
    operands.lazy.compactMap { if case .immediate(let value) = $0 { value } else { nil } }.first
  }

  /// Whether the register with a letter is wanted as it was before.
  func isOld(_ letter: Character) -> Bool {
    form.operands.firstIndex { $0.letter == letter }.map(old.contains) ?? false
  }

  package var slot: Slot { form.slot }
  package var mnemonic: String { form.mnemonic }

  /// What holds it in a bundle.
  var field: UInt64 {
    form.field(zip(form.operands, operands).map { $0.kind.code(of: $1) ?? 0 })
  }

  /// - Precondition: The operands fit the form.
  init(_ form: InstructionForm, _ operands: [Operand]) {
    self.form = form
    self.operands = operands
  }

  /// Reads the field of a slot; nil where nothing is issued.
  ///
  /// - Throws: `NPUError.bytes` if no instruction that is known has this field.
  package static func decode(_ field: UInt64, in slot: Slot) throws(NPUError) -> Instruction? {
    guard field != slot.nop else { return nil }
    for form in InstructionTable.bySlot[slot] ?? [] {
      guard let codes = form.codes(in: field) else { continue }
      let operands = zip(form.operands, codes).compactMap { $0.kind.operand(of: $1) }
      if operands.count == codes.count { return Instruction(form, operands) }
    }
    throw NPUError(.bytes, "no known instruction of slot \(slot) is 0x\(String(field, radix: 16))")
  }

  /// The assembler's own text.
  package var description: String {
    var text = form.mnemonic
    var isFirst = true
    var last = ""
    for token in form.tokens {
      let piece =
        switch token {
        case .text(let text): text
        case .register(let index), .immediate(let index):
          operands[index].text + (old.contains(index) ? "~" : "")
        }
      let isOpen = ["[", "#"].contains(last)
      if isFirst || !isOpen && ![",", "]"].contains(piece) { text += " " }
      text += piece
      (isFirst, last) = (false, piece)
    }
    return text
  }
}

extension Operand {
  fileprivate var text: String {
    switch self {
    case .register(let register): "\(register)"
    case .immediate(let value): "\(value)"
    }
  }
}

extension OperandKind {
  /// The code of an operand in a field; nil if it cannot stand there.
  func code(of operand: Operand) -> UInt64? {
    switch (self, operand) {
    case (.register(let field), .register(let register)): field.code(of: register)
    case (.immediate(let field), .immediate(let value)): field.code(of: value)
    default: nil
    }
  }

  /// The operand with a code; nil if none has it.
  func operand(of code: UInt64) -> Operand? {
    switch self {
    case .register(let field): field.register(of: code).map(Operand.register)
    case .immediate(let field): .immediate(field.value(of: code))
    }
  }
}

// MARK: Reading text

/// Numbers that a source refers to by names.
package typealias Symbols = [String: Int]

extension Instruction {
  /// Reads one instruction.
  ///
  /// - Parameters:
  ///   - text: The instruction, for example `vlda wl2, [p1], #64`.
  ///   - symbols: The names that numbers behind `#` may use.
  /// - Throws: `NPUError` that names the operand at fault.
  package init(_ text: some StringProtocol, _ symbols: Symbols = [:]) throws(NPUError) {
    let tokens = AssemblyLexer.tokens(Substring(text))
    guard let mnemonic = tokens.first else { throw NPUError(.syntax, "an instruction is missing") }
    guard let forms = InstructionTable.byMnemonic[mnemonic] else {
      throw NPUError(.syntax, "no instruction is called \(mnemonic)")
    }
    var closest: NPUError?
    for form in forms {
      do throws(NPUError) {
        let (operands, old) = try form.operands(in: tokens.dropFirst(), symbols)
        self.init(form, operands)
        self.old = old
        return
      } catch {
        // A form that fits but for a number is more likely meant than one of other registers.
        let ranks: [NPUError.Code] = [.syntax, .operand, .range]
        let rank = { (error: NPUError) in
          // A name that nobody knows says more than that a form does not fit.
          error.message.hasSuffix("no name of one") ? 1 : ranks.firstIndex(of: error.code) ?? 0
        }
        if closest.map({ rank($0) < rank(error) }) ?? true { closest = error }
      }
    }
    throw closest ?? NPUError(.syntax, "no form of \(mnemonic)")
  }
}

extension InstructionForm {
  /// - Throws: `NPUError.syntax` if the text is not of this form, `.operand` if one does not fit.
  fileprivate func operands(
    in tokens: ArraySlice<String>,
    _ symbols: Symbols
  ) throws(NPUError) -> ([Operand], old: Set<Int>) {
    var rest = tokens
    var found: [Operand] = []
    var old: Set<Int> = []
    for token in self.tokens {
      switch token {
      case .text(let text):
        guard rest.popFirst() == text else { throw mismatch }
      case .register(let index):
        guard let name = rest.popFirst(), let register = Register.named[name] else {
          throw mismatch
        }
        guard operands[index].kind.code(of: .register(register)) != nil else {
          throw NPUError(.operand, "\(mnemonic) cannot have \(name) there")
        }
        found.append(.register(register))
        if rest.first == "~" {
          rest.removeFirst()
          old.insert(index)
        }
      case .immediate(let index):
        let value = try AssemblyExpression.value(&rest, symbols)
        guard operands[index].kind.code(of: .immediate(value)) != nil else {
          throw NPUError(.range, "#\(value) is not \(operands[index].kind.values)")
        }
        // A number of 32 bits has two names.
        found.append(.immediate(operands[index].kind.canonical(value)))
      }
    }
    guard rest.isEmpty else { throw mismatch }
    return (found, old)
  }

  private var mismatch: NPUError { NPUError(.syntax, "the operands fit no form of \(mnemonic)") }
}

extension OperandKind {
  /// What an immediate can be, in words.
  fileprivate var values: String {
    guard case .immediate(let field) = self else { return "a register" }
    let steps = field.scale > 1 ? " in steps of \(field.scale)" : ""
    return "from \(field.range.lowerBound) to \(field.range.upperBound)\(steps)"
  }

  fileprivate func canonical(_ value: Int) -> Int {
    guard case .immediate(let field) = self, let code = field.code(of: value) else { return value }
    return field.value(of: code)
  }
}
