// CDO: the commands that configure an array, as a list of words.
//
// Source: five published configurations, decoded (Tests/Goldens/npu/txn_cdo_vectors.json).

/// A command of a configuration.
package enum ConfigurationCommand: Sendable, Hashable {
  case write(address: UInt32, value: UInt32)
  case maskedWrite(address: UInt32, mask: UInt32, value: UInt32)
  case block(address: UInt32, words: [UInt32])
  case poll(address: UInt32, mask: UInt32, value: UInt32)
}

package enum Configuration {
  private static let poll: UInt32 = 0x101
  private static let maskedWrite: UInt32 = 0x102
  private static let write: UInt32 = 0x103
  private static let block: UInt32 = 0x105
  private static let nop: UInt32 = 0x111
  /// A payload of so many words is told by the next word.
  private static let longPayload = 0xFF
  /// Words before the first command.
  static let headerCount = 5

  /// Returns the words of some commands, header included.
  ///
  /// Blocks begin at a multiple of 16 bytes, as in all published configurations; whether they must is not known.
  ///
  /// - Parameters:
  ///   - commands: What to do, in this order.
  ///   - offset: Where the first word stands in its file, in words.
  /// - Returns: The words.
  package static func words(
    of commands: [ConfigurationCommand],
    at offset: Int = 0
  ) -> [UInt32] {
    var words: [UInt32] = []
    for command in commands {
      switch command {
      case .write(let address, let value): words += [2 << 16 | write, address, value]
      case .maskedWrite(let address, let mask, let value):
        words += [3 << 16 | maskedWrite, address, mask, value]
      case .poll(let address, let mask, let value):
        words += [3 << 16 | poll, address, mask, value]
      case .block(let address, let data):
        let missing = -(offset + headerCount + words.count) & 3
        if missing > 0 {
          words.append(UInt32(missing - 1) << 16 | nop)
          words += Array(repeating: 0, count: missing - 1)
        }
        let count = data.count + 2
        words +=
          count < longPayload
          ? [UInt32(count) << 16 | block] : [UInt32(longPayload) << 16 | block, UInt32(count)]
        words += [0, address] + data
      }
    }
    var header: [UInt32] = [4, 0x004F_4443, 0x0000_0200, UInt32(words.count)]
    header.append(header.checksum)
    return header + words
  }

  /// Reads commands, header included.
  ///
  /// - Throws: `NPUError.bytes` with the place of what is wrong.
  package static func commands(in words: [UInt32]) throws(NPUError) -> [ConfigurationCommand] {
    var reader = WordReader(words, "CDO")
    let header = try reader.next(headerCount)
    guard header[0] == 4, header[1] == 0x004F_4443 else { throw reader.error("no CDO begins so") }
    guard header[4] == Array(header[..<4]).checksum else {
      throw reader.error("the checksum of the header is wrong")
    }
    guard Int(header[3]) == reader.rest.count else {
      throw reader.error("\(header[3]) words of commands, of which \(reader.rest.count) are there")
    }
    reader = WordReader(try reader.next(Int(header[3])), "CDO")
    var commands: [ConfigurationCommand] = []
    while !reader.isEmpty {
      let word = try reader.next()
      var count = Int(word >> 16 & 0xFF)
      if count == longPayload { count = Int(try reader.next()) }
      let payload = try reader.next(count)
      func expect(_ wanted: ClosedRange<Int>) throws(NPUError) {
        guard wanted.contains(count) else {
          throw reader.error("a command \(word.hexadecimal) with \(count) words")
        }
      }
      switch word & 0xFFFF {
      case nop: break
      case write:
        try expect(2...2)
        commands.append(.write(address: payload[0], value: payload[1]))
      case maskedWrite:
        try expect(3...3)
        commands.append(.maskedWrite(address: payload[0], mask: payload[1], value: payload[2]))
      case poll:
        try expect(3...3)
        commands.append(.poll(address: payload[0], mask: payload[1], value: payload[2]))
      case block:
        try expect(2...Int.max)
        guard payload[0] == 0 else { throw reader.error("a block beyond 32 bits") }
        commands.append(.block(address: payload[1], words: Array(payload[2...])))
      default: throw reader.error("an unknown command \(word.hexadecimal)")
      }
    }
    return commands
  }
}
