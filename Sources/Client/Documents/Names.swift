// How documents and tables name states, ends and failures.

package import Wire

extension ServiceState {
  /// The word that documents and tables have for it.
  package var name: String {
    switch self {
    case .waiting: "waiting"
    case .loading: "loading"
    case .ready: "ready"
    case .degraded: "degraded"
    case .stopping: "stopping"
    }
  }
}

extension HealthState {
  /// The word that documents and tables have for it.
  package var name: String {
    switch self {
    case .ready: "ready"
    case .loading: "loading"
    case .degraded: "degraded"
    case .lost: "lost"
    case .replaced: "replaced"
    }
  }
}

extension FinishReason {
  /// The word that documents and tables have for it.
  package var name: String {
    switch self {
    case .stop: "stop"
    case .length: "length"
    case .cancelled: "cancelled"
    }
  }
}

extension RequestFailureCode {
  /// The word that documents and tables have for it.
  package var name: String {
    switch self {
    case .tooLong: "too_long"
    case .busy: "busy"
    case .invalid: "invalid"
    case .template: "template"
    case .lost: "lost"
    case .cancelled: "cancelled"
    case .shuttingDown: "shutting_down"
    case .internal: "internal"
    case .notAllowed: "not_allowed"
    case .constraint: "constraint"
    }
  }
}
