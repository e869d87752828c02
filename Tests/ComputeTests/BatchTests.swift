// What a batch must keep to, and how it is refused.

import Compute
import Testing

@Suite struct `A batch` {
  private let limits = ExecutableLimits(maxRows: 6, slots: 3, contextTokens: 10)

  private func row(_ slot: Int, _ position: Int, token: Int32 = 1, wanted: Bool = false) -> Row {
    Row(slot: slot, position: position, token: token, isWanted: wanted)
  }

  /// Returns why the rows are refused; nil if they are not.
  private func refusal(_ rows: [Row]) -> String? {
    do {
      try Batch(rows: rows).validate(limits: limits)
      return nil
    } catch {
      #expect(error.code == .batch)
      return error.message
    }
  }

  @Test func `chunks and single rows of several slots go together`() {
    #expect(refusal([]) == nil)
    #expect(refusal([row(2, 0), row(2, 1), row(2, 2), row(0, 9), row(1, 4), row(1, 5)]) == nil)
  }

  @Test func `more rows than fit are refused`() {
    #expect(refusal((0..<7).map { row(0, $0) }) == "7 rows, at most 6 fit a step")
  }

  @Test func `a slot that does not exist is refused`() {
    #expect(refusal([row(0, 0), row(3, 0)]) == "row 1: slot 3 outside 0..<3")
    #expect(refusal([row(-1, 0)]) == "row 0: slot -1 outside 0..<3")
  }

  @Test func `a position beyond the context is refused`() {
    #expect(refusal([row(0, 9), row(1, 10)]) == "row 1: position 10 outside 0..<10")
    #expect(refusal([row(0, -1)]) == "row 0: position -1 outside 0..<10")
  }

  @Test func `a negative token is refused`() {
    #expect(refusal([row(0, 0, token: -7)]) == "row 0: token -7 is negative")
  }

  @Test(arguments: [4, 3, 6, 0])
  func `rows of a slot that do not follow each other are refused`(_ second: Int) {
    let message = refusal([row(1, 4), row(1, second)])
    #expect(message == "row 1: position \(second) follows 4 in slot 1")
  }

  @Test func `a slot whose rows stand apart is refused`() {
    let message = refusal([row(0, 0), row(1, 0), row(0, 1)])
    #expect(message == "row 2: slot 0 appears twice in the step")
  }

  @Test func `wanted rows are counted and found in their order`() {
    let batch = Batch(rows: [
      row(0, 0), row(0, 1, wanted: true), row(1, 3), row(2, 0, wanted: true),
    ])
    #expect(batch.wantedRows == [1, 3])
    #expect(batch.count(of: .all) == 4)
    #expect(batch.count(of: .wanted) == 2)
    var found: [[Int]] = []
    batch.forEach(in: .wanted) { found.append([$0, $1.slot]) }
    #expect(found == [[0, 0], [1, 2]])
    let buffer = Buffer(name: "streams", planes: 4, width: 8, rows: .wanted)
    #expect(buffer.elementCount(in: batch) == 4 * 2 * 8)
  }
}
