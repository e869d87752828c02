// The instructions of the AIE2 core that this program knows, as forms.
//
// Source: the tables of Xilinx/llvm-aie (AIE2InstrInfo.td, AIE2GenFixupInstrInfo.td), checked against the bytes that
// two compilers' listings print (Tests/Goldens/npu). What is not here is refused, never guessed.

enum InstructionTable {
  /// All forms, those of a slot in an order in which the first that fits is the right one.
  static let forms: [InstructionForm] = lines.split(whereSeparator: \.isNewline).flatMap(forms(of:))

  static let bySlot = Dictionary(grouping: forms, by: \.slot)
  static let byMnemonic = Dictionary(grouping: forms, by: \.mnemonic)

  /// The ways to name an address, as text, bits and what they add to the mnemonic.
  ///
  /// `$` is the size of an access.
  private static let wideModes = [
    ("[{P:p}, {J:dj}]", "PPP JJJ 100 0010", ""),
    ("[{P:p}, #{I:s$}]", "PPP IIIIII 1010", ""),
    ("[{P:p}], {M:m}", "PPP MMM 010 0010", ""),
    ("[{P:p}], #{I:s$}", "PPP IIIIIII 110", ""),
    ("[{P:p}], {E:d}", "PPP EEE 110 0010", ".2d"),
    ("[{P:p}], {E:d3}", "PPP 0EE 000 0010", ".3d"),
    ("[sp, #{I:n$}]", "IIIIIIIIIIII 1", ""),
  ]
  private static let narrowModes = [
    ("[{P:p}, {J:dj}]", "PPP JJJ 100", ""),
    ("[{P:p}, #{I:s$}]", "PPP III 011", ""),
    ("[{P:p}], {M:m}", "PPP MMM 010", ""),
    ("[{P:p}], #{I:s$}", "PPP IIII 01", ""),
    ("[{P:p}], {E:d}", "PPP EEE 110", ".2d"),
    ("[{P:p}], {E:d3}", "PPP 0EE 000", ".3d"),
  ]

  /// A line is a slot, the text, and the bits behind `|`.
  ///
  /// `@wide` and `@narrow` stand for each way to name an
  /// address, with the size of the access; a set of names in parentheses for each of them, with the set of bits in
  /// parentheses for each of these.
  private static func forms(of line: Substring) -> [InstructionForm] {
    let parts = line.split(separator: "|", maxSplits: 1)
    let head = parts[0].split(separator: " ", maxSplits: 1)
    guard parts.count == 2, head.count == 2, let slot = Slot(rawValue: String(head[0])) else {
      preconditionFailure("no form: \(line)")
    }
    let text = head[1].split(separator: " ").joined(separator: " ")
    return alternatives(text, String(parts[1])).flatMap { text, bits in
      addressed(text, bits).map { text, bits in
        do throws(NPUError) {
          return try InstructionForm(slot, text, bits)
        } catch {
          preconditionFailure("\(error)")
        }
      }
    }
  }

  private static func alternatives(_ text: String, _ bits: String) -> [(String, String)] {
    guard let names = set(in: text), let values = set(in: bits) else { return [(text, bits)] }
    precondition(names.each.count == values.each.count, "unequal sets: \(text)")
    return zip(names.each, values.each).map { name, value in
      (
        text[..<names.range.lowerBound] + name + text[names.range.upperBound...],
        bits[..<values.range.lowerBound] + value + bits[values.range.upperBound...]
      )
    }
  }

  private static func set(in text: String) -> (range: Range<String.Index>, each: [String])? {
    guard let start = text.firstIndex(of: "("), let end = text.firstIndex(of: ")") else {
      return nil
    }
    let inside = text[text.index(after: start)..<end]
    return (start..<text.index(after: end), inside.split(separator: " ").map(String.init))
  }

  private static func addressed(_ text: String, _ bits: String) -> [(String, String)] {
    for (name, modes) in [("@wide", wideModes), ("@narrow", narrowModes)] {
      guard let place = text.firstRange(of: name) else { continue }
      let scale = text[place.upperBound...]
      let mnemonic = text.prefix { $0 != " " }
      return modes.map { mode, field, suffix in
        let operands = text[mnemonic.endIndex..<place.lowerBound]
        return (
          mnemonic + suffix + operands + mode.replacing("$", with: scale),
          bits.replacing("@", with: field)
        )
      }
    }
    return [(text, bits)]
  }

  private static let lines = """
    lda lda {D:lda}, @wide4                    | @ DDDDDDD 1
    lda lda.(s8 u8 s16 u16) {D:r}, @narrow1    | @ (00 01 10 11) 00 DDDDD 111
    lda st.(s8 s16) {S:r}, @narrow1            | @ (0 1) 100 SSSSS 000
    lda vlda {D:w}, @wide32                    | @ DDDDD 111
    lda vlda {D:am}, @wide32                   | @ DDDDDD 10
    lda mova {D:mova}, #{I:s1}                 | IIIIIIIIIII 00 DDDDDDD 1
    lda padda [{P:p}], {M:m}                   | PPP MMM 010 ---- 11 -- 01 10
    lda padda [{P:p}], #{I:s4}                 | PPP IIIIIIIIII 11 -- 11 10
    lda padda [sp], #{I:s32}                   | IIIIIIIIIIIII 11 -- 10 10
    lda vlda.ups.(s32.d16 s64.d32 s32.s16 s64.s32) {D:bm}, {K:s}, @narrow32 | @ KK (00 10 01 11) DDDDD 100
    lda vlda.ups.(s32.d8 s64.d16) {D:cm}, {K:s}, @narrow32 | @ KK (0 1) 1 DDDD 0 000
    lda vlda.ups.(s32.s8 s64.s16) {D:cm}, {K:s}, @narrow32 | @ KK (0 1) 1 DDDD 1 000
    ldb vldb {D:w}, @narrow32                  | @ DDDDD 01
    ldb paddb [{P:p}], {M:m}                   | PPP MMM 010 11 --- 01
    ldb paddb [{P:p}], #{I:s4}                 | PPP IIIIII 11 III 10
    ldb paddb [sp], #{I:s32}                   | IIIIIIIII 11 III 00
    ldb vldb.unpack.(d8.d4 d16.d8 s8.s4 s16.s8) {D:x}, [{P:p}, {J:dj}] | PPP JJJ 00 1 DDDD (00 01 10 11) 0
    ldb vldb.unpack.(d8.d4 d16.d8 s8.s4 s16.s8) {D:x}, [{P:p}], {M:m}  | PPP MMM 01 1 DDDD (00 01 10 11) 0
    st st {S:lda}, @wide4                      | @ SSSSSSS 0
    st vst {S:w}, @wide32                      | @ SSSSS 111
    st vst {S:am}, @wide32                     | @ SSSSSS 01
    st padds [{P:p}], {M:m}                    | PPP MMM 010 ---- 11 -- 01 01
    st padds [{P:p}], #{I:s4}                  | PPP IIIIIIIIII 11 -- 11 01
    st vst.srs.(d8.s32 d16.s64 s8.s32 s16.s64) {S:cm}, {K:s}, @narrow32  | @ KK (00 10 01 11) SSSS 00 1 0
    st vst.srs.(d16.s32 d32.s64 s16.s32 s32.s64) {S:bm}, {K:s}, @narrow32 | @ KK (00 10 01 11) SSSSS 1 1 0
    st vsrs.(d8.s32 d16.s64 s8.s32 s16.s64) {D:w}, {S:cm}, {K:s}    | DDDDD 0111 KK (00 10 01 11) SSSS 00 1 0
    st vsrs.(d16.s32 d32.s64 s16.s32 s32.s64) {D:w}, {S:bm}, {K:s}  | DDDDD 0111 KK (00 10 01 11) SSSSS 1 1 0
    alu add {D:r}, {A:r}, #{I:s1}              | AAAAA DDDDD IIIIIII 11 0
    alu (add sub adc sbc and or xor eq) {D:r}, {A:r}, {B:r} | AAAAA DDDDD BBBBB (0000 0001 0010 0011 0100 0101 0110 0111) 1
    alu (ne ge lt geu ltu lshl ashl mul) {D:r}, {A:r}, {B:r} | AAAAA DDDDD BBBBB (1000 1001 1010 1011 1100 1101 1110 1111) 1
    alu (clb clz extend.s8 extend.s16 extend.u8) {D:r}, {A:r} | AAAAA DDDDD (0000 0001 0010 0011 0100) 11100 0
    alu (extend.u16 eqz nez abs) {D:r}, {A:r}  | AAAAA DDDDD (0101 0110 0111 1000) 11100 0
    alu movx {D:movx}, #{I:s1}                 | IIIII DDDDDD IIIIII 01 0
    alu movx {D:cr}, {A:r}                     | AAAAA DDDD ---- 1 00000 0
    alu sel.(eqz nez) {D:r}, {A:r}, {B:r}, r27 | AAAAA DDDDD BBBBB (0 1) 110 0
    alu (rel acq rel.cond acq.cond) #{I:u1}, {V:r} | IIIIII 0 - (00 01 10 11) VVVVV 0010 0
    alu (rel acq rel.cond acq.cond) {A:r}, {V:r} | AAAAA - 1 - (00 01 10 11) VVVVV 0010 0
    alu (j jl) {P:p}                           | 0000000000 PPP (000 010)100 0
    alu jnzd {D:r}, {A:r}, {P:p}               | AAAAA DDDDD PPP 001100 0
    alu ret lr                                 | 00000000000000 11000 0
    alu event #{I:u1}                          | II 000000000000 10000 0
    alu done                                   | 00000000000000 01000 0
    mv mov {D:mv}, #{I:s1}                     | DDDDDDD IIIIIIIII 11 I 1 00
    mv mov {D:mv}, {S:mv}                      | DDDDDDD SSSSSSS 10 1100 10
    mv add.nc {D:mv}, {A:r}, #{I:s1}           | DDDDDDD AAAAA IIII 11 II 11
    mv vmov {D:bmxd}, {S:bmxs}                 | DDDDDD 0 SSSSSSSSS 1101 10
    mv vmov {D:amwd}, {S:amws}                 | DDDDDDD SSSSSSSSS 1110 10
    mv vmov {D:cm}, {S:cm}                     | DDDD 001 SSSS ----- 1101 10
    mv vbcst.(8 16 32) {D:x}, {A:r}            | DDDD (00 01 10) 0 AAAAA - 0 -- 1111 01
    mv vadd.(8 16 32) {D:x}, {A:x}, {B:x}      | DDDD 000 00000 AAAA BBBB (00 01 10)
    mv vsub.(8 16 32) {D:x}, {A:x}, {B:x}      | DDDD 000 00010 AAAA BBBB (00 01 10)
    mv vshuffle {D:shfl}, {A:x}, {B:x}, {C:r}  | DDDDD 00 CCCCC AAAA BBBB 11
    mv vshift {D:x}, {A:x}, {B:x}, {C:r}       | DDDD 010 CCCCC AAAA BBBB 11
    mv vups.(s32.d16 s64.d32 s32.s16 s64.s32) {D:bm}, {S:wm}, {K:s} | DDDDD KK (00 10 01 11) 01 SSSSS 1111 10
    mv vups.(s32.d16 s64.d32 s32.s16 s64.s32) {D:cm}, {S:x}, {K:s}  | DDDD 0 KK (00 10 01 11) 10 - SSSS 1111 10
    mv vups.(s32.d8 s64.d16 s32.s8 s64.s16) {D:cm}, {S:wm}, {K:s}   | DDDD 0 KK (00 10 01 11) 11 SSSSS 1111 10
    mv vsrsm.(d16.s32 d32.s64 s16.s32 s32.s64) {D:w}, {S:bm}, {K:s} | DDDDD KK SSSSS (00 10 01 11) 00 1110 10
    vec (vmac vmsc vnegmac vnegmsc) {D:cm}, {A:cm}, {X:x}, {Y:x}, {C:r} | CCCCC AAAA 0 XXXX YYYY DDDD (0000 1000 1100 0100)
    vec vmul {D:cm}, {X:x}, {Y:x}, {C:r}       | CCCCC 1111 0 XXXX YYYY DDDD 0000
    vec vmac.f {D:bm}, {A:bm}, {X:x}, {Y:x}, {C:r} | CCCCC AAAAA XXXX YYYY DDDDD 001
    vec vmul.f {D:bm}, {X:x}, {Y:x}, {C:r}     | CCCCC 11111 XXXX YYYY DDDDD 001
    vec vclr {D:cm}                            | ----- ---- 0 1111 0000 DDDD 1000
    vec vmov.d {D:cm}, {S:cm}                  | ----- SSSS 0 1111 0000 DDDD 0000
    vec (vadd vsub) {D:cm}, {A:cm}, {B:cm}, {C:r} | CCCCC AAAA 0 1110 BBBB DDDD (0000 1000)
    lng movxm {D:mv}, #{I:w1}                  | IIIIIIIIIIIIIIIIIIII DDDDDDD IIIIIIIIIIII 001
    lng (j jl) #{I:u1}                         | 00000 IIIIIIIIIIIIIIIIIIII 0 0000 0000 00000 (010 100)
    lng (jz jnz) {A:r}, #{I:u1}                | AAAAA IIIIIIIIIIIIIIIIIIII (0 1) 0000 0000 00000 110
    """
}
