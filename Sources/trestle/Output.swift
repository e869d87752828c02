// JSON and tables on stdout.

import Client
import Compute
import Foundation

/// Encodes a value as one line of JSON with snake_case keys.
func json(_ value: some Encodable) throws -> String {
  String(decoding: try DocumentCoding.encode(value), as: UTF8.self)
}

/// Formats rows as columns, with numbers aligned to the right.
///
/// Names and details in the cells come from other processes, so control characters are escaped.
func table(_ header: [String], _ rows: [[String]]) -> String {
  let rows = rows.map { $0.map(\.printable) }
  let widths = header.indices.map { column in
    ([header] + rows).map { $0[column].count }.max() ?? 0
  }
  let isNumeric = header.indices.map { column in
    rows.allSatisfy { $0[column].first?.isNumber ?? false }
  }
  return ([header] + rows).map { cells in
    zip(cells.indices, cells).map { column, cell in
      let padding = String(repeating: " ", count: widths[column] - cell.count)
      return isNumeric[column] ? padding + cell : cell + padding
    }
    .joined(separator: "  ")
    .replacingOccurrences(of: "\\s+$", with: "", options: .regularExpression)
  }
  .joined(separator: "\n")
}

/// A count of things: `1 window`, `2 windows`.
func counted(_ count: Int, _ thing: String) -> String {
  "\(count) \(thing)\(count == 1 ? "" : "s")"
}

/// How many times larger or smaller something has become, for people.
func sizeRatio(from before: Int, to after: Int) -> String {
  let ratio = Double(max(before, after)) / Double(max(1, min(before, after)))
  return "\(decimal(ratio, 2)) × \(after > before ? "larger" : "smaller")"
}

/// A number with a fixed count of decimals.
func decimal(_ value: Double, _ places: Int) -> String {
  String(format: "%.\(places)f", value)
}

/// Returns a word as a shell is given it: in quotes where it would mean something else.
func shellQuoted(_ word: String) -> String {
  let isPlain =
    !word.isEmpty
    && word.unicodeScalars.allSatisfy {
      $0.isASCII && $0.properties.isAlphabetic || ("0"..."9").contains($0)
        || "-._/:@+,=%".unicodeScalars.contains($0)
    }
  return isPlain ? word : "'" + word.replacing("'", with: "'\\''") + "'"
}
