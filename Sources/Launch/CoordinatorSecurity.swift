// How a coordinator is protected, and the options with which the workers that it starts reach it.

package import Wire

/// A coordinator's protection, and the options with which its own workers pass it.
package struct CoordinatorSecurity: Sendable {
  package let security: Security
  private let options: [String]

  /// For ipc endpoints, which need no keys.
  package static let localOnly = CoordinatorSecurity(.localOnly, [])

  /// - Parameters:
  ///   - security: The protection.
  ///   - options: Options of `trestle work` for workers on this machine.
  package init(_ security: Security, _ options: [String]) {
    self.security = security
    self.options = options
  }

  /// Returns the options of `work` for a worker on this machine.
  ///
  /// - Throws: `LaunchError` if the endpoint has no fixed port, which workers need in order to
  ///   connect.
  func workerOptions(_ endpoint: Endpoint) throws(LaunchError) -> [String] {
    let connection = ["--coordinator", endpoint.fromHere.description] + options
    guard case .tcp(_, let port) = endpoint.kind else { return connection }
    guard port != nil else {
      throw LaunchError(
        .settings,
        "--endpoint \(endpoint): name a port, so that the workers can connect to it"
      )
    }
    return connection + ["--listen", "tcp://127.0.0.1:*"]
  }
}
