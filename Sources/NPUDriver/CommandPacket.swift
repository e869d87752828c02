// Command packets: what the firmware is told, in a buffer of the kind `command`.
//
// word 0   [3:0] state   [22:12] words that follow   [27:23] opcode
// START_CU: mask of units, 3 as 64 bits, address of the control code, its length in bytes, addresses of arguments
// a chain: struct amdxdna_chain, then the handles of its commands

internal import CAMDXDNA

/// How a command has ended.
package struct CommandState: Sendable, Hashable, CustomStringConvertible {
  let value: UInt32

  package static let completed = CommandState(value: UInt32(AMDXDNA_STATE_COMPLETED))

  package var description: String {
    switch Int(value) {
    case AMDXDNA_STATE_NEW: "NEW"
    case AMDXDNA_STATE_QUEUED: "QUEUED"
    case AMDXDNA_STATE_RUNNING: "RUNNING"
    case AMDXDNA_STATE_COMPLETED: "COMPLETED"
    case AMDXDNA_STATE_ERROR: "ERROR"
    case AMDXDNA_STATE_ABORT: "ABORT"
    case AMDXDNA_STATE_SUBMITTED: "SUBMITTED"
    case AMDXDNA_STATE_TIMEOUT: "TIMEOUT"
    case AMDXDNA_STATE_NORESPONSE: "NORESPONSE"
    default: "state \(value)"
    }
  }
}

/// A command for the device: control code and its arguments.
package struct NPUCommand {
  package var code: NPUBuffer
  /// The length of the control code in bytes.
  package var codeBytes: Int
  package var arguments: [NPUBuffer]

  /// What the firmware has room for.
  package static let mostArguments = Int(AMDXDNA_MAX_ARGUMENTS)

  /// - Precondition: At most `mostArguments`.
  package init(code: NPUBuffer, codeBytes: Int, arguments: [NPUBuffer]) {
    precondition(arguments.count <= Self.mostArguments, "\(arguments.count) arguments")
    self.code = code
    self.codeBytes = codeBytes
    self.arguments = arguments
  }

  /// The packet for the context's unit `unit`.
  func words(unit: Int) -> [UInt32] {
    var words: [UInt32] = [1 << UInt32(unit)]
    for value in [UInt64(AMDXDNA_START_CODE), code.address] { words += Self.halves(value) }
    words.append(UInt32(codeBytes))
    for argument in arguments { words += Self.halves(argument.address) }
    return [CommandPacket.header(opcode: AMDXDNA_OPCODE_START_CU, count: words.count)] + words
  }

  static func halves(_ value: UInt64) -> [UInt32] {
    [UInt32(truncatingIfNeeded: value), UInt32(truncatingIfNeeded: value >> 32)]
  }
}

enum CommandPacket {
  static func header(opcode: Int, count: Int) -> UInt32 {
    precondition(count <= AMDXDNA_COUNT_MASK, "a packet of \(count) words")
    return UInt32(opcode) << UInt32(AMDXDNA_OPCODE_SHIFT)
      | UInt32(count) << UInt32(AMDXDNA_COUNT_SHIFT) | UInt32(AMDXDNA_STATE_NEW)
  }

  /// The packet of a chain of commands.
  static func chain(_ packets: [NPUBuffer]) -> [UInt32] {
    var words: [UInt32] = [UInt32(packets.count), 0, 0, 0, 0, 0]
    for packet in packets { words += NPUCommand.halves(UInt64(packet.handle)) }
    return [header(opcode: AMDXDNA_OPCODE_CHAIN, count: words.count)] + words
  }
}
