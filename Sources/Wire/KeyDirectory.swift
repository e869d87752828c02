// Where a machine keeps its keys:
//
//   DIR/         0700
//     secret     0600: this machine's secret key, one line of Z85; the public one follows from it
//     allowed    0600: the public keys that are let in (KeyList.swift)
//
// Whoever changes a file holds a lock (flock) on the directory from reading the file to replacing
// it, and writes a draft beside it first. A draft that a killed process left is removed by the next
// change.

internal import CLinux
internal import Glibc
internal import Platform

/// A directory of keys.
package struct KeyDirectory: Sendable, Hashable {
  package let path: String

  package init(_ path: String) { self.path = path }

  package var secretPath: String { path + "/secret" }
  package var allowedPath: String { path + "/allowed" }

  /// Returns `$XDG_CONFIG_HOME/trestle/keys`, or `~/.config/trestle/keys`.
  ///
  /// A relative `HOME` is ignored: it would put keys into whatever directory a command runs in.
  ///
  /// - Throws: `WireError` with code `key` if the environment has neither variable.
  package static func standard() throws(WireError) -> KeyDirectory {
    if let config = environmentPath("XDG_CONFIG_HOME") {
      return KeyDirectory("\(config)/trestle/keys")
    }
    guard let home = environmentPath("HOME") else {
      throw WireError(
        .key,
        "neither XDG_CONFIG_HOME nor HOME holds an absolute path; name a directory with --keys"
      )
    }
    return KeyDirectory("\(home)/.config/trestle/keys")
  }

  /// Returns this machine's keys; nil if none have been made.
  ///
  /// - Throws: `WireError` with code `key` if they cannot be read, or if other users could read
  ///   them.
  package func keyPair() throws(WireError) -> KeyPair? {
    guard let file = try read(secretPath) else { return nil }
    // systemd lets a service's user read a credential, a file of root, by an access list, whose rights the mode shows as
    // those of the group (root's, which has no other members).
    guard file.mode & (file.isCredential ? 0o037 : 0o077) == 0 else {
      let mode = String(file.mode & 0o777, radix: 8)
      throw WireError(
        .key,
        "\(secretPath) has mode \(mode), so others may read the secret key: chmod 600 it, or remove it and make new keys"
      )
    }
    let text = String(decoding: file.bytes, as: UTF8.self)
    let words = text.split { $0 == "\n" || $0 == "\r" || $0 == "\r\n" || $0 == " " }
    guard words.count == 1, let secret = try? SecretKey(String(words[0])) else {
      throw WireError(
        .key,
        "\(secretPath) does not hold one key in Z85; remove it to make new keys"
      )
    }
    return try KeyPair(secretKey: secret)
  }

  /// Makes keys for this machine if there are none.
  ///
  /// - Returns: The keys, and whether they are new.
  /// - Throws: `WireError` with code `key` if they cannot be written.
  package func makeKeyPair() throws(WireError) -> (keys: KeyPair, isNew: Bool) {
    if let keys = try keyPair() { return (keys, false) }
    try prepare()
    let lock = try lock()
    defer { close(lock) }
    removeDrafts()
    let keys = try KeyPair.make()
    let draft = try writeDraft(keys.secretKey.z85 + "\n", beside: secretPath)
    defer { unsafe unlink(draft) }
    // link(2) does not replace an existing file. So if two processes make keys at once without a
    // lock (NFS does not share flock between machines), the first file wins for both.
    if unsafe link(draft, secretPath) == 0 { return (keys, true) }
    guard errno == EEXIST, let others = try keyPair() else {
      throw WireError(.key, "cannot make \(secretPath): \(systemMessage(errno))")
    }
    return (others, false)
  }

  /// Returns the public keys that are let in; an empty list if the file does not exist.
  ///
  /// - Throws: `WireError` with code `key` and the line at fault.
  package func allowed() throws(WireError) -> KeyList {
    guard let file = try read(allowedPath) else { return KeyList() }
    guard file.mode & 0o022 == 0 else {
      throw WireError(
        .key,
        "\(allowedPath) can be written by others, who could let anybody in: chmod 600 it"
      )
    }
    return try KeyList(parsing: file.bytes, path: allowedPath)
  }

  /// Changes the list of keys that are let in; concurrent changes are applied one after the other.
  ///
  /// - Parameter body: Changes the list; nothing is written if it throws or leaves the list as it is.
  /// - Returns: What the body returns.
  /// - Throws: `WireError` with code `key` if the list cannot be read or written; what `body` throws.
  package func change<Result>(_ body: (inout KeyList) throws -> Result) throws -> Result {
    try prepare()
    let lock = try lock()
    defer { close(lock) }
    removeDrafts()
    let before = try allowed()
    var list = before
    let result = try body(&list)
    if list != before { try replaceAllowed(by: list, in: lock) }
    return result
  }

  /// Replaces the file atomically and syncs it to the disk.
  private func replaceAllowed(by list: KeyList, in directory: CInt) throws(WireError) {
    guard list.text.utf8.count <= Limits.keyFileBytes else {
      throw WireError(.key, "\(allowedPath) would have more than \(Limits.keyFileBytes) bytes")
    }
    let draft = try writeDraft(list.text, beside: allowedPath)
    guard unsafe rename(draft, allowedPath) == 0 else {
      defer { unsafe unlink(draft) }
      throw WireError(.key, "cannot write \(allowedPath): \(systemMessage(errno))")
    }
    // Without this, a power loss could restore a key that was removed. Some file systems refuse
    // fsync for directories; they keep the order of writes without it.
    _ = fsync(directory)
  }
}

// MARK: Files

extension KeyDirectory {
  /// Makes the directory and its missing parents, and refuses one that others may write in.
  private func prepare() throws(WireError) {
    for end in path.indices where path[end] == "/" && end > path.startIndex {
      unsafe mkdir(String(path[..<end]), 0o700)
    }
    guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else {
      throw WireError(.key, "cannot make \(path): \(systemMessage(errno))")
    }
    var status = stat()
    guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw WireError(.key, "\(path) is not a directory")
    }
    guard status.st_uid == geteuid() || status.st_uid == 0, status.st_mode & 0o022 == 0 else {
      throw WireError(
        .key,
        "\(path) can be written by others; chmod 700 it, or name another with --keys"
      )
    }
  }

  /// How long to wait while another process changes a file, which takes milliseconds.
  private static let lockPatience = Duration.seconds(10)

  /// Opens and locks the directory; closing the descriptor releases the lock.
  private func lock() throws(WireError) -> CInt {
    let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw WireError(.key, "cannot open \(path): \(systemMessage(errno))")
    }
    let deadline = ContinuousClock.now + Self.lockPatience
    while clinux_try_lock(descriptor) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR, ContinuousClock.now < deadline else {
        let reason = systemMessage(errno)
        close(descriptor)
        throw WireError(.key, "cannot lock \(path) to change it: \(reason)")
      }
      usleep(2000)
    }
    return descriptor
  }

  /// Removes drafts of killed processes; while this process holds the lock, nobody else writes one.
  private func removeDrafts() {
    guard let entries = unsafe opendir(path) else { return }
    defer { unsafe closedir(entries) }
    while let entry = unsafe readdir(entries) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { field in
        unsafe String(cString: UnsafeRawPointer(field).assumingMemoryBound(to: CChar.self))
      }
      let isDraft = ["secret", "allowed"].contains { name.hasPrefix($0 + Self.draftSuffix) }
      if isDraft { unsafe unlink("\(path)/\(name)") }
    }
  }

  private static let draftSuffix = ".new-"

  /// Reads a small file that belongs to this user or to root; nil if it does not exist.
  private func read(
    _ path: String
  ) throws(WireError) -> (bytes: [UInt8], mode: mode_t, isCredential: Bool)? {
    // A user who can write in the directory could replace this list by an earlier one.
    guard try TrustedDirectory.open(self.path, for: .keys) != nil else { return nil }
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      if errno == ENOENT { return nil }
      throw WireError(.key, "cannot read \(path): \(systemMessage(errno))")
    }
    defer { close(descriptor) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw WireError(.key, "\(path) is not a file")
    }
    guard status.st_uid == geteuid() || status.st_uid == 0 else {
      throw WireError(.key, "\(path) belongs to user \(status.st_uid)")
    }
    // One byte more than the limit, to detect a file that exceeds it.
    let bytes: [UInt8]
    do throws(SystemError) {
      bytes = try PositionedIO.read(descriptor, count: Limits.keyFileBytes + 1, at: 0)
    } catch {
      throw WireError(.key, "cannot read \(path): \(error)")
    }
    guard bytes.count <= Limits.keyFileBytes else {
      throw WireError(.key, "\(path) has more than \(Limits.keyFileBytes) bytes")
    }
    let isCredential = status.st_uid == 0 && status.st_gid == 0 && geteuid() != 0
    return (bytes, status.st_mode, isCredential)
  }

  /// Writes a file that only this user may read; returns its path.
  private func writeDraft(_ text: String, beside path: String) throws(WireError) -> String {
    let draft = "\(path)\(Self.draftSuffix)\(getpid())"
    unsafe unlink(draft)
    let descriptor = unsafe open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw WireError(.key, "cannot write \(draft): \(systemMessage(errno))")
    }
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    let count = unsafe bytes.withUnsafeBytes {
      unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
    }
    guard count == bytes.count, fsync(descriptor) == 0 else {
      let error = WireError(.key, "cannot write \(draft): \(systemMessage(errno))")
      unsafe unlink(draft)
      throw error
    }
    return draft
  }
}
