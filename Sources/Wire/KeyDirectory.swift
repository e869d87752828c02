// Where a machine keeps its keys:
//
//   DIR/         0700
//     secret     0600: this machine's secret key, one line of Z85; the public one follows from it
//     allowed    0600: the public keys that are let in (KeyList.swift)

internal import Glibc

/// A directory of keys.
package struct KeyDirectory: Sendable, Hashable {
  package let path: String

  package init(_ path: String) { self.path = path }

  package var secretPath: String { path + "/secret" }
  package var allowedPath: String { path + "/allowed" }

  /// `$XDG_CONFIG_HOME/trestle/keys`, or `~/.config/trestle/keys`.
  ///
  /// - Throws: `WireError` with code `key` if the environment has neither variable.
  package static func standard() throws(WireError) -> KeyDirectory {
    if let config = variable("XDG_CONFIG_HOME") { return KeyDirectory("\(config)/trestle/keys") }
    guard let home = variable("HOME") else {
      throw WireError(.key, "neither XDG_CONFIG_HOME nor HOME is set; name a directory with --keys")
    }
    return KeyDirectory("\(home)/.config/trestle/keys")
  }

  /// Returns this machine's keys; nil if none have been made.
  ///
  /// - Throws: `WireError` with code `key` if they cannot be read, or others could read them.
  package func keyPair() throws(WireError) -> KeyPair? {
    guard let file = try read(secretPath) else { return nil }
    guard file.mode & 0o077 == 0 else {
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
    let keys = try KeyPair.make()
    let draft = try writeDraft(keys.secretKey.z85 + "\n", beside: secretPath)
    defer { unsafe unlink(draft) }
    // link(2) does not replace: of two processes that make keys at once, one wins for both.
    if unsafe link(draft, secretPath) == 0 { return (keys, true) }
    guard errno == EEXIST, let others = try keyPair() else {
      throw WireError(.key, "cannot make \(secretPath): \(Self.reason())")
    }
    return (others, false)
  }

  /// Returns the public keys that are let in; none if there is no such file.
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

  /// Replaces the file of keys that are let in, at once.
  package func write(_ list: KeyList) throws(WireError) {
    guard list.text.utf8.count <= Limits.keyFileBytes else {
      throw WireError(.key, "\(allowedPath) would have more than \(Limits.keyFileBytes) bytes")
    }
    try prepare()
    let draft = try writeDraft(list.text, beside: allowedPath)
    guard unsafe rename(draft, allowedPath) == 0 else {
      defer { unsafe unlink(draft) }
      throw WireError(.key, "cannot write \(allowedPath): \(Self.reason())")
    }
  }
}

// MARK: Files

extension KeyDirectory {
  private static func variable(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    let text = unsafe String(cString: value)
    return text.isEmpty ? nil : text
  }

  private static func reason() -> String { unsafe String(cString: strerror(errno)) }

  /// Makes the directory and those above it, and refuses one that others may write in.
  private func prepare() throws(WireError) {
    for end in path.indices where path[end] == "/" && end > path.startIndex {
      unsafe mkdir(String(path[..<end]), 0o700)
    }
    guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else {
      throw WireError(.key, "cannot make \(path): \(Self.reason())")
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

  /// Reads a small file of this user's or root's; nil if it is not there.
  private func read(_ path: String) throws(WireError) -> (bytes: [UInt8], mode: mode_t)? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      if errno == ENOENT { return nil }
      throw WireError(.key, "cannot read \(path): \(Self.reason())")
    }
    defer { close(descriptor) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw WireError(.key, "\(path) is not a file")
    }
    guard status.st_uid == geteuid() || status.st_uid == 0 else {
      throw WireError(.key, "\(path) belongs to user \(status.st_uid)")
    }
    // One byte more than is allowed, to notice that there are more.
    var bytes = [UInt8](repeating: 0, count: Limits.keyFileBytes + 1)
    var count = 0
    while count < bytes.count {
      let got = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe pread(
          descriptor,
          buffer.baseAddress?.advanced(by: count),
          buffer.count - count,
          off_t(count)
        )
      }
      guard got >= 0 else { throw WireError(.key, "cannot read \(path): \(Self.reason())") }
      if got == 0 { break }
      count += got
    }
    guard count <= Limits.keyFileBytes else {
      throw WireError(.key, "\(path) has more than \(Limits.keyFileBytes) bytes")
    }
    return (Array(bytes.prefix(count)), status.st_mode)
  }

  /// Writes a file that only this user may read; returns its path.
  private func writeDraft(_ text: String, beside path: String) throws(WireError) -> String {
    let draft = "\(path).new-\(getpid())"
    unsafe unlink(draft)
    let descriptor = unsafe open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw WireError(.key, "cannot write \(draft): \(Self.reason())")
    }
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    let count = unsafe bytes.withUnsafeBytes {
      unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
    }
    guard count == bytes.count, fsync(descriptor) == 0 else {
      let error = WireError(.key, "cannot write \(draft): \(Self.reason())")
      unsafe unlink(draft)
      throw error
    }
    return draft
  }
}
