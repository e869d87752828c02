// Messages to and from a program, and through them its memory.

internal import Glibc
internal import NPUFake

/// A message, without the bytes that follow it.
struct Message {
  /// As in CNPUPreload.h.
  enum Kind: UInt32 {
    case request = 1
    case mapped, unmapped, answer, read, write, done
  }

  var kind: Kind
  var value: UInt32
  var address: UInt64
  var offset: UInt64
  var count: UInt64

  static let byteCount = 32
  /// The most bytes that follow.
  static let mostBytes = 1 << 16

  init(_ kind: Kind, value: UInt32 = 0, address: UInt64 = 0, count: Int = 0) {
    self.kind = kind
    self.value = value
    self.address = address
    offset = 0
    self.count = UInt64(count)
  }

  /// Reads a message; nil if it is none.
  init?(_ bytes: ArraySlice<UInt8>) {
    guard bytes.count >= Self.byteCount else { return nil }
    func number(_ place: Int, _ size: Int) -> UInt64 {
      (0..<size).reduce(0) {
        $0 | UInt64(bytes[bytes.startIndex + place + $1]) << UInt64(8 * $1)
      }
    }
    guard let kind = Kind(rawValue: UInt32(number(0, 4))) else { return nil }
    self.kind = kind
    value = UInt32(number(4, 4))
    address = number(8, 8)
    offset = number(16, 8)
    count = number(24, 8)
  }

  var bytes: [UInt8] {
    let words = [
      UInt64(kind.rawValue) | UInt64(value) << 32, address, offset, count,
    ]
    return words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
  }
}

/// A program at the other end of a socket: its memory is read and written by itself, as ordered.
struct Connection: CallerMemory {
  let descriptor: CInt

  func read(_ address: UInt64, count: Int) -> [UInt8]? {
    guard count <= Message.mostBytes, send(Message(.read, address: address, count: count)),
      let (answer, bytes) = receive(), answer.kind == .answer, answer.value == 0,
      bytes.count == count
    else { return nil }
    return bytes
  }

  func write(_ address: UInt64, _ bytes: [UInt8]) -> Bool {
    guard bytes.count <= Message.mostBytes,
      send(Message(.write, address: address, count: bytes.count), bytes),
      let (answer, _) = receive()
    else { return false }
    return answer.kind == .answer && answer.value == 0
  }

  @discardableResult
  func send(_ message: Message, _ bytes: [UInt8] = []) -> Bool {
    let all = message.bytes + bytes
    while true {
      let sent = unsafe all.withUnsafeBytes {
        unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
      }
      if sent >= 0 || errno != EINTR { return sent == all.count }
    }
  }

  /// Returns the next message, and the bytes that follow it; nil at the end.
  func receive() -> (Message, [UInt8])? {
    var bytes = [UInt8](repeating: 0, count: Message.byteCount + Message.mostBytes)
    var count = -1
    repeat {
      count = unsafe bytes.withUnsafeMutableBytes {
        unsafe recv(descriptor, $0.baseAddress, $0.count, 0)
      }
    } while count < 0 && errno == EINTR
    guard count > 0, let message = Message(bytes[..<count]) else { return nil }
    return (message, Array(bytes[Message.byteCount..<count]))
  }

  /// Sends the first message, which brings a descriptor along.
  func greet(_ brought: CInt) -> Bool {
    var bytes = Message(.done).bytes
    // A struct cmsghdr: its length, SOL_SOCKET and SCM_RIGHTS, and then the descriptor.
    let kinds = UInt64(UInt32(SOL_SOCKET)) | UInt64(SCM_RIGHTS) << 32
    var control: [UInt64] = [20, kinds, UInt64(UInt32(brought))]
    return unsafe bytes.withUnsafeMutableBytes { bytes in
      unsafe control.withUnsafeMutableBytes { control in
        var part = unsafe iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
        return unsafe withUnsafeMutablePointer(to: &part) { part in
          var header = unsafe msghdr()
          unsafe header.msg_iov = part
          unsafe header.msg_iovlen = 1
          unsafe header.msg_control = control.baseAddress
          unsafe header.msg_controllen = control.count
          return unsafe sendmsg(descriptor, &header, CInt(MSG_NOSIGNAL)) == bytes.count
        }
      }
    }
  }
}
