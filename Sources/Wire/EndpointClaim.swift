// A lock file that gives one process at a time the right to serve an endpoint. The lock ends with
// the process, however it ends, so what a killed process left is recognised and removed.
//
//   DIR/            made 0700 if absent
//     front         the public socket
//     front.lock    held (flock) while the endpoint is served; holds the process's pid as text
//     front.workers/  0700: the workers' data sockets
//
// All files are reached through the directory's descriptor, and none through a symbolic link: a
// user who may make files in the directory (/tmp) must not redirect us to files elsewhere.

internal import CLinux
internal import Glibc
internal import Platform

/// The exclusive right to serve an endpoint, until `release()` or the end of the process.
package final class EndpointClaim {
  package let endpoint: Endpoint
  /// Nil for tcp.
  private let place: Place?
  private var lock: CInt = -1

  /// Claims an endpoint and removes what an earlier process left behind.
  ///
  /// A tcp endpoint needs no claim, because the bind itself refuses a second server.
  ///
  /// - Throws: `WireError` with code `addressInUse` that names the serving process, or with code
  ///   `endpoint` if the directory cannot be used.
  package init(_ endpoint: Endpoint) throws(WireError) {
    self.endpoint = endpoint
    guard let path = endpoint.socketPath else {
      place = nil
      return
    }
    guard let place = try Place(endpoint, makes: true) else {
      throw WireError(.endpoint, "the directory of \(path) was removed while it was made")
    }
    self.place = place
    lock = try place.takeLock()
    do throws(WireError) {
      try place.refuseLiveServer()
      try place.makeWorkersDirectory()
    } catch {
      place.removeLock(lock)
      close(lock)
      lock = -1
      throw error
    }
    let pid = "\(getpid())\n"
    _ = unsafe pid.withCString { text in
      ftruncate(lock, 0) == 0 ? unsafe write(lock, text, strlen(text)) : -1
    }
  }

  /// The directory for the workers' own sockets; nil for tcp endpoints.
  package static func workersDirectory(of endpoint: Endpoint) -> String? {
    endpoint.socketPath.map { $0 + Place.workersSuffix }
  }

  /// Removes the sockets and the lock, so that others can serve the endpoint.
  ///
  /// If the lock file now belongs to another process, that process serves the endpoint, and its
  /// files are left alone.
  package func release() {
    guard lock >= 0, let place else { return }
    if place.isNamed(lock) || !place.hasLock { place.removeSockets() }
    place.removeLock(lock)
    close(lock)
    lock = -1
  }

  deinit { release() }

  /// Removes what a dead server left at an endpoint; does nothing while a server lives, or where
  /// the directory is not trusted.
  package static func removeIfAbandoned(_ endpoint: Endpoint) {
    guard let place = try? Place(endpoint, makes: false), place.hasLock,
      let lock = try? place.openLock()
    else { return }
    if clinux_try_lock(lock) == 0, place.isNamed(lock), !place.hasLiveServer {
      place.removeSockets()
      place.removeLock(lock)
    }
    close(lock)
  }
}

/// The files of an ipc endpoint.
private struct Place {
  static let workersSuffix = ".workers"

  private let endpoint: Endpoint
  private let directory: TrustedDirectory
  private let name: String
  private var lockName: String { name + ".lock" }
  private var workersName: String { name + Self.workersSuffix }
  private var lockPath: String { "\(directory.path)/\(lockName)" }

  /// - Returns: nil if the endpoint has no directory.
  init?(_ endpoint: Endpoint, makes: Bool) throws(WireError) {
    guard let path = endpoint.socketDirectory else { return nil }
    if makes, unsafe mkdir(path, 0o700) != 0, errno != EEXIST {
      throw WireError(.endpoint, "cannot make \(path): \(systemMessage(errno))")
    }
    guard let directory = try endpoint.trustedDirectory() else { return nil }
    self.endpoint = endpoint
    self.directory = directory
    name = endpoint.socketName
  }
}

// MARK: The lock

extension Place {
  var hasLock: Bool { directory.status(of: lockName) != nil }

  /// Opens the lock file, and creates it if it is missing.
  ///
  /// - Throws: `WireError` with code `endpoint` if it is not a regular file of this user or of
  ///   root.
  func openLock() throws(WireError) -> CInt {
    let descriptor = unsafe clinux_open_lock(directory.descriptor, lockName)
    guard descriptor >= 0 else {
      let reason =
        errno == ELOOP
        ? "it is a symbolic link; remove it or choose another --endpoint"
        : systemMessage(errno)
      throw WireError(.endpoint, "cannot open \(lockPath): \(reason)")
    }
    var status = stat()
    // A file with a second name could be one that lies elsewhere, which must not be emptied.
    guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
      status.st_nlink <= 1, TrustedDirectory.isTrusted(status.st_uid)
    else {
      close(descriptor)
      throw WireError(
        .endpoint,
        "\(lockPath) is not a file of yours with this one name (it is user \(status.st_uid)'s and has \(status.st_nlink)); "
          + "remove it or choose another --endpoint"
      )
    }
    return descriptor
  }

  /// Opens and locks the lock file.
  ///
  /// A process that has just released its lock may have removed the file we opened. Then the name
  /// stands for another file, and we try again.
  func takeLock() throws(WireError) -> CInt {
    for _ in 0..<16 {
      let descriptor = try openLock()
      guard try lockSoon(descriptor) else {
        let pid = readPid(descriptor)
        close(descriptor)
        throw served(by: pid)
      }
      if isNamed(descriptor) { return descriptor }
      close(descriptor)
    }
    throw WireError(.endpoint, "\(lockPath) keeps changing hands")
  }

  /// Whether the lock's name still refers to this open file.
  func isNamed(_ descriptor: CInt) -> Bool {
    var opened = stat()
    guard unsafe fstat(descriptor, &opened) == 0, let named = directory.status(of: lockName) else {
      return false
    }
    return opened.st_dev == named.st_dev && opened.st_ino == named.st_ino
  }

  /// Takes the lock, with a few retries: a worker that outlives its coordinator holds it for a
  /// moment while it cleans up.
  private func lockSoon(_ descriptor: CInt) throws(WireError) -> Bool {
    for _ in 0..<10 {
      if clinux_try_lock(descriptor) == 0 { return true }
      guard errno == EWOULDBLOCK || errno == EINTR else {
        let reason = systemMessage(errno)
        close(descriptor)
        throw WireError(
          .endpoint,
          "cannot lock \(lockPath): \(reason); choose an --endpoint in a directory of a local file system"
        )
      }
      usleep(10_000)
    }
    return false
  }

  private func readPid(_ descriptor: CInt) -> String {
    var bytes = [UInt8](repeating: 0, count: 16)
    let count = unsafe pread(descriptor, &bytes, bytes.count, 0)
    let digits = bytes.prefix(max(0, count)).prefix { (48...57).contains($0) }
    return digits.isEmpty ? "(unknown)" : String(decoding: digits, as: UTF8.self)
  }

  private func served(by pid: String) -> WireError {
    WireError(
      .addressInUse,
      "\(endpoint) is served by process \(pid) already; stop it or choose another --endpoint"
    )
  }
}

// MARK: The sockets

extension Place {
  /// Whether a process listens at the public socket.
  var hasLiveServer: Bool { Endpoint.probe("\(directory.path)/\(name)").error == 0 }

  /// Throws if the endpoint is served although its lock could be taken: a program that cleans old
  /// files from /tmp has removed the server's lock and left its socket.
  func refuseLiveServer() throws(WireError) {
    if let status = directory.status(of: name) { try endpoint.refuseForeign(status.st_uid) }
    let (error, listener) = Endpoint.probe("\(directory.path)/\(name)")
    guard error == 0 else { return }
    throw served(by: listener.map { "\($0.process)" } ?? "(unknown)")
  }

  /// Makes the directory for the workers' sockets, and replaces that of an earlier process.
  func makeWorkersDirectory() throws(WireError) {
    removeSockets()
    guard unsafe mkdirat(directory.descriptor, workersName, 0o700) == 0 else {
      let isLink = directory.status(of: workersName).map { $0.st_mode & S_IFMT == S_IFLNK } ?? false
      let reason = isLink ? "there is a symbolic link of that name" : systemMessage(errno)
      throw WireError(
        .endpoint,
        "cannot make \(directory.path)/\(workersName): \(reason); remove what is there, or choose another --endpoint"
      )
    }
  }

  func removeSockets() {
    directory.removeSocket(name)
    directory.removeSocketDirectory(workersName)
  }

  /// Removes the lock file if its name still refers to this open file.
  func removeLock(_ descriptor: CInt) {
    if isNamed(descriptor) { unsafe unlinkat(directory.descriptor, lockName, 0) }
  }
}
