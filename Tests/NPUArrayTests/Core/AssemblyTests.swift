// The assembler and the disassembler against each other, and against text that is wrong.

import TestSupport
import Testing

@testable import NPUArray

@Suite struct Assembly {
  @Test func `every form is read as it is written, with any operands`() throws {
    var random = SeededRandom(5)
    #expect(InstructionTable.forms.count > 180)
    for form in InstructionTable.forms {
      for _ in 0..<20 {
        let codes = form.operands.map { operand in
          // Of the codes of a field some are of no register.
          while true {
            let code = random.next() & ((1 << UInt64(operand.bits.count)) - 1)
            if operand.kind.operand(of: code) != nil { return code }
          }
        }
        let field = form.field(codes)
        guard field != form.slot.nop else { continue }
        let instruction = try #require(try Instruction.decode(field, in: form.slot))
        #expect(instruction.mnemonic == form.mnemonic, "\(instruction)")
        #expect(instruction.field == field, "\(instruction)")
        #expect(try Instruction("\(instruction)").field == field, "\(instruction)")
      }
    }
  }

  @Test func `bytes of any kind are a bundle that is written again, or refused`() throws {
    var random = SeededRandom(6)
    var count = 0
    for _ in 0..<20_000 {
      var bytes = random.bytes(Bundle.byteCount)
      bytes[0] &= 0xFE
      // Most slots of most bundles do nothing.
      let bundle = BundleFormat.usual.bits { slot in
        Bool.random(using: &random) ? slot.nop : random.next() & ((1 << UInt64(slot.width)) - 1)
      }
      if Bool.random(using: &random) {
        bytes = (0..<16).map { UInt8(truncatingIfNeeded: bundle >> UInt128($0 * 8)) }
      }
      guard let read = try? Bundle(bytes: bytes) else { continue }
      count += 1
      let again = try Bundle(bytes: read.bytes)
      #expect("\(again)" == "\(read)" && again.bytes == read.bytes)
    }
    #expect(count > 100)
  }

  @Test(arguments: [
    ("vlda wl2, [p1], #33", "#33 is not from -2048 to 2016 in steps of 32"),
    ("mova r1, #1024", "-1024 to 1023"), ("vlda x0, [p1], #32", "vlda cannot have x0 there"),
    ("fly r1", "no instruction is called fly"), ("add r1, r2", "fit no form of add"),
    ("lda r1, [sp, #4]", "-16384 to -4"), ("mova r1, #size", "size is no number"),
    ("mova r1, #4 / 3", "4 / 3"), ("mova r1, #(4", "a ) is missing"), ("", "missing"),
    ("mova r1, #99999999999", "more than 32 bits"), ("vmac cm9, cm0, x0, x1, r0", "fit no form"),
    ("jnzd r1, r2, p9", "fit no form"), ("sel.eqz r1, r2, r3, r4", "fit no form"),
  ])
  func `what is no instruction is named`(_ text: String, _ words: String) {
    let error = #expect(throws: NPUError.self) { try Instruction(text) }
    #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
  }

  @Test func `numbers may be sums and products of names`() throws {
    let symbols = ["k": 64, "n": 16]
    for (text, value) in [
      ("#k", 64), ("#k * 2 + n", 144), ("#-(k - n) / 3", -16), ("#0x10", 16), ("#k*(n-15)", 64),
    ] {
      #expect(try Instruction("mova r1, \(text)", symbols).operands.last == .immediate(value))
    }
  }

  @Test func `two instructions for one slot are refused, and so is one beside a long one`() {
    for (text, words) in [
      ("add r1, r2, r3; sub r4, r5, r6", "want slot alu"),
      ("movxm r1, #5; add r1, r2, r3", "takes the slot alu"),
      ("movxm r1, #5; mov r1, r2", "takes the slot mv"),
    ] {
      let error = #expect(throws: NPUError.self) { try Bundle(text) }
      #expect(error?.message.contains(words) == true && error?.code == .bundle)
    }
    #expect(throws: NPUError.self) { try Bundle(bytes: [1, 0, 1]) }
    // Two bytes that are a whole bundle in the shortest form.
    #expect(throws: NPUError.self) { try Bundle(bytes: [1] + [UInt8](repeating: 0, count: 15)) }
  }
}
