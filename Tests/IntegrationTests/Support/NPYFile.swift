// Reads NumPy's .npy files, version 1.0 (numpy/lib/format.py), as strictly as numpy does.

import Foundation

/// An f32 array in C order.
struct NPYFile {
  var shape: [Int]
  var values: [Float]

  /// - Throws: `ProcessError` that names what is wrong with the file.
  init(_ path: String) throws {
    let bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
    guard bytes.count >= 10, bytes.starts(with: [0x93] + Array("NUMPY".utf8) + [1, 0]) else {
      throw ProcessError(description: "\(path): no .npy file of version 1.0")
    }
    let start = 10 + Int(bytes[8]) + Int(bytes[9]) << 8
    guard start % 64 == 0, start <= bytes.count, bytes[start - 1] == UInt8(ascii: "\n") else {
      throw ProcessError(description: "\(path): the data begin at \(start)")
    }
    let header = String(decoding: bytes[10..<start], as: UTF8.self)
    let pattern =
      #/^\{'descr': '<f4', 'fortran_order': False, 'shape': \(([\d, ]*)\), ?\} *\n$/#
    guard let match = header.wholeMatch(of: pattern) else {
      throw ProcessError(description: "\(path): header \(header)")
    }
    shape = match.output.1.split(separator: ",").compactMap {
      Int($0.filter { !$0.isWhitespace })
    }
    values = stride(from: start, to: bytes.count - 3, by: 4).map { at in
      let low = UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8
      return Float(bitPattern: low | UInt32(bytes[at + 2]) << 16 | UInt32(bytes[at + 3]) << 24)
    }
    guard (bytes.count - start) == 4 * shape.reduce(1, *) else {
      throw ProcessError(description: "\(path): \(bytes.count - start) bytes of data for \(shape)")
    }
  }
}
