// Why a model could not be fetched, or is not in the cache.

internal import Glibc
internal import Platform

/// An error of a hub, of the way there, or of the cache.
package struct HubError: Error, Sendable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// What was asked for is no name of a repository, revision or file.
    case name
    /// The hub has no such thing, or does not show it.
    case missing
    /// The name means several files.
    case ambiguous
    /// The hub does not give it to whoever asks.
    case forbidden
    /// The connection failed, or the hub was busy: another attempt may succeed.
    case network
    /// The hub's answer is not what its interface says.
    case answer
    /// The bytes are not those that the hub has named.
    case digest
    /// The disk has no room.
    case space
    /// A file cannot be read or written.
    case file
    /// The user wanted to end.
    case interrupted
  }

  package var code: Code
  package var message: String
  /// The repository, file or address.
  package var context: String
  /// How long the hub wants to be left alone.
  package var retryAfter: Duration?

  package init(
    _ code: Code,
    _ message: String,
    context: String,
    retryAfter: Duration? = nil
  ) {
    self.code = code
    self.message = message
    self.context = context
    self.retryAfter = retryAfter
  }

  /// Makes the error of a file, or of the disk's room, from what a system call has left.
  ///
  /// - Parameters:
  ///   - what: What cannot be done, as in `write it`.
  ///   - path: The file.
  ///   - number: The value of `errno`.
  init(cannot what: String, _ path: String, _ number: CInt = errno) {
    self.init(
      number == ENOSPC || number == EDQUOT ? .space : .file,
      "cannot \(what): \(systemMessage(number))",
      context: path
    )
  }

  package var description: String { "\(context): \(message)" }
}
