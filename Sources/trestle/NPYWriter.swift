// NumPy's .npy files: numpy/lib/format.py, format version 1.0.

import Foundation

/// Writes a two-dimensional f32 array row by row.
struct NPYWriter {
  private let path: String
  private let handle: FileHandle
  private var remaining: Int

  /// Creates the file and writes its header.
  ///
  /// - Throws: `CommandError` if the file cannot be written.
  init(path: String, rows: Int, columns: Int) throws {
    self.path = path
    remaining = rows * columns
    guard FileManager.default.createFile(atPath: path, contents: nil),
      let handle = FileHandle(forWritingAtPath: path)
    else { throw CommandError("cannot write \(path)") }
    self.handle = handle
    try write(Self.header(rows: rows, columns: columns))
  }

  //  "\x93NUMPY" 1 0 | header length u16 LE | header text, padded with spaces, "\n" | data
  //  The data begins at a multiple of 64 bytes.
  private static func header(rows: Int, columns: Int) -> Data {
    var text = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(rows), \(columns)), }"
    let prefix = 10
    text += String(repeating: " ", count: 63 - (prefix + text.utf8.count) % 64) + "\n"
    var data = Data([0x93] + Array("NUMPY".utf8) + [1, 0])
    data.append(contentsOf: [UInt8(text.utf8.count & 0xFF), UInt8(text.utf8.count >> 8)])
    data.append(contentsOf: text.utf8)
    return data
  }

  /// Appends values in row-major order.
  mutating func append(_ values: [Float]) throws {
    remaining -= values.count
    try write(unsafe values.withUnsafeBytes { unsafe Data($0) })
  }

  /// Ends the file.
  ///
  /// - Throws: `CommandError` if fewer or more values came than the shape says.
  func close() throws {
    try handle.close()
    guard remaining == 0 else {
      throw CommandError("\(path): \(remaining) values are missing")
    }
  }

  /// Removes a file that could not be completed.
  func discard() {
    try? handle.close()
    try? FileManager.default.removeItem(atPath: path)
  }

  private func write(_ data: Data) throws {
    do {
      try handle.write(contentsOf: data)
    } catch {
      throw CommandError("cannot write \(path): \(error)")
    }
  }
}
