// A timeline in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open: it has a
// row for the coordinator and one for each stage, and in it a slice for each micro-batch.
//
// The format: "Trace Event Format", docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
// (JSON array format: "the ] at the end is optional", so a file whose writer died opens as well; ph X
// is a complete event, B and E a begin and an end, i an instant, M metadata; times in microseconds).

/// Converts the pipeline's history into events of the format, each a line of JSON.
struct TraceFormat {
  /// The coordinator's row; stage `n` has row `n + 1`.
  private static let coordinatorRow = 0

  private let origin: ContinuousClock.Instant
  private var rowNames: [Int: String] = [:]
  private var phase: String?

  /// Begins a timeline whose times count from `origin`.
  init(origin: ContinuousClock.Instant) { self.origin = origin }

  /// Returns the slices of a micro-batch, and the names of rows that are new or have changed.
  mutating func events(for step: StepTrace) -> [String] {
    step.slices.flatMap { slice in
      let row = slice.stage + 1
      let kind =
        switch (step.prefillRows, step.decodeRows) {
        case (0, 0): "clear"
        case (_, 0): "prefill \(step.prefillRows)"
        case (0, _): "decode \(step.decodeRows)"
        default: "prefill \(step.prefillRows) + decode \(step.decodeRows)"
        }
      let arguments = [
        ("sequence", "\(step.sequence)"), ("epoch", "\(step.epoch)"),
        ("rows", "\(step.prefillRows + step.decodeRows)"), ("prefill", "\(step.prefillRows)"),
        ("decode", "\(step.decodeRows)"),
        ("layers", Self.text("\(slice.layers.lowerBound)..<\(slice.layers.upperBound)")),
        (
          "vocabulary",
          Self.text("\(slice.vocabulary.lowerBound)..<\(slice.vocabulary.upperBound)")
        ),
        ("waited_us", Self.number(slice.wait)),
        ("clock", Self.text(slice.isExact ? "exact" : "estimated")),
      ]
      return name(row, "stage \(slice.stage): \(slice.worker)") + [
        Self.event(
          "X",
          kind,
          row,
          at: time(slice.began),
          [("dur", Self.number(slice.duration)), ("args", Self.object(arguments))]
        )
      ]
    }
  }

  /// Returns the event of a note of the coordinator.
  mutating func events(
    for note: CoordinatorNote,
    at now: ContinuousClock.Instant
  ) -> [String] {
    let arguments = note.metadata.sorted { $0.key < $1.key }.map { ($0.key, Self.text($0.value)) }
    let event = Self.event(
      "i",
      note.message,
      Self.coordinatorRow,
      at: time(now),
      [("s", Self.text("p")), ("args", Self.object(arguments))]
    )
    return name(Self.coordinatorRow, "coordinator") + [event]
  }

  /// Returns the end of the coordinator's phase and the begin of the next; nothing if it stays the
  /// same.
  mutating func events(
    forPhase next: String,
    at now: ContinuousClock.Instant
  ) -> [String] {
    guard next != phase else { return [] }
    let end = phase.map { Self.event("E", $0, Self.coordinatorRow, at: time(now), []) }
    phase = next
    return name(Self.coordinatorRow, "coordinator") + (end.map { [$0] } ?? [])
      + [Self.event("B", next, Self.coordinatorRow, at: time(now), [])]
  }

  /// Returns the end of the current phase.
  mutating func end(at now: ContinuousClock.Instant) -> [String] {
    defer { phase = nil }
    return phase.map { [Self.event("E", $0, Self.coordinatorRow, at: time(now), [])] } ?? []
  }

  /// Names a row, unless it already has that name.
  private mutating func name(_ row: Int, _ name: String) -> [String] {
    guard rowNames.updateValue(name, forKey: row) != name else { return [] }
    let named = Self.object([("name", Self.text(name))])
    let sorted = Self.object([("sort_index", "\(row)")])
    return [
      Self.event("M", "thread_name", row, at: "0", [("args", named)]),
      Self.event("M", "thread_sort_index", row, at: "0", [("args", sorted)]),
    ]
  }

  private func time(_ instant: ContinuousClock.Instant) -> String { Self.number(instant - origin) }

  // MARK: JSON

  private static func event(
    _ kind: String,
    _ name: String,
    _ row: Int,
    at time: String,
    _ more: [(String, String)]
  ) -> String {
    object(
      [
        ("ph", text(kind)), ("name", text(name)), ("cat", text("trestle")), ("pid", "1"),
        ("tid", "\(row)"), ("ts", time),
      ] + more
    )
  }

  private static func object(_ members: [(String, String)]) -> String {
    "{" + members.map { "\(text($0.0)):\($0.1)" }.joined(separator: ",") + "}"
  }

  private static func number(_ duration: Duration) -> String {
    "\((duration / .nanoseconds(1)).rounded() / 1000)"
  }

  /// Quotes a text as a JSON string (RFC 8259, section 7).
  static func text(_ value: String) -> String {
    var quoted = "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case "\n": quoted += "\\n"
      case ..<" ":
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}
