// Which sessions may reuse the cached keys and values of another session's prompt.

internal import Wire

/// Between which clients the prefixes of prompts are shared.
///
/// A shared prefix is not computed again, so the first token comes sooner. A client that measures
/// this time learns whether somebody has sent a prompt that begins like its own.
package enum PrefixSharing: String, Sendable, Hashable, CaseIterable {
  /// Between all clients.
  case all
  /// Between the requests of one key; clients without keys count as one.
  case key
  /// Not at all: each prompt is computed in full.
  case none

  /// Returns the group of a client: prefixes are shared within equal groups.
  func group(of peer: PeerID) -> PublicKey? { self == .key ? peer.key : nil }
}
