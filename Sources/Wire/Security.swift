// The one place that decides which sockets are encrypted, and with which keys. ipc sockets are
// protected by their 0700 directory; tcp sockets need keys, unless the user has said that they need
// none.

/// An endpoint to connect to, and the key that must answer there.
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
    /// Only sockets of this machine.
    case localOnly
    /// Unencrypted tcp, open to everybody.
    case insecure
    case curve(KeyPair)
  }

  private let protection: Protection
  /// The key of the coordinator that this process joins; nil in the coordinator itself, and without
  /// CURVE.
  private let coordinator: PublicKey?
  private let allows: @Sendable (PublicKey) -> Bool
  /// What keys may do; nil where every key may do everything.
  private let access: AccessList?

  /// Allows only ipc sockets; every tcp endpoint is refused.
  package static let localOnly = Security(.localOnly, coordinator: nil) { _ in false }

  /// Allows unencrypted tcp: whoever reaches an endpoint can use it and read its traffic.
  package static let insecure = Security(.insecure, coordinator: nil) { _ in false }

  /// Returns the coordinator's security, which lets in its own machine's key and those that
  /// `allows` accepts.
  package static func coordinator(
    _ own: KeyPair,
    allows: @escaping @Sendable (PublicKey) -> Bool
  ) -> Security {
    Security(.curve(own), coordinator: nil) { $0 == own.publicKey || allows($0) }
  }

  /// Returns the coordinator's security, which lets in its own machine's key and the keys of a
  /// list.
  package static func coordinator(_ own: KeyPair, access: AccessList) -> Security {
    Security(.curve(own), coordinator: nil, access: access) { access.allows($0) }
  }

  /// Returns a worker's or client's security, which lets in only the coordinator.
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
  /// Starts the authenticator of a context's CURVE servers; nil if the context needs none.
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

  /// Returns what keys may do, once per change; nil otherwise, and where every key may do
  /// everything.
  package func takeAccessChange() -> Access? { access?.takeChange() }

  /// Whether this process itself lets a key in, whatever keys are admitted besides.
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
  /// - Throws: `WireError` with code `key` for a tcp endpoint, if this process has no keys or the
  ///   peer's key is unknown.
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
