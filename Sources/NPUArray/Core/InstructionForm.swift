// One form of an instruction: how it is written, and which bits it is.
//
// Forms are lines of a table (InstructionTable.swift), from which assembler and disassembler are both made: what is
// written as `vmac {D:cm}, {A:cm}, {X:x}, {Y:x}, {C:r}` has the bits `CCCCC AAAA 0 XXXX YYYY DDDD 0000`, the highest
// first. A letter stands for a bit of the operand with that letter, the highest first.

/// What an operand can be.
enum OperandKind: Sendable, Hashable {
  case register(RegisterField)
  case immediate(ImmediateField)
}

/// How a field of an instruction holds a number.
struct ImmediateField: Sendable, Hashable {
  enum Sign: Sendable, Hashable {
    case unsigned
    case signed
    /// Below zero always: the sign takes no bit.
    case negative
    /// Either, in all bits of the field.
    case any
  }

  var sign: Sign
  /// What the field counts, in units of what the text says.
  var scale: Int
  /// The bits of the field.
  var width: Int

  /// The numbers that it holds, in steps of `scale`.
  var range: ClosedRange<Int> {
    let most = 1 << width
    return switch sign {
    case .unsigned: 0...(most - 1) * scale
    case .signed: -most / 2 * scale...(most / 2 - 1) * scale
    case .negative: -most * scale...(-scale)
    case .any: -most / 2...most - 1
    }
  }

  /// Returns the field of a number; nil for one that it does not hold.
  func code(of value: Int) -> UInt64? {
    guard range.contains(value), value.isMultiple(of: scale) else { return nil }
    return UInt64(truncatingIfNeeded: value / scale) & ((1 << UInt64(width)) - 1)
  }

  func value(of code: UInt64) -> Int {
    let isNegative =
      switch sign {
      case .unsigned: false
      case .signed, .any: code >> UInt64(width - 1) & 1 == 1
      case .negative: true
      }
    return (Int(code) - (isNegative ? 1 << width : 0)) * scale
  }
}

/// One form of an instruction.
package struct InstructionForm: Sendable {
  struct Field: Sendable {
    /// Its letter in the table: D for a destination, P for a pointer, and so on.
    var letter: Character
    var kind: OperandKind
    /// The bits of the slot's field that hold it, the highest first.
    var bits: [Int]
  }

  /// A piece of the text of an instruction.
  enum Token: Sendable, Hashable {
    case text(String)
    case register(Int)
    case immediate(Int)
  }

  let slot: Slot
  let mnemonic: String
  let tokens: [Token]
  let operands: [Field]
  /// The bits that are the same in all instructions of the form.
  let fixed: UInt64
  let fixedMask: UInt64

  /// Parses a line of the table.
  ///
  /// - Throws: `NPUError.syntax` if text and bits do not fit each other, or the slot.
  init(_ slot: Slot, _ text: String, _ bits: String) throws(NPUError) {
    func fault(_ what: String) -> NPUError { NPUError(.syntax, what, at: text) }
    let pattern = bits.filter { $0 != " " }
    guard pattern.count == slot.width else {
      throw fault("\(pattern.count) bits in a slot of \(slot.width)")
    }
    var places: [Character: [Int]] = [:]
    var (fixed, mask) = (UInt64(0), UInt64(0))
    for (offset, character) in pattern.enumerated() {
      let bit = slot.width - 1 - offset
      switch character {
      case "0": mask |= 1 << UInt64(bit)
      case "1":
        mask |= 1 << UInt64(bit)
        fixed |= 1 << UInt64(bit)
      case "-": break
      default: places[character, default: []].append(bit)
      }
    }
    let name = text.prefix { $0 != " " }
    mnemonic = String(name)
    self.slot = slot
    self.fixed = fixed
    fixedMask = mask
    var tokens: [Token] = []
    var operands: [Field] = []
    var rest = text.dropFirst(name.count)
    while !rest.isEmpty {
      rest = rest.drop { $0 == " " }
      if rest.first == "{" {
        let inside = rest.dropFirst().prefix { $0 != "}" }
        rest = rest.dropFirst(inside.count + 2)
        guard let letter = inside.first, let bits = places.removeValue(forKey: letter) else {
          throw fault("no bits for {\(inside)}")
        }
        let kind = String(inside.dropFirst(2))
        if let field = RegisterField.named[kind] {
          tokens.append(.register(operands.count))
          operands.append(Field(letter: letter, kind: .register(field), bits: bits))
        } else if let field = ImmediateField(kind, width: bits.count) {
          tokens.append(.immediate(operands.count))
          operands.append(Field(letter: letter, kind: .immediate(field), bits: bits))
        } else {
          throw fault("no kind \(kind)")
        }
      } else if let token = AssemblyLexer.token(&rest) {
        tokens.append(.text(token))
      }
    }
    guard places.isEmpty else { throw fault("bits of no operand") }
    self.tokens = tokens
    self.operands = operands
  }

  /// The field of the slot for these codes of operands.
  func field(_ codes: [UInt64]) -> UInt64 {
    var field = fixed
    for (operand, code) in zip(operands, codes) {
      for (place, bit) in operand.bits.reversed().enumerated() where code >> UInt64(place) & 1 == 1
      {
        field |= 1 << UInt64(bit)
      }
    }
    return field
  }

  /// Returns the codes of the operands in a field; nil if it is another form's.
  func codes(in field: UInt64) -> [UInt64]? {
    guard field & fixedMask == fixed else { return nil }
    return operands.map { operand in
      operand.bits.reduce(0) { $0 << 1 | field >> UInt64($1) & 1 }
    }
  }
}

extension ImmediateField {
  /// Parses a kind of the table: a letter for the sign (`s`, `u`, `n` for always below zero, `w` for either), and
  /// the scale.
  fileprivate init?(_ kind: String, width: Int) {
    let signs: [Character: Sign] = ["s": .signed, "u": .unsigned, "n": .negative, "w": .any]
    guard let letter = kind.first, let sign = signs[letter], let scale = Int(kind.dropFirst())
    else { return nil }
    self.init(sign: sign, scale: scale, width: width)
  }
}
