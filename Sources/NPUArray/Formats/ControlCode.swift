// TXN: control code, the operations that the array's controller does for one call.
//
// Source: Xilinx/mlir-aie, runtime TxnEncoding.h, the format "0.1", checked on four published files
// (Tests/Goldens/npu/txn_cdo_vectors.json).

/// An operation of control code.
package enum ControlOperation: Sendable, Hashable {
  case write(address: UInt32, value: UInt32)
  case maskedWrite(address: UInt32, mask: UInt32, value: UInt32)
  case block(address: UInt32, words: [UInt32])
  /// Waits until so many tokens of finished tasks have come, one from each tile of a rectangle.
  case wait(Direction, column: Int, row: Int, channel: Int, columns: Int, rows: Int)
  /// Adds the address of an argument, and an offset in bytes, to the address in a shim's descriptor, of which
  /// `address` is the second word's.
  case patch(address: UInt32, argument: Int, offset: UInt32)
}

package enum ControlCode {
  private static let write: UInt32 = 0
  private static let block: UInt32 = 1
  private static let maskedWrite: UInt32 = 3
  private static let wait: UInt32 = 0x80
  private static let patch: UInt32 = 0x81
  private static let headerCount = 4
  /// Six rows, the third generation, format 0.1.
  private static let version: UInt32 = 0x0603_0100
  /// One row of memory tiles, four columns.
  private static let shape: UInt32 = 0x104

  /// The words of some operations, header included.
  package static func words(of operations: [ControlOperation]) -> [UInt32] {
    var words: [UInt32] = []
    for operation in operations {
      switch operation {
      case .write(let address, let value): words += [write, 0, address, 0, value, 24]
      case .maskedWrite(let address, let mask, let value):
        words += [maskedWrite, 0, address, 0, value, mask, 28]
      case .block(let address, let data):
        words += [block, 0, address, UInt32(16 + 4 * data.count)] + data
      case .wait(let direction, let column, let row, let channel, let columns, let rows):
        let place = UInt32(column) << 16 | UInt32(row) << 8
        words += [
          wait, 16, place | (direction == .intoMemory ? 0 : 1),
          UInt32(channel) << 24 | UInt32(columns) << 16 | UInt32(rows) << 8,
        ]
      case .patch(let address, let argument, let offset):
        words += [patch, 48, 0, 0, 0, 0, address, 0, UInt32(argument), 0, offset, 0]
      }
    }
    let byteCount = UInt32(4 * (headerCount + words.count))
    return [version, shape, UInt32(operations.count), byteCount] + words
  }

  /// Reads operations, header included.
  ///
  /// - Throws: `NPUError.bytes` with the place of what is wrong.
  package static func operations(in words: [UInt32]) throws(NPUError) -> [ControlOperation] {
    var reader = WordReader(words, "TXN")
    try reader.expect(version, "the version")
    let shape = try reader.next()
    // Some producers count all five columns.
    guard shape >> 8 == 1, (4...5).contains(shape & 0xFF) else {
      throw reader.error("the array is \(shape.hexadecimal)")
    }
    let count = try reader.next()
    try reader.expect(UInt32(4 * words.count), "the size")
    var operations: [ControlOperation] = []
    while !reader.isEmpty { operations.append(try operation(&reader)) }
    guard operations.count == count else {
      throw reader.error("\(operations.count) operations, where the header says \(count)")
    }
    return operations
  }

  private static func operation(_ reader: inout WordReader) throws(NPUError) -> ControlOperation {
    let code = try reader.next()
    switch code {
    case write:
      let rest = try reader.next(5)
      guard [rest[0], rest[2], rest[4]] == [0, 0, 24] else {
        throw reader.error("no WRITE32 is so")
      }
      return .write(address: rest[1], value: rest[3])
    case maskedWrite:
      let rest = try reader.next(6)
      guard [rest[0], rest[2], rest[5]] == [0, 0, 28] else {
        throw reader.error("no MASKWRITE is so")
      }
      return .maskedWrite(address: rest[1], mask: rest[4], value: rest[3])
    case block:
      let rest = try reader.next(3)
      guard rest[2] >= 16, rest[2].isMultiple(of: 4) else {
        throw reader.error("a BLOCKWRITE of \(rest[2]) bytes")
      }
      return .block(address: rest[1], words: try reader.next(Int(rest[2]) / 4 - 4))
    case wait:
      let rest = try reader.next(3)
      guard rest[0] == 16, rest[1] & 0xFF < 2, rest[2] & 0xFF == 0 else {
        throw reader.error("no wait for tokens is so")
      }
      return .wait(
        rest[1] & 0xFF == 0 ? .intoMemory : .outOfMemory,
        column: Int(rest[1] >> 16),
        row: Int(rest[1] >> 8 & 0xFF),
        channel: Int(rest[2] >> 24),
        columns: Int(rest[2] >> 16 & 0xFF),
        rows: Int(rest[2] >> 8 & 0xFF)
      )
    case patch:
      let rest = try reader.next(11)
      guard rest[0] == 48, [1, 2, 3, 4, 6, 8, 10].allSatisfy({ rest[$0] == 0 }) else {
        throw reader.error("no DDR_PATCH is so")
      }
      return .patch(address: rest[5], argument: Int(rest[7]), offset: rest[9])
    default: throw reader.error("an unknown operation \(code.hexadecimal)")
    }
  }
}
