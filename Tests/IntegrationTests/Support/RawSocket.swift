// A peer that does not speak ZeroMQ, or only enough of it to do harm.

import Glibc

/// Makes a Unix socket and binds it to a path, or connects it.
///
/// A bound socket that is closed leaves its file behind, as a killed process does.
///
/// - Throws: `ProcessError` with the system's reason.
func unixSocket(_ path: String, binds: Bool) throws -> CInt {
  let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  unsafe withUnsafeMutableBytes(of: &address.sun_path) { field in
    unsafe field.copyBytes(from: path.utf8.prefix(field.count - 1))
  }
  let size = socklen_t(MemoryLayout<sockaddr_un>.size)
  let status = unsafe withUnsafePointer(to: address) { pointer in
    unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      unsafe binds ? bind(descriptor, $0, size) : connect(descriptor, $0, size)
    }
  }
  guard status == 0 else {
    defer { close(descriptor) }
    throw ProcessError(description: "\(path): \(unsafe String(cString: strerror(errno)))")
  }
  return descriptor
}

/// A connection to an ipc socket.
final class RawSocket {
  private let descriptor: CInt

  /// Connects to a socket in the file system.
  init(path: String) throws {
    descriptor = try unixSocket(path, binds: false)
    // A peer that does not read must not block the test.
    var limit = timeval(tv_sec: 0, tv_usec: 200_000)
    let limitSize = socklen_t(MemoryLayout<timeval>.size)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, limitSize)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, limitSize)
  }

  /// Connects to a tcp port of this machine.
  init(port: UInt16) throws {
    descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    address.sin_port = port.bigEndian
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = unsafe withUnsafePointer(to: address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe connect(descriptor, $0, size)
      }
    }
    guard status == 0 else {
      throw ProcessError(description: "port \(port): \(unsafe String(cString: strerror(errno)))")
    }
  }

  deinit { close(descriptor) }

  /// Sends as much as the peer accepts; returns how much that was.
  @discardableResult func send(_ bytes: [UInt8]) -> Int {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes {
        unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
      }
      guard count > 0 else { break }
      rest = rest.dropFirst(count)
    }
    return bytes.count - rest.count
  }

  /// Performs a handshake without security and waits for the answer: libzmq disconnects a peer that
  /// sends a message before libzmq's own READY.
  func open() {
    send(ZMTP.greeting + ZMTP.ready)
    var count = 0
    while count < ZMTP.greeting.count + ZMTP.ready.count {
      let more = receive()
      guard more > 0 else { return }
      count += more
    }
    // libzmq processes our READY a moment later.
    usleep(5000)
  }

  /// Reads what has arrived, as long as more arrives.
  func receive() -> Int {
    var bytes = [UInt8](repeating: 0, count: 4096)
    return unsafe bytes.withUnsafeMutableBytes {
      unsafe recv(descriptor, $0.baseAddress, $0.count, 0)
    }
  }
}

/// The bytes of ZMTP 3.0 (rfc.zeromq.org/spec/23) that open a connection, and its frames.
enum ZMTP {
  //  FF 8×00 7F | version 3 0 | mechanism, 20 bytes | as-server | 31×00
  static let greeting: [UInt8] =
    [0xFF] + Array(repeating: 0, count: 8) + [0x7F, 3, 0] + Array("NULL".utf8)
    + Array(repeating: 0, count: 16 + 1 + 31)

  /// The READY command of a DEALER.
  static let ready: [UInt8] = {
    let body =
      [5] + Array("READY".utf8) + [11] + Array("Socket-Type".utf8) + [0, 0, 0, 6]
      + Array("DEALER".utf8)
    return [0x04, UInt8(body.count)] + body
  }()

  /// A frame of a message; `size` may lie about the body.
  static func frame(_ body: [UInt8], more: Bool = false, size: UInt64? = nil) -> [UInt8] {
    let size = size ?? UInt64(body.count)
    let bigEndian = (0..<8).map { UInt8(truncatingIfNeeded: size >> (56 - 8 * $0)) }
    return [more ? 0x03 : 0x02] + bigEndian + body
  }
}
