// The suite for all backends. A backend's own tests call it and expect no failures.
//
// Every case is run in three schedules (see `Schedule`). One is compared with `ReferenceBackend`
// within the case's tolerance; the others must give the same bits as the first, which is batch
// invariance: a row's result depends neither on the rows beside it nor on how its session was cut.

package import Compute

/// What the suite found.
package struct ConformanceReport: Sendable, CustomStringConvertible {
  package var caseCount = 0
  /// Cases with an op the backend says it does not support.
  package var skipped: [String] = []
  package var failures: [String] = []
  /// By case: the difference from the reference, as a share of the tolerance.
  package var closeness: [String: Float] = [:]

  package var description: String {
    "\(caseCount) cases, \(skipped.count) skipped, \(failures.count) failures"
      + failures.prefix(10).map { "\n\($0)" }.joined()
  }
}

/// Tries a backend with every op over edge shapes and types.
///
/// - Parameter kinds: The ops to try; all by default.
package func checkConformance(
  of backend: any Backend,
  kinds: [OpKind] = OpKind.allCases,
  seed: UInt64
) -> ConformanceReport {
  var report = ConformanceReport()
  for kind in kinds {
    let cases = kind.cases(seed: seed)
    if !cases.contains(where: { $0.program.ops.contains { $0.kind == kind } }) {
      report.failures.append("no case tries \(kind)")
    }
    for testCase in cases { check(testCase, on: backend, seed: seed, &report) }
  }
  return report
}

private func check(
  _ testCase: ConformanceCase,
  on backend: any Backend,
  seed: UInt64,
  _ report: inout ConformanceReport
) {
  for op in testCase.program.ops {
    if case .unsupported(let reason) = backend.support(for: op) {
      report.skipped.append("\(testCase.name): \(reason)")
      return
    }
  }
  report.caseCount += 1
  let failures: [String]
  do {
    let want = try testCase.run(on: ReferenceBackend(), .together, seed: seed)
    let got = try testCase.run(on: backend, .together, seed: seed)
    let limit = testCase.tolerance * largestMagnitude(want)
    var closest = Float(0)
    var found = compare(got, want, limit: limit, "\(testCase.name), against the reference") {
      closest = max(closest, $0)
    }
    if limit > 0 { report.closeness[testCase.name] = closest / limit }
    for schedule in [Schedule.alone, .mixed] {
      let other = try testCase.run(on: backend, schedule, seed: seed)
      found += compare(other, got, limit: 0, "\(testCase.name), \(schedule) against together")
    }
    failures = found
  } catch {
    failures = ["\(testCase.name): \(error)"]
  }
  report.failures += failures.map { "\($0) (seed \(seed))" }
}

/// Expects the same bits from several backends: other thread counts, other instruction sets.
package func checkAgreement(
  of backends: [(name: String, backend: any Backend)],
  kinds: [OpKind] = OpKind.allCases,
  seed: UInt64
) -> ConformanceReport {
  var report = ConformanceReport()
  guard let first = backends.first else { return report }
  for testCase in kinds.flatMap({ $0.cases(seed: seed) }) {
    report.caseCount += 1
    do {
      let want = try testCase.run(on: first.backend, .together, seed: seed)
      for other in backends.dropFirst() {
        let got = try testCase.run(on: other.backend, .together, seed: seed)
        let name = "\(testCase.name), \(other.name) against \(first.name) (seed \(seed))"
        report.failures += compare(got, want, limit: 0, name)
      }
    } catch {
      report.failures.append("\(testCase.name): \(error)")
    }
  }
  return report
}

private func largestMagnitude(_ outputs: RowOutputs) -> Float {
  outputs.values.reduce(0) { $1.reduce($0) { max($0, abs($1)) } }
}

/// Returns what differs, at most one line for a comparison: the first row, and how many.
private func compare(
  _ got: RowOutputs,
  _ want: RowOutputs,
  limit: Float,
  _ name: String,
  note: (Float) -> Void = { _ in }
) -> [String] {
  guard got.keys.sorted() == want.keys.sorted() else {
    return ["\(name): \(got.count) rows of output, \(want.count) expected"]
  }
  var first: String?
  var count = 0
  for key in want.keys.sorted() {
    guard let gotRow = got[key], let wantRow = want[key] else { continue }
    let difference = Difference(gotRow, wantRow, limit: limit)
    note(difference.maxAbs)
    guard !difference.passes else { continue }
    count += 1
    first = first ?? "slot \(key.slot), position \(key.position): \(difference)"
  }
  return first.map { ["\(name): \(count) of \(want.count) rows differ; \($0)"] } ?? []
}
