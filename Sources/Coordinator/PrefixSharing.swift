// Who may take over the keys and values of whose prompts.

internal import Wire

/// Between which clients the prefixes of prompts are shared.
///
/// A shared prefix is not computed again, so its first token comes sooner: whoever measures the time
/// learns whether somebody has sent a prompt that begins like his.
package enum PrefixSharing: String, Sendable, Hashable, CaseIterable {
  /// Between all.
  case all
  /// Between the requests of one key; clients without keys count as one.
  case key
  /// Not at all: each prompt is computed whole.
  case none

  /// Whose prefixes a client's requests may take over; compared for being equal.
  func group(of peer: PeerID) -> PublicKey? { self == .key ? peer.key : nil }
}
