// Whether anybody is behind an ipc socket: its file alone does not say, a killed process leaves it.

internal import Glibc

extension Endpoint {
  /// Returns whether a process listens there now.
  ///
  /// Of a tcp endpoint only a connection to another machine would tell: true.
  ///
  /// - Throws: `WireError` with code `endpoint` if this user may not connect to the socket.
  package func isListening() throws(WireError) -> Bool {
    guard let path = socketPath else { return true }
    switch Self.connectionError(path) {
    case 0: return true
    case EACCES:
      throw WireError(.endpoint, "cannot connect to \(self): permission denied; whose is it?")
    default: return false
    }
  }

  /// Connects to a path, without waiting; returns 0 if somebody listens, else the error number.
  ///
  /// Connecting to a socket that a dead process left is refused at once.
  static func connectionError(_ path: String) -> CInt {
    let type = CInt(SOCK_STREAM.rawValue) | O_NONBLOCK | O_CLOEXEC  // SOCK_ flags have O_'s values
    let descriptor = Glibc.socket(AF_UNIX, type, 0)
    guard descriptor >= 0 else { return errno }
    defer { Glibc.close(descriptor) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { field in
      unsafe field.copyBytes(from: path.utf8.prefix(field.count - 1))
    }
    let status = unsafe withUnsafePointer(to: address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
        unsafe Glibc.connect(descriptor, generic, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    // EAGAIN: somebody listens, and has more callers than it takes.
    return status == 0 || errno == EAGAIN ? 0 : errno
  }
}
