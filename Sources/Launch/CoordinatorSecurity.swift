// How a coordinator is protected, and what the workers that it starts are told of it.

package import Wire

/// A coordinator's protection, with the options that let its own workers through it.
package struct CoordinatorSecurity: Sendable {
  package let security: Security
  private let options: [String]

  /// For ipc endpoints, which need nothing.
  package static let localOnly = CoordinatorSecurity(.localOnly, [])

  /// - Parameters:
  ///   - security: The protection.
  ///   - options: Of `trestle work`, for workers on this machine.
  package init(_ security: Security, _ options: [String]) {
    self.security = security
    self.options = options
  }

  /// Returns the options of `work` for a worker on this machine.
  ///
  /// - Throws: `LaunchError` if workers could not know the port.
  func workerOptions(_ endpoint: Endpoint) throws(LaunchError) -> [String] {
    let connection = ["--coordinator", endpoint.fromHere.description] + options
    guard case .tcp(_, let port) = endpoint.kind else { return connection }
    guard port != nil else {
      throw LaunchError(
        .settings,
        "--endpoint \(endpoint): name a port, for the workers to find it"
      )
    }
    return connection + ["--listen", "tcp://127.0.0.1:*"]
  }
}
