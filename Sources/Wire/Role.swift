// What a key may do at a coordinator. The list of allowed keys names roles (KeyList.swift), the
// coordinator asks each message for the one it needs.

/// Something that a key may be allowed to do.
package enum Role: String, Sendable, Hashable, CaseIterable {
  /// Send prompts and evaluations.
  case ask
  /// Join as a worker, and pull weights.
  case work
  /// Move layers, let workers go, and have devices tested.
  case operate

  /// What a key may do that no role is named for.
  package static let all = Set(allCases)

  /// Reads roles as `ask,work`.
  ///
  /// - Throws: `WireError` with code `key` that names the word that is no role.
  package static func parse(_ text: String) throws(WireError) -> Set<Role> {
    var roles: Set<Role> = []
    for word in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let role = Role(rawValue: String(word)) else {
        let known = allCases.map(\.rawValue).joined(separator: ",")
        throw WireError(.key, "\"\(word.prefix(80))\" is no role; write some of \(known)")
      }
      roles.insert(role)
    }
    return roles
  }

  /// Returns roles as `ask,work`, in the order of their cases.
  package static func text(_ roles: Set<Role>) -> String {
    allCases.filter(roles.contains).map(\.rawValue).joined(separator: ",")
  }
}

extension Message {
  /// What a peer must be allowed to do to say this to a coordinator; nil for what every allowed key may
  /// say, and what is out of place there.
  ///
  /// Every client asks for the pipeline's health, to learn whether the coordinator lives.
  package var role: Role? {
    switch self {
    case .generate, .evaluate, .cancel: .ask
    case .hello, .heartbeat, .prepared, .prepareFailed, .goodbye, .moved, .stepDone, .stepFailed,
      .describeModel, .pull, .pullReceipt:
      .work
    case .rebalance, .drain: .operate
    case .healthRequest(let request): request.runsSelfTest ? .operate : nil
    case .statusRequest, .receipt, .welcome, .refused, .assign, .shutdown, .step, .heartbeatAck,
      .accepted,
      .delta, .finished, .evaluated, .requestFailed, .statusReply, .healthReply, .move, .commit,
      .abandon, .kvRows, .rebalanced, .selfTest, .modelDescription, .modelPending, .chunk,
      .pullFailed:
      nil
    }
  }
}
