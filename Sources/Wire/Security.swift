// Which sockets are encrypted, and with which keys: the one place that decides it. ipc sockets are
// protected by their 0700 directory; tcp ones need keys, or the user's word that they need none.

/// An endpoint to connect to, and who must answer there.
package struct PeerAddress: Sendable, Hashable {
  package var endpoint: Endpoint
  /// Nil where no key is needed.
  package var key: PublicKey?

  package init(_ endpoint: Endpoint, key: PublicKey?) {
    self.endpoint = endpoint
    self.key = key
  }
}

/// How a process's connections are protected.
package struct Security: Sendable {
  private enum Protection: Sendable {
    /// Sockets of this machine only.
    case localOnly
    /// tcp in clear, with anybody.
    case insecure
    case curve(KeyPair)
  }

  private let protection: Protection
  /// Whom this process serves or asks; nil in the coordinator itself, and without CURVE.
  private let coordinator: PublicKey?
  private let allows: @Sendable (PublicKey) -> Bool
  /// What keys may do; nil where all may do all.
  private let access: AccessList?

  /// ipc sockets only; every tcp endpoint is refused.
  package static let localOnly = Security(.localOnly, coordinator: nil) { _ in false }

  /// tcp endpoints in clear: whoever reaches them can use them, and read what passes.
  package static let insecure = Security(.insecure, coordinator: nil) { _ in false }

  /// The coordinator's: it lets in its own machine's key and those that `allows` says.
  package static func coordinator(
    _ own: KeyPair,
    allows: @escaping @Sendable (PublicKey) -> Bool
  ) -> Security {
    Security(.curve(own), coordinator: nil) { $0 == own.publicKey || allows($0) }
  }

  /// The coordinator's: it lets in its own machine's key and those of a list, to do what that says.
  package static func coordinator(_ own: KeyPair, access: AccessList) -> Security {
    Security(.curve(own), coordinator: nil, access: access) { access.allows($0) }
  }

  /// A worker's or client's: it knows the coordinator, and lets in nobody else by itself.
  package static func peer(_ own: KeyPair, coordinator: PublicKey) -> Security {
    Security(.curve(own), coordinator: coordinator) { $0 == coordinator }
  }

  private init(
    _ protection: Protection,
    coordinator: PublicKey?,
    access: AccessList? = nil,
    allows: @escaping @Sendable (PublicKey) -> Bool
  ) {
    self.protection = protection
    self.coordinator = coordinator
    self.access = access
    self.allows = allows
  }
}

extension Security {
  /// Starts what decides about the peers of a context's CURVE servers; nil where there are none.
  ///
  /// - Throws: `WireError` if the process has no thread or descriptor left.
  package func authenticator(
    _ context: ZeroMQContext,
    onRefusal: @escaping @Sendable (Refusal) -> Void
  ) throws(WireError) -> Authenticator? {
    guard case .curve = protection else { return nil }
    let access = access
    return try Authenticator(
      context,
      allows: allows,
      eachSecond: { access?.refresh() },
      onRefusal: onRefusal
    )
  }

  /// Returns what keys may do, once for each time that it changes; nil also where all may do all.
  package func takeAccessChange() -> Access? { access?.takeChange() }

  /// Whether a key is let in by this process's own choice, whoever else is admitted.
  package func allows(key: PublicKey) -> Bool { allows(key) }

  /// Returns the public key that others need to connect to an endpoint here; nil if they need none.
  package func publicKey(at endpoint: Endpoint) -> PublicKey? {
    guard endpoint.socketPath == nil, case .curve(let own) = protection else { return nil }
    return own.publicKey
  }

  /// Returns the options of a socket that listens at an endpoint.
  ///
  /// - Throws: `WireError` with code `key` for a tcp endpoint without keys.
  package func options(
    _ base: SocketOptions,
    listeningAt endpoint: Endpoint
  ) throws(WireError) -> SocketOptions {
    guard let own = try keys(for: endpoint) else { return base }
    var options = base
    options.curve = .server(own.secretKey)
    return options
  }

  /// Returns the options of a socket that connects to a peer.
  ///
  /// - Throws: `WireError` with code `key` for a tcp endpoint without keys, or without its own.
  package func options(
    _ base: SocketOptions,
    connectingTo peer: PeerAddress
  ) throws(WireError) -> SocketOptions {
    guard let own = try keys(for: peer.endpoint) else { return base }
    guard let key = peer.key else {
      throw WireError(.key, "the public key of \(peer.endpoint) is not known")
    }
    var options = base
    options.curve = .client(own: own, server: key)
    return options
  }

  /// Returns the options of a socket that connects to the coordinator.
  ///
  /// - Throws: `WireError` with code `key` for a tcp endpoint without keys.
  package func options(
    _ base: SocketOptions,
    connectingToCoordinator endpoint: Endpoint
  ) throws(WireError) -> SocketOptions {
    try options(base, connectingTo: PeerAddress(endpoint, key: coordinator))
  }

  /// Returns the keys an endpoint needs; nil if it needs none.
  private func keys(for endpoint: Endpoint) throws(WireError) -> KeyPair? {
    guard endpoint.socketPath == nil else { return nil }
    switch protection {
    case .curve(let own): return own
    case .insecure: return nil
    case .localOnly: throw WireError(.key, "\(endpoint) needs keys: see `trestle keys`")
    }
  }
}
