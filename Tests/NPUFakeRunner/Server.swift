// Serves the kernel on a Unix socket: a thread and a client of the kernel for each time that the node is opened.
//
// What is exchanged is described in Sources/CNPUPreload/include/CNPUPreload.h, the other side.

internal import Foundation
internal import Glibc
internal import NPUFake

/// A socket that programs reach the kernel by.
final class Server: Sendable {
  private let kernel: FakeKernel
  private let descriptor: CInt
  let path: String

  /// Listens.
  ///
  /// - Throws: `ServerError` that names the call that failed.
  init(_ kernel: FakeKernel, path: String) throws(ServerError) {
    self.kernel = kernel
    self.path = path
    descriptor = socket(AF_UNIX, CInt(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw ServerError("socket") }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8) + [0]
    let isBound = unsafe withUnsafeMutableBytes(of: &address) { room in
      let place = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
      guard place + bytes.count <= room.count else { return false }
      unsafe UnsafeMutableRawBufferPointer(rebasing: room[place...]).copyBytes(from: bytes)
      guard let base = room.baseAddress else { return false }
      let address = unsafe base.assumingMemoryBound(to: sockaddr.self)
      return unsafe bind(descriptor, address, socklen_t(room.count)) == 0
    }
    guard isBound else { throw ServerError("bind to \(path)") }
    guard listen(descriptor, 64) == 0 else { throw ServerError("listen") }
  }

  /// Takes connections from now on, on threads of their own, until the process ends.
  func start() {
    Thread.detachNewThread { [self] in
      while true {
        let connection = accept(descriptor, nil, nil)
        guard connection >= 0 else {
          // There is no descriptor left for the moment.
          usleep(1000)
          continue
        }
        // Only the command connects, so that it has been started by now.
        _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
        Thread.detachNewThread { [self] in
          serve(Connection(descriptor: connection))
          Glibc.close(connection)
        }
      }
    }
  }

  private func serve(_ connection: Connection) {
    let client: Int
    do throws(FakeErrno) {
      client = try kernel.open()
    } catch {
      connection.send(Message(.done, value: UInt32(error.number)))
      return
    }
    defer { kernel.close(client) }
    guard connection.greet(kernel.memory) else { return }
    while let (message, _) = connection.receive() {
      var error: CInt = 0
      switch message.kind {
      case .request:
        error = kernel.request(client, message.value, message.address, connection)
      case .mapped:
        kernel.mapped(
          client,
          offset: message.offset,
          count: Int(clamping: message.count),
          at: message.address
        )
      case .unmapped: kernel.unmapped(client, at: message.address)
      case .answer, .read, .write, .done: return
      }
      guard connection.send(Message(.done, value: UInt32(error))) else { return }
    }
  }
}

/// Which call of the system failed, and why.
struct ServerError: Error {
  var message: String

  init(_ call: String) { message = unsafe "\(call): \(String(cString: strerror(errno)))" }
}
