// What a key may do at a coordinator. The list of allowed keys gives each key its roles
// (KeyList.swift); the coordinator compares them with the role that each message needs.

/// Something that a key may be allowed to do.
package enum Role: String, Sendable, Hashable, CaseIterable {
  /// Send prompts and evaluations.
  case ask
  /// Join as a worker, and pull weights.
  case work
  /// Move layers, let workers go, and have devices tested.
  case operate

  /// The roles of a key for which the list names none.
  package static let all = Set(allCases)

  /// Reads roles as `ask,work`.
  ///
  /// - Throws: `WireError` with code `key` that names the word that is no role.
  package static func parse(_ text: String) throws(WireError) -> Set<Role> {
    var roles: Set<Role> = []
    for word in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let role = Role(rawValue: String(word)) else {
        let known = allCases.map(\.rawValue).joined(separator: ",")
        throw WireError(.key, "\"\(word.prefix(80))\" is not a role; use some of \(known)")
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
  /// The role that a peer needs to send this message to a coordinator.
  ///
  /// It is nil for messages that every allowed key may send, and for those that a coordinator never
  /// receives in order.
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
