// Whether a process listens at an ipc socket, and whose it is. The socket's file does not tell: a
// killed process leaves its file behind, and another user may have made it.

internal import CLinux
internal import Glibc
internal import Platform

extension Endpoint {
  /// Who listens at an ipc socket.
  struct Listener {
    var user: uid_t
    var process: pid_t
  }

  /// Whether a process listens there now.
  ///
  /// For a tcp endpoint it returns true, since only a connection to the other machine would tell.
  ///
  /// - Throws: `WireError` with code `endpoint` if the endpoint is another user's, or could become
  ///   so: its directory or its socket belongs to another user, others may write in the directory,
  ///   or a process of another user listens. Root is trusted everywhere.
  package func isListening() throws(WireError) -> Bool {
    guard let path = socketPath else { return true }
    guard let directory = try trustedDirectory() else { return false }
    if let status = directory.status(of: socketName) { try refuseForeign(status.st_uid) }
    let (error, listener) = Self.probe(path)
    switch error {
    case 0:
      if let listener { try refuseForeign(listener.user, listener.process) }
      return true
    case EACCES:
      throw WireError(.endpoint, "cannot connect to \(self): permission denied; whose is it?")
    case let code where Scarcity.isMeant(by: code):
      throw WireError(.scarce, "cannot connect to \(self): \(ZeroMQ.reason(code))")
    default: return false
    }
  }

  /// Opens the directory of an ipc endpoint; nil if it does not exist, or the endpoint is tcp.
  ///
  /// - Throws: `WireError` with code `endpoint` if others could put a socket of their own there.
  func trustedDirectory() throws(WireError) -> TrustedDirectory? {
    guard let path = socketDirectory else { return nil }
    return try TrustedDirectory.open(path, for: .endpoint)
  }

  /// The directory of an ipc socket; nil for tcp.
  var socketDirectory: String? {
    guard let path = socketPath, let slash = path.lastIndex(of: "/") else { return nil }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// The name of an ipc socket in its directory.
  var socketName: String {
    let path = socketPath ?? ""
    return String(path[(path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)...])
  }

  /// Refuses an ipc endpoint whose socket was made by another user, or at which another user's
  /// process listens.
  func refuseForeign(_ user: uid_t, _ process: pid_t? = nil) throws(WireError) {
    guard !TrustedDirectory.isTrusted(user) else { return }
    let who = process.map { "user \(user) (process \($0))" } ?? "user \(user)"
    throw WireError(
      .endpoint,
      "\(self) is served by \(who), who would read what is said there; choose an --endpoint of your "
        + "own, or run this as that user"
    )
  }

  /// Connects to a path without blocking.
  ///
  /// The kernel at once refuses a connection to a socket that a dead process left.
  ///
  /// - Returns: 0 if a process listens, else the error number; and the listener, if the kernel
  ///   tells it.
  static func probe(_ path: String) -> (error: CInt, listener: Listener?) {
    let type = CInt(SOCK_STREAM.rawValue) | O_NONBLOCK | O_CLOEXEC  // SOCK_ flags have O_'s values
    let descriptor = Glibc.socket(AF_UNIX, type, 0)
    guard descriptor >= 0 else { return (errno, nil) }
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
    // EAGAIN: a process listens, and its queue of connections is full.
    guard status == 0 || errno == EAGAIN else { return (errno, nil) }
    var listener = Listener(user: 0, process: 0)
    let isKnown = unsafe clinux_listener(descriptor, &listener.user, &listener.process) == 0
    return (0, status == 0 && isKnown ? listener : nil)
  }
}
