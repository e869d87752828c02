// Programs as text, for `trestle inspect --program` and for failing tests.

extension Program: CustomStringConvertible {
  /// One line for each buffer, cache and op.
  package var description: String {
    var lines = ["program: layers \(layers.lowerBound)..<\(layers.upperBound)"]
    if !vocabulary.isEmpty {
      lines[0] += ", vocabulary \(vocabulary.lowerBound)..<\(vocabulary.upperBound)"
    }
    for (index, buffer) in buffers.enumerated() {
      let planes = buffer.planes > 1 ? "\(buffer.planes), " : ""
      let id = BufferID(index: index)
      let role = inputs.contains(id) ? " input" : ""
      let result = outputs.contains(id) ? " output" : ""
      lines.append(
        "  %\(buffer.name): [\(planes)\(buffer.rows) rows, \(buffer.width)] f32\(role)\(result)"
      )
    }
    for cache in caches {
      let sight = cache.window.map { "window \($0)" } ?? "full"
      lines.append(
        "  cache \(cache.layer): [\(cache.kvHeadCount) heads, positions, \(cache.headDim)], \(sight)"
      )
    }
    for op in ops { lines.append("  " + describe(op)) }
    return lines.joined(separator: "\n")
  }

  /// Returns the op as `%out = name(%in) weights`.
  package func describe(_ op: Op) -> String {
    let (reads, writes) = op.operands
    let names = { (ids: [BufferID]) in ids.map { "%\(self[$0].name)" }.joined(separator: ", ") }
    var line = writes.isEmpty ? "" : "\(names(writes)) = "
    line += "\(op.name)(\(names(reads)))"
    let (read, written) = op.cacheOperands
    if let written { line += " → cache \(self[written].layer)" }
    if let read { line += " ← cache \(self[read].layer)" }
    for weight in op.weights {
      line += " \(weight.name)[\(weight.rows.count)×\(weight.columns) \(weight.type.rawValue)]"
    }
    return line
  }
}
