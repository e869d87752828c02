// The seam for whatever decides which tokens an answer may consist of: a grammar, a schema, a list of choices.

package import Wire

/// What the answer of one session must conform to.
///
/// The session holds it as a value, asks before each token that is drawn, and tells it each token that it
/// got. What it allows must follow from these tokens alone: a session that is replayed on other workers
/// asks with the same mask again. It runs on the coordinator's thread, between two messages, so it must
/// take no longer than these do.
package protocol TokenConstraint: Sendable {
  /// The tokens that may come next; nil if all may.
  ///
  /// The answer ends where a token that ends the model's turn is drawn, so one must be among them where
  /// it may end. If none is allowed the request fails.
  var allowed: TokenMask? { get }

  /// Takes a token of the answer; never one that ends the turn.
  mutating func accept(_ token: Int32)
}
