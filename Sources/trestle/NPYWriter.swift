// NumPy's .npy files: numpy/lib/format.py, format version 1.0.

/// Writes a two-dimensional f32 array row by row.
///
/// If the writer is not closed, the file is not created, and an older one stays unchanged.
struct NPYWriter {
  private let file: OutputFile
  private var remaining: Int

  /// Creates the file and writes its header.
  ///
  /// - Throws: `CommandError` if the file cannot be written.
  init(path: String, rows: Int, columns: Int) throws {
    remaining = rows * columns
    file = try OutputFile(path)
    try unsafe Self.header(rows: rows, columns: columns).withUnsafeBytes {
      try unsafe file.write($0)
    }
  }

  //  "\x93NUMPY" 1 0 | header length u16 LE | header text, padded with spaces, "\n" | data
  //  The data begins at a multiple of 64 bytes.
  private static func header(rows: Int, columns: Int) -> [UInt8] {
    var text = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(rows), \(columns)), }"
    let prefix = 10
    text += String(repeating: " ", count: 63 - (prefix + text.utf8.count) % 64) + "\n"
    let length = [UInt8(text.utf8.count & 0xFF), UInt8(text.utf8.count >> 8)]
    return [0x93] + Array("NUMPY".utf8) + [1, 0] + length + Array(text.utf8)
  }

  /// Appends values in row-major order.
  mutating func append(_ values: [Float]) throws {
    remaining -= values.count
    try unsafe values.withUnsafeBytes { try unsafe file.write($0) }
  }

  /// Completes the file.
  ///
  /// - Throws: `CommandError` if the number of values appended is not that of the shape.
  func close() throws {
    guard remaining == 0 else {
      throw CommandError("\(file.path): \(remaining) values are missing")
    }
    try file.finish()
  }
}
