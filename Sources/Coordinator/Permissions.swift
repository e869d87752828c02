// The roles of keys by the list of keys, and the keys whose messages were refused.

internal import Wire

/// The permissions of peers.
///
/// Without keys (ipc, or tcp with `--insecure`), every peer may do
/// everything.
struct Permissions: Sendable {
  /// Nil where there are no keys.
  private var access: Access?
  /// Keys whose messages were refused since the list last changed.
  private var refused: Set<PublicKey?> = []

  /// Takes the list of keys as it is now.
  mutating func change(to access: Access) {
    self.access = access
    refused = []
  }

  /// Returns why a peer lacks a role; nil if it has it.
  func objection(to role: Role?, by peer: PeerID) -> String? {
    guard let access else { return nil }
    guard let key = peer.key else { return "no key was shown" }
    guard let holder = access[key] else {
      return "the key \(key) is not allowed here any more; on the coordinator's machine: "
        + "trestle keys allow '\(key)'"
    }
    guard let role, !holder.roles.contains(role) else { return nil }
    let wider = Role.text(holder.roles.union([role]))
    return "the key of \(holder.name) may not \(role.rawValue) here, only "
      + "\(Role.text(holder.roles)); on the coordinator's machine: "
      + "trestle keys allow '\(key)' --may \(wider)"
  }

  /// Notes that a peer's message was refused; returns whether it is the first of its key on this list.
  mutating func countRefusal(of peer: PeerID) -> Bool { refused.insert(peer.key).inserted }
}
