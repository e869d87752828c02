// Who serves an endpoint: one process at a time, shown by a lock beside the ipc socket. The lock goes
// with the process, however it ends, so what a killed process left is recognised and removed.
//
//   DIR/            made 0700 if absent
//     front         the public socket
//     front.lock    held (flock) while the endpoint is served; holds the process's pid as text
//     front.workers/  0700: the workers' data sockets

internal import CLinux
internal import Glibc

/// The exclusive right to serve an endpoint, until `release()` or the end of the process.
package final class EndpointClaim {
  package let endpoint: Endpoint
  private var lock: CInt = -1

  /// Claims an endpoint and removes what an earlier process left behind.
  ///
  /// For tcp endpoints there is nothing to claim: the bind itself refuses a second server.
  ///
  /// - Throws: `WireError` with code `addressInUse` naming the process that serves it, or `endpoint`
  ///   if its directory cannot be used.
  package init(_ endpoint: Endpoint) throws(WireError) {
    self.endpoint = endpoint
    guard let path = endpoint.socketPath else { return }
    try Self.prepareDirectory(of: path)
    lock = try Self.takeLock(path)
    Self.removeSockets(path)
    let pid = "\(getpid())\n"
    _ = unsafe pid.withCString { text in
      ftruncate(lock, 0) == 0 ? unsafe write(lock, text, strlen(text)) : -1
    }
    let directory = Self.workersDirectory(path)
    guard unsafe mkdir(directory, 0o700) == 0 else {
      throw WireError(.endpoint, "cannot make \(directory): \(Self.reason())")
    }
  }

  /// The directory for the workers' own sockets; nil for tcp endpoints.
  package static func workersDirectory(of endpoint: Endpoint) -> String? {
    endpoint.socketPath.map(workersDirectory)
  }

  /// Removes the sockets and the lock, and lets others serve the endpoint.
  package func release() {
    guard lock >= 0, let path = endpoint.socketPath else { return }
    Self.removeSockets(path)
    unsafe unlink(Self.lockPath(path))
    close(lock)
    lock = -1
  }

  deinit { release() }

  /// Removes what is left of an endpoint whose server is dead; does nothing while one lives.
  package static func removeIfAbandoned(_ endpoint: Endpoint) {
    guard let path = endpoint.socketPath, unsafe access(lockPath(path), F_OK) == 0 else { return }
    let descriptor = unsafe clinux_open_lock(lockPath(path))
    guard descriptor >= 0 else { return }
    if clinux_try_lock(descriptor) == 0 {
      removeSockets(path)
      unsafe unlink(lockPath(path))
    }
    close(descriptor)
  }
}

extension EndpointClaim {
  private static func lockPath(_ path: String) -> String { path + ".lock" }

  private static func workersDirectory(_ path: String) -> String { path + ".workers" }

  private static func reason() -> String { unsafe String(cString: strerror(errno)) }

  /// Makes the socket's directory if it is absent.
  ///
  /// An existing one must be ours or root's: who owns it can put a socket of their own in our place.
  private static func prepareDirectory(of path: String) throws(WireError) {
    guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return }
    let directory = String(path[..<slash])
    if unsafe mkdir(directory, 0o700) == 0 { return }
    guard errno == EEXIST else {
      throw WireError(.endpoint, "cannot make \(directory): \(reason())")
    }
    var status = stat()
    guard unsafe stat(directory, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw WireError(.endpoint, "\(directory) is not a directory")
    }
    guard status.st_uid == geteuid() || status.st_uid == 0 else {
      throw WireError(
        .endpoint,
        "\(directory) belongs to user \(status.st_uid); choose an --endpoint in a directory of yours"
      )
    }
  }

  /// Opens and locks the lock file.
  ///
  /// A process that has just let go may have removed the file we
  /// opened: then the name is another file's, and we try again.
  private static func takeLock(_ path: String) throws(WireError) -> CInt {
    for _ in 0..<16 {
      let descriptor = unsafe clinux_open_lock(lockPath(path))
      guard descriptor >= 0 else {
        throw WireError(.endpoint, "cannot open \(lockPath(path)): \(reason())")
      }
      guard lockSoon(descriptor) else {
        let pid = readPid(descriptor)
        close(descriptor)
        throw WireError(
          .addressInUse,
          "ipc://\(path) is served by process \(pid) already; stop it or choose another --endpoint"
        )
      }
      var opened = stat()
      var named = stat()
      if unsafe fstat(descriptor, &opened) == 0, unsafe stat(lockPath(path), &named) == 0,
        opened.st_ino == named.st_ino
      {
        return descriptor
      }
      close(descriptor)
    }
    throw WireError(.endpoint, "\(lockPath(path)) keeps changing hands")
  }

  /// Takes the lock, with a little patience: a worker that outlives its coordinator holds it for an
  /// instant while it cleans up.
  private static func lockSoon(_ descriptor: CInt) -> Bool {
    for _ in 0..<10 {
      if clinux_try_lock(descriptor) == 0 { return true }
      usleep(10_000)
    }
    return false
  }

  private static func readPid(_ descriptor: CInt) -> String {
    var bytes = [UInt8](repeating: 0, count: 16)
    let count = unsafe pread(descriptor, &bytes, bytes.count, 0)
    let digits = bytes.prefix(max(0, count)).prefix { (48...57).contains($0) }
    return digits.isEmpty ? "(unknown)" : String(decoding: digits, as: UTF8.self)
  }

  /// Removes a socket; whatever else has its name is not ours to remove.
  private static func removeSocket(_ path: String) {
    var status = stat()
    guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return }
    unsafe unlink(path)
  }

  private static func removeSockets(_ path: String) {
    removeSocket(path)
    let directory = workersDirectory(path)
    guard let entries = unsafe opendir(directory) else { return }
    while let entry = unsafe readdir(entries) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { field in
        unsafe String(cString: UnsafeRawPointer(field).assumingMemoryBound(to: CChar.self))
      }
      if name != ".", name != ".." { removeSocket("\(directory)/\(name)") }
    }
    unsafe closedir(entries)
    unsafe rmdir(directory)
  }
}
