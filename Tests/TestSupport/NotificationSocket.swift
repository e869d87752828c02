// What a service manager listens at: a socket for the datagrams of sd_notify(3).

import Glibc

/// A socket of datagrams, which are kept until somebody asks for them.
package final class NotificationSocket {
  /// What `NOTIFY_SOCKET` is to be set to.
  package let name: String
  private let descriptor: CInt

  /// Binds a socket; nil if that is not possible.
  ///
  /// - Parameter name: A path, or `@` and an abstract name.
  package init?(_ name: String) {
    self.name = name
    let type = CInt(SOCK_DGRAM.rawValue) | O_NONBLOCK | O_CLOEXEC  // SOCK_ flags have O_'s values
    descriptor = socket(AF_UNIX, type, 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let isAbstract = name.hasPrefix("@")
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { field in
      unsafe field.copyBytes(from: name.utf8.prefix(field.count - 1))
      if isAbstract { unsafe field[0] = 0 }
    }
    let length = MemoryLayout<sa_family_t>.size + name.utf8.count + (isAbstract ? 0 : 1)
    let status = unsafe withUnsafePointer(to: address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(descriptor, $0, socklen_t(length))
      }
    }
    if status != 0 { return nil }
  }

  deinit { close(descriptor) }

  /// Returns the datagrams that have come since the last call.
  package func takeAll() -> [String] {
    var texts: [String] = []
    var bytes = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = unsafe recv(descriptor, &bytes, bytes.count, 0)
      guard count >= 0 else { return texts }
      texts.append(String(decoding: bytes.prefix(count), as: UTF8.self))
    }
  }
}
