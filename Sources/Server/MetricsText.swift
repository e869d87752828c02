// Prometheus's text format 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/.

/// Metrics as lines.
struct MetricsText {
  private var lines: [String] = []

  var text: String { lines.joined(separator: "\n") + "\n" }

  mutating func add(_ name: String, _ type: String, _ help: String, _ value: Double) {
    add(name, type, help, [([:], value)])
  }

  /// Adds a metric with a value for each set of labels; nothing without values.
  mutating func add(
    _ name: String,
    _ type: String,
    _ help: String,
    _ values: [([String: String], Double)]
  ) {
    guard !values.isEmpty else { return }
    begin(name, type, help)
    for (labels, value) in values { add(name, labels, value) }
  }

  /// Adds a histogram.
  ///
  /// - Parameters:
  ///   - name: Its name.
  ///   - help: What it counts.
  ///   - bounds: The largest value of each bucket, ascending.
  ///   - counts: How many values each bucket has, and last how many are larger than all bounds.
  ///   - sum: The sum of all values.
  mutating func addHistogram(
    _ name: String,
    _ help: String,
    bounds: [Double],
    counts: [UInt64],
    sum: Double
  ) {
    begin(name, "histogram", help)
    var total: UInt64 = 0
    for (bound, count) in zip(bounds, counts) {
      total += count
      add("\(name)_bucket", ["le": Self.number(bound)], Double(total))
    }
    total += counts.dropFirst(bounds.count).reduce(0, +)
    add("\(name)_bucket", ["le": "+Inf"], Double(total))
    add("\(name)_sum", [:], sum)
    add("\(name)_count", [:], Double(total))
  }

  private mutating func begin(_ name: String, _ type: String, _ help: String) {
    lines.append("# HELP \(name) \(help)")
    lines.append("# TYPE \(name) \(type)")
  }

  private mutating func add(_ name: String, _ labels: [String: String], _ value: Double) {
    let text = labels.sorted { $0.key < $1.key }
      .map { "\($0.key)=\"\(Self.escaped($0.value))\"" }.joined(separator: ",")
    lines.append("\(name)\(text.isEmpty ? "" : "{\(text)}") \(Self.number(value))")
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
  }

  private static func number(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
  }
}
