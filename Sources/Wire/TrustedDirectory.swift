// A directory in which other users can replace none of our files. Its files are reached through its
// descriptor, so nobody can swap the directory between the check and the use.

internal import CLinux
internal import Glibc
internal import Platform

/// A directory that belongs to this user or root, and that nobody else may write in.
///
/// In a directory where everybody may write but only owners may delete (`/tmp`, by its sticky bit),
/// others can take a name before us but never replace what we have made. Such a directory is
/// trusted, and whoever opens a file in it checks the file's owner.
///
/// The directories above it are not checked: a user who may rename in them can hide this directory,
/// but what that user puts in its place is refused because of its owner.
package final class TrustedDirectory {
  package let path: String
  let descriptor: CInt

  /// Opens a directory and checks its owner and mode.
  ///
  /// - Parameters:
  ///   - path: The directory's path. A symbolic link is followed if it belongs to this user or
  ///     root.
  ///   - purpose: What the directory is for; it decides the code and the advice of an error.
  /// - Returns: nil if there is no such directory.
  /// - Throws: `WireError` that names the directory, its owner, and what to do.
  package static func open(
    _ path: String,
    for purpose: Purpose
  ) throws(WireError) -> TrustedDirectory? {
    var descriptor = unsafe clinux_open_directory(path, false)
    if descriptor < 0, errno == ENOTDIR || errno == ELOOP, try isTrustedLink(path, purpose) {
      descriptor = unsafe clinux_open_directory(path, true)
    }
    guard descriptor >= 0 else {
      if errno == ENOENT { return nil }
      let what =
        errno == ENOTDIR ? "is not a directory" : "cannot be opened: \(systemMessage(errno))"
      throw WireError(purpose.code, "\(path) \(what)")
    }
    let directory = TrustedDirectory(path, descriptor)
    try directory.check(purpose)
    return directory
  }

  private init(_ path: String, _ descriptor: CInt) {
    self.path = path
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// Whether a file of that user is trusted.
  static func isTrusted(_ user: uid_t) -> Bool { user == geteuid() || user == 0 }

  /// Whether the path is a symbolic link that may be followed; false if it is no link.
  private static func isTrustedLink(_ path: String, _ purpose: Purpose) throws(WireError) -> Bool {
    var status = stat()
    guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFLNK else {
      errno = ENOTDIR
      return false
    }
    guard isTrusted(status.st_uid) else {
      throw WireError(
        purpose.code,
        "\(path) is a symbolic link of user \(status.st_uid); \(purpose.advice)"
      )
    }
    return true
  }

  private func check(_ purpose: Purpose) throws(WireError) {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else {
      throw WireError(purpose.code, "\(path) cannot be looked at: \(systemMessage(errno))")
    }
    guard Self.isTrusted(status.st_uid) else {
      throw WireError(
        purpose.code,
        "\(path) belongs to user \(status.st_uid), who can put anything there; \(purpose.advice)"
      )
    }
    let isSticky = status.st_mode & 0o1000 != 0
    guard status.st_mode & 0o022 == 0 || isSticky else {
      throw WireError(
        purpose.code,
        "\(path) can be written by others (mode \(String(status.st_mode & 0o7777, radix: 8))), who "
          + "can put anything there; chmod go-w it, or \(purpose.advice)"
      )
    }
  }

  /// Refuses a path that is another user's symbolic link, before a file is written there.
  ///
  /// - Throws: `WireError` with code `system` that names the owner.
  package static func refuseForeignLink(_ path: String) throws(WireError) {
    var status = stat()
    guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFLNK,
      !isTrusted(status.st_uid)
    else { return }
    throw WireError(
      .system,
      "\(path) is a symbolic link of user \(status.st_uid); name the file itself, or another"
    )
  }
}

extension TrustedDirectory {
  /// What a directory is for.
  package enum Purpose: Sendable {
    /// Sockets of an ipc endpoint.
    case endpoint
    case keys
    /// Files that can be made or fetched again.
    case cache

    var code: WireError.Code {
      switch self {
      case .endpoint: .endpoint
      case .keys: .key
      case .cache: .system
      }
    }

    var advice: String {
      switch self {
      case .endpoint: "choose an --endpoint in a directory of yours"
      case .keys: "name another with --keys"
      case .cache: "choose a directory of yours, with --cache or XDG_CACHE_HOME"
      }
    }
  }

  /// Returns the status of a name in the directory, of a link itself; nil if the name does not
  /// exist.
  func status(of name: String) -> stat? {
    var status = stat()
    let isThere = unsafe fstatat(descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0
    return isThere ? status : nil
  }

  /// Removes a socket; does nothing if the name is no socket.
  func removeSocket(_ name: String) {
    guard let status = status(of: name), status.st_mode & S_IFMT == S_IFSOCK else { return }
    unsafe unlinkat(descriptor, name, 0)
  }

  /// Removes a directory of sockets with all sockets in it.
  ///
  /// A symbolic link of that name, and another user's directory, are left alone.
  func removeSocketDirectory(_ name: String) {
    let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
    let inner = unsafe openat(descriptor, name, flags)
    guard inner >= 0 else { return }
    var status = stat()
    guard unsafe fstat(inner, &status) == 0, Self.isTrusted(status.st_uid),
      let entries = unsafe fdopendir(inner)
    else {
      close(inner)
      return
    }
    // Closes `inner`, too.
    defer { unsafe closedir(entries) }
    while let entry = unsafe readdir(entries) {
      let socket = unsafe withUnsafePointer(to: &entry.pointee.d_name) { field in
        unsafe String(cString: UnsafeRawPointer(field).assumingMemoryBound(to: CChar.self))
      }
      let isSocket =
        unsafe fstatat(inner, socket, &status, AT_SYMLINK_NOFOLLOW) == 0
        && status.st_mode & S_IFMT == S_IFSOCK
      if isSocket { unsafe unlinkat(inner, socket, 0) }
    }
    unsafe unlinkat(descriptor, name, AT_REMOVEDIR)
  }
}
