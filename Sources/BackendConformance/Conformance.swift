// The suite for all backends. A backend's own tests call it and expect no failures.
//
// Every case is run in three schedules (see `Schedule`). One is compared with `ReferenceBackend`
// within the case's tolerance; the others must give the same bits as the first, which is batch
// invariance: a row's result depends neither on the rows beside it nor on how its session was cut.

package import Compute

/// What the suite found.
package struct ConformanceReport: Sendable, CustomStringConvertible {
  package var caseCount = 0
  /// Cases with an op the backend says it does not support, and what it says.
  package var skipped: [String] = []
  package var failures: [String] = []

  package var description: String {
    "\(caseCount) cases, \(skipped.count) skipped, \(failures.count) failures"
      + failures.prefix(10).map { "\n\($0)" }.joined()
  }
}

/// A backend that must give the same bits as the one under test: with another number of threads,
/// with another instruction set.
package struct Peer: Sendable {
  package var name: String
  package var backend: any Backend

  package init(name: String, backend: any Backend) {
    self.name = name
    self.backend = backend
  }
}

/// Tries a backend with every op over edge shapes and types.
///
/// - Parameters:
///   - backend: The backend to try.
///   - peers: Backends that must agree with it bit for bit.
///   - kinds: The ops to try; all by default.
///   - seed: What weights and inputs follow from.
///   - tolerance: The least tolerance of a case, for a backend that rounds more than others.
///   - isIncluded: Which cases to try; all by default.
/// - Returns: What was tried and what is wrong.
package func checkConformance(
  of backend: any Backend,
  peers: [Peer] = [],
  kinds: [OpKind] = OpKind.allCases,
  seed: UInt64,
  tolerance: Float = 0,
  where isIncluded: (ConformanceCase) -> Bool = { _ in true }
) -> ConformanceReport {
  var checker = ConformanceChecker(backend: backend, peers: peers, seed: seed)
  for kind in kinds {
    let cases = kind.cases(seed: seed).filter(isIncluded).map { testCase in
      var testCase = testCase
      testCase.tolerance = max(testCase.tolerance, tolerance)
      return testCase
    }
    if !cases.contains(where: { $0.program.ops.contains { $0.kind == kind } }) {
      checker.report.failures.append("no case tries \(kind)")
    }
    for testCase in cases { checker.check(testCase) }
  }
  return checker.report
}

private struct ConformanceChecker {
  let backend: any Backend
  let peers: [Peer]
  let seed: UInt64
  var report = ConformanceReport()

  mutating func check(_ testCase: ConformanceCase) {
    for op in testCase.program.ops {
      if case .unsupported(let reason) = backend.support(for: op) {
        report.skipped.append("\(testCase.name): \(reason)")
        return
      }
    }
    report.caseCount += 1
    do {
      let got = try testCase.run(on: backend, .together, seed: seed)
      try compareWithReference(testCase, got)
      for schedule in [Schedule.alone, .mixed] {
        let other = try testCase.run(on: backend, schedule, seed: seed)
        compare(other, got, limit: 0, "\(testCase.name), \(schedule) against together")
      }
      for peer in peers {
        // The backend under test goes through all schedules; for peers the one that reaches most
        // code will do.
        let other = try testCase.run(on: peer.backend, .together, seed: seed)
        compare(other, got, limit: 0, "\(testCase.name), \(peer.name)")
      }
    } catch {
      report.failures.append("\(testCase.name): \(error) (seed \(seed))")
    }
  }

  private mutating func compareWithReference(
    _ testCase: ConformanceCase,
    _ got: RowOutputs
  ) throws {
    let want = try testCase.run(on: ReferenceBackend(), .together, seed: seed)
    let largest = want.values.joined().reduce(Float(0)) { max($0, abs($1)) }
    // Outputs that are all zero, or none, would agree with anything.
    if largest == 0 {
      report.failures.append("\(testCase.name): the reference puts out only zeros")
    }
    let limit = testCase.tolerance * largest
    compare(got, want, limit: limit, "\(testCase.name), against the reference")
  }

  /// Adds what differs, at most one line for a comparison: the first row, and how many.
  private mutating func compare(
    _ got: RowOutputs,
    _ want: RowOutputs,
    limit: Float,
    _ name: String
  ) {
    guard got.keys.sorted() == want.keys.sorted() else {
      report.failures.append("\(name): \(got.count) rows of output, \(want.count) expected")
      return
    }
    var first: String?
    var count = 0
    for key in want.keys.sorted() {
      guard let gotRow = got[key], let wantRow = want[key] else { continue }
      let difference = Difference(gotRow, wantRow, limit: limit)
      guard !difference.passes else { continue }
      count += 1
      first = first ?? "slot \(key.slot), position \(key.position): \(difference)"
    }
    guard let first else { return }
    report.failures.append(
      "\(name): \(count) of \(want.count) rows differ; \(first) (seed \(seed))"
    )
  }
}
