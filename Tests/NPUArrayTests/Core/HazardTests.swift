// Schedules that are wrong in one way, and the rule that says so.

import Testing

@testable import NPUArray

@Suite struct `Hazards of a schedule` {
  private func hazards(_ source: String) throws -> [Hazard] {
    HazardChecker.hazards(in: try CoreProgram(assembling: source + "\n  done\n"))
  }

  private func nops(_ count: Int) -> String { String(repeating: "\nnop", count: count) + "\n" }

  @Test(arguments: [
    // Loads take seven cycles, to an accumulator five for a product.
    ("lda r1, [p0, #4]", 6, "add r2, r1, r3"), ("vlda wl0, [p0, #32]", 6, "vst wl0, [p1, #32]"),
    ("vldb wh1, [p0, #32]", 6, "vmac cm0, cm0, x1, x2, r0"),
    ("vlda amll0, [p0, #32]", 4, "vmac cm0, cm0, x1, x2, r0"),
    // Products: two to another product's accumulator, five to all else.
    ("vmac cm0, cm1, x1, x2, r0", 1, "vmac cm2, cm0, x3, x4, r0"),
    ("vmac cm0, cm1, x1, x2, r0", 4, "vst amhh0, [p1, #32]"),
    ("vclr cm3", 4, "vst amll3, [p1, #32]"),
    ("mul r1, r2, r3", 1, "st r1, [p0, #4]"), ("vbcst.32 x0, r1", 1, "vst wl0, [p0, #32]"),
    ("vsrs.s8.s32 wl0, cm1, s0", 3, "vst wl0, [p0, #32]"),
  ])
  func `a result is read when it is there, and not before`(
    _ producer: String,
    _ distance: Int,
    _ consumer: String
  ) throws {
    #expect(try hazards(producer + nops(distance) + consumer) == [])
    let early = try hazards(producer + nops(distance - 1) + consumer)
    #expect(early.map(\.rule) == [.latency], "\(early)")
    #expect(early.first?.place.contains("line \(distance + 1)") == true, "\(early)")
  }

  @Test func `an old value may be wanted`() throws {
    #expect(try hazards("vlda wl0, [p0, #32]\nnop\nvst wl0~, [p1, #32]") == [])
    #expect(try hazards("vmac cm0, cm0, x0, x1, r0\nvst amll0~, [p1, #32]") == [])
  }

  @Test(arguments: [
    // A product's configuration takes the port of scalars to be stored.
    ("vmac cm0, cm0, x0, x1, r0; st r1, [p0, #4]", Hazard.Rule.port),
    ("mul r1, r2, r3\nadd r4, r5, r6", .port),
    ("lda r1, [p0, #4]" + "\nnop\nnop\nnop\nnop\nnop\nmova r2, #1", .port),
    ("vups.s32.s16 cm0, x1, s0\nvmov bml2, x1", .port),
    ("mova r1, #1; movx r1, #2", .collision),
    ("lda r1, [p0, #4]" + "\nnop\nnop\nnop\nnop\nnop\nmovx r1, #1", .collision),
    ("vlda wl0, [p0], #32; vst wl1, [p0], #32", .pointer),
    ("padda [p1], m2; vldb wl0, [p0], m2", .pointer),
    ("j #0\nnop\nj #0\nnop\nnop\nnop\nnop\nnop", .branch),
    ("j #4096\nnop\nnop\nnop\nnop\nnop", .branch),
    ("acq #48, r1\nnop\nnop\nlda r1, [p0, #4]", .lock),
    ("vst wl0, [p0, #32]\nnop\nnop\nrel #48, r1", .lock),
    ("acq #48, r1\nnop\nnop\nrel #49, r1", .lock),
    ("vst.srs.s8.s32 cm0, s0, [p0], #32\nnop\nnop\nnop\nnop\nrel #48, r1", .lock),
    ("vmov.d cm0, cm1", .unknown),
  ])
  func `each rule finds its fault`(_ source: String, _ rule: Hazard.Rule) throws {
    let found = try hazards(source)
    #expect(found.contains { $0.rule == rule }, "\(source): \(found)")
  }

  @Test(arguments: [
    "acq #48, r1\nnop\nnop\nnop\nlda r2, [p0, #4]",
    "vst wl0, [p0, #32]\nnop\nnop\nnop\nrel #48, r1",
    "mul r1, r2, r3\nnop\nadd r4, r5, r6", "vlda wl0, [p0], #32; vst wl1, [p1], #32",
  ])
  func `what keeps the distance is right`(_ source: String) throws {
    #expect(try hazards(source) == [])
  }

  private func loop(_ before: Int, _ body: String) -> String {
    "movxm ls, #first\nmovxm le, #last\nmova lc, #3" + nops(before) + "first:\n\(body)\nlast:\n nop"
  }

  @Test func `loops are set up early, and nothing leaves them`() throws {
    #expect(try hazards(loop(6, "nop")) == [])
    #expect(try hazards(loop(5, "nop")).map(\.rule) == [.loop])
    #expect(try hazards(loop(6, "nop\njz r1, #0" + nops(5))).contains { $0.rule == .loop })
    // A result of the last iteration that the first bundle reads too early: two loads apart from each other.
    let late = loop(6, "add r2, r1, r3\nnop\nnop\nlda r1, [p0, #4]")
    #expect(try hazards(late).map(\.rule) == [.latency])
  }

  @Test func `branches are followed behind their delay slots`() throws {
    let source = "lda r1, [p0, #4]\njnz r9, #there" + nops(5) + "done\nthere:\nadd r2, r1, r3"
    #expect(try hazards(source) == [])
    let early =
      "nop\njnz r9, #there\nnop\nnop\nnop\nnop\nlda r1, [p0, #4]\ndone\nthere:\nadd r2, r1, r3"
    #expect(try hazards(early).map(\.rule) == [.latency])
    let over = HazardChecker.hazards(in: try CoreProgram(assembling: "nop\nnop"))
    #expect(over.map(\.rule) == [.end])
    let call = "jl #f" + nops(5) + "add r1, r2, r3\ndone\nf:\nret lr" + nops(5)
    #expect(try hazards(call) == [])
  }
}
