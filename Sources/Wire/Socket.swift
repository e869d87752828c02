// A ZeroMQ socket: opening, binding, connecting, closing. Socket+Messages.swift sends and receives.
//
// All socket calls of ZeroMQ are made here, with what zmq_setsockopt(3), zmq_bind(3) and
// zmq_connect(3) say about them.

internal import CZeroMQ
internal import Glibc
internal import Platform

/// A ROUTER or DEALER socket.
///
/// Only one thread may use a socket at a time; handing it to another thread takes a full fence,
/// such as starting that thread. No call blocks, except `close()` of the context.
@safe package final class Socket {
  package enum Role: Sendable, Hashable {
    /// Talks to many peers, each by its `PeerID`.
    case router
    /// Talks to the one peer it is connected to.
    case dealer
    /// Answers one request after the other, within this process.
    case reply
    /// Talks to one other socket of this process.
    case pair
  }

  package let role: Role
  /// The endpoint that the socket is bound or connected to, for error messages.
  private(set) package var endpoint: Endpoint?
  private let context: ZeroMQContext
  private var storedHandle: UnsafeMutableRawPointer?
  private var reportsEvents = false
  /// Whether each peer must prove its key; then received messages carry that key.
  private(set) var provesKeys = false
  /// Whether its connections are encrypted.
  let isEncrypted: Bool

  /// - Throws: `WireError` if the context is closed or the process has no descriptors left.
  package init(
    _ context: ZeroMQContext,
    role: Role,
    options: SocketOptions = .control
  ) throws(WireError) {
    self.role = role
    self.context = context
    isEncrypted = options.curve != nil
    try context.socketOpened()
    guard let handle = unsafe zmq_socket(context.handle, role.type) else {
      let error = ZeroMQ.error("zmq_socket")
      context.socketClosed()
      throw error
    }
    unsafe storedHandle = unsafe handle
    try apply(options)
  }

  deinit { close() }

  /// Closes the socket; queued messages are still sent for the time of `SocketOptions.linger`.
  ///
  /// An endpoint that it was bound to is free a moment later, when ZeroMQ's threads have closed it.
  package func close() {
    guard let handle = unsafe storedHandle else { return }
    unsafe storedHandle = nil
    // The monitor ends before its listener closes: an event that nobody receives would block
    // ZeroMQ's own thread.
    if reportsEvents { unsafe zmq_socket_monitor(handle, nil, 0) }
    unsafe zmq_close(handle)
    context.socketClosed()
  }

  /// - Throws: `WireError` with code `closed` after `close()`.
  func handle() throws(WireError) -> UnsafeMutableRawPointer {
    guard let handle = unsafe storedHandle else {
      throw WireError(.closed, "the socket is closed", context: place)
    }
    return unsafe handle
  }

  /// The endpoint, for error messages.
  var place: String { endpoint.map { "\($0)" } ?? "" }
}

@available(*, unavailable)
extension Socket: Sendable {}

// MARK: Endpoints

extension Socket {
  /// Listens at an endpoint.
  ///
  /// ZeroMQ binds an ipc path whatever exists there. This function refuses a live socket and a file
  /// that is no socket, and replaces only a socket that a dead process of this user left.
  ///
  /// - Throws: `WireError` with code `addressInUse` or `endpoint` that names the endpoint.
  package func bind(_ endpoint: Endpoint) throws(WireError) {
    let handle = try unsafe handle()
    try Self.refuseTakenPath(endpoint)
    let address = try address(of: endpoint)
    // An ipc socket is only for its owner, even in a directory that others may enter.
    let mask = umask(0o077)
    defer { umask(mask) }
    guard unsafe zmq_bind(handle, address) == 0 else {
      let code = errno
      let isTaken = code == EADDRINUSE
      throw WireError(
        isTaken ? .addressInUse : .endpoint,
        isTaken
          ? "another process listens at \(endpoint); stop it or choose another endpoint"
          : "cannot listen at \(endpoint): \(ZeroMQ.reason(code))"
      )
    }
    self.endpoint = endpoint
  }

  /// Connects to an endpoint, now or as soon as a process listens there, and reconnects after a
  /// disconnect.
  ///
  /// - Throws: `WireError` with code `endpoint` if no socket can connect to it, or if it is an ipc
  ///   endpoint of another user.
  package func connect(_ endpoint: Endpoint) throws(WireError) {
    let handle = try unsafe handle()
    if case .tcp(let host, let port) = endpoint.kind, port == nil || host == "*" {
      throw WireError(.endpoint, "cannot connect to \(endpoint): a host and a port are needed")
    }
    // ZeroMQ does not report whom it has connected to, so this checks whose the socket is.
    _ = try endpoint.isListening()
    guard unsafe zmq_connect(handle, try address(of: endpoint)) == 0 else {
      throw WireError(.endpoint, "cannot connect to \(endpoint): \(ZeroMQ.reason(errno))")
    }
    self.endpoint = endpoint
  }

  /// Disconnects from an endpoint; messages queued for it are sent within the linger time.
  ///
  /// - Throws: `WireError` with code `endpoint` if there is no such connection.
  package func disconnect(_ endpoint: Endpoint) throws(WireError) {
    let handle = try unsafe handle()
    guard unsafe zmq_disconnect(handle, try endpoint.resolved().description) == 0 else {
      throw WireError(.endpoint, "cannot disconnect from \(endpoint): \(ZeroMQ.reason(errno))")
    }
  }

  /// Returns the address that libzmq is to bind or connect to, with names resolved.
  ///
  /// "ZMQ_IPV6: Set the IPv6 option for the socket. A value of 1 means IPv6 is enabled on the socket,
  /// while 0 means the socket will use only IPv4." With 1, IPv4 addresses are written as IPv6 ones.
  private func address(of endpoint: Endpoint) throws(WireError) -> String {
    let resolved = try endpoint.resolved()
    try set(ZMQ_IPV6, CInt(resolved.isIPv6 ? 1 : 0))
    return resolved.description
  }

  /// Binds a name to which only sockets of this context can connect.
  func bind(inProcess name: String) throws(WireError) {
    guard unsafe zmq_bind(try handle(), "inproc://\(name)") == 0 else {
      throw ZeroMQ.error("zmq_bind(inproc://\(name))")
    }
  }

  /// Connects to a socket of this context, which may also be bound later.
  func connect(inProcess name: String) throws(WireError) {
    guard unsafe zmq_connect(try handle(), "inproc://\(name)") == 0 else {
      throw ZeroMQ.error("zmq_connect(inproc://\(name))")
    }
  }

  /// The endpoint that was bound last, with the port that the system has chosen.
  ///
  /// - Throws: `WireError` if no endpoint was bound.
  package var boundEndpoint: Endpoint {
    get throws(WireError) {
      let handle = try unsafe handle()
      var text = [CChar](repeating: 0, count: Limits.endpointBytes)
      var size = text.count
      guard unsafe zmq_getsockopt(handle, ZMQ_LAST_ENDPOINT, &text, &size) == 0 else {
        throw ZeroMQ.error("zmq_getsockopt(ZMQ_LAST_ENDPOINT)", context: place)
      }
      // The size counts the final NUL.
      let bytes = text.prefix(max(0, size - 1)).map { UInt8(bitPattern: $0) }
      return try Endpoint(String(decoding: bytes, as: UTF8.self))
    }
  }

  /// Throws if an ipc path is being served, holds a file that binding would remove, or could be
  /// replaced by other users.
  private static func refuseTakenPath(_ endpoint: Endpoint) throws(WireError) {
    guard let path = endpoint.socketPath, let directory = try endpoint.trustedDirectory(),
      let status = directory.status(of: endpoint.socketName)
    else { return }
    guard status.st_mode & S_IFMT == S_IFSOCK else {
      throw WireError(.endpoint, "\(path) is there and not a socket; choose another endpoint")
    }
    try endpoint.refuseForeign(status.st_uid)
    let code = Endpoint.probe(path).error
    // Without a free descriptor nobody can tell whether the path is served, so it is not replaced.
    if Scarcity.isMeant(by: code) {
      throw WireError(.scarce, "cannot look at \(path): \(ZeroMQ.reason(code))")
    }
    guard code == 0 else { return }
    throw WireError(
      .addressInUse,
      "another process listens at \(endpoint); stop it or choose another endpoint"
    )
  }
}

// MARK: Options

extension Socket {
  private func apply(_ options: SocketOptions) throws(WireError) {
    try set(ZMQ_LINGER, milliseconds(options.linger))
    try set(ZMQ_SNDHWM, CInt(clamping: max(1, options.sendQueue)))
    try set(ZMQ_RCVHWM, CInt(clamping: max(1, options.receiveQueue)))
    try set(ZMQ_HANDSHAKE_IVL, milliseconds(options.handshake))
    // "Limits the size of the inbound message. If a peer sends a message larger than
    // ZMQ_MAXMSGSIZE it is disconnected." The limit holds for each frame.
    try set(ZMQ_MAXMSGSIZE, Int64(options.maxFrameBytes))
    // The first retry comes after 20 ms, since a restarted worker is back soon; the interval
    // doubles up to 1 s for a long absence.
    try set(ZMQ_RECONNECT_IVL, CInt(20))
    try set(ZMQ_RECONNECT_IVL_MAX, CInt(1000))
    if let heartbeat = options.heartbeat {
      try set(ZMQ_HEARTBEAT_IVL, milliseconds(heartbeat.interval))
      try set(ZMQ_HEARTBEAT_TIMEOUT, milliseconds(heartbeat.timeout))
    }
    if let identity = options.identity { try setIdentity(identity) }
    switch role {
    case .router:
      // "Sets the ROUTER socket behaviour when an unroutable message is encountered. [...] 1 returns
      // an EHOSTUNREACH error code if the message cannot be routed." By default it vanishes.
      try set(ZMQ_ROUTER_MANDATORY, CInt(1))
    case .dealer:
      try set(ZMQ_IMMEDIATE, CInt(options.queuesOnlyWhenConnected ? 1 : 0))
    case .reply, .pair: break
    }
    switch options.curve {
    case nil: break
    case .server(let secret): try serve(with: secret)
    case .client(let own, let server):
      // "To become a CURVE client, the application sets the ZMQ_CURVE_SERVERKEY option [...] then
      // sets the ZMQ_CURVE_PUBLICKEY and ZMQ_CURVE_SECRETKEY options" (zmq_curve(7)).
      try set(ZMQ_CURVE_SERVERKEY, server.description)
      try set(ZMQ_CURVE_PUBLICKEY, own.publicKey.description)
      try set(ZMQ_CURVE_SECRETKEY, own.secretKey.z85)
    }
  }

  /// Makes this a CURVE server for endpoints that are bound from now on.
  ///
  /// - Precondition: The context has an `Authenticator`. Without one libzmq would let in whoever
  ///   knows the server's public key.
  private func serve(with secret: SecretKey) throws(WireError) {
    precondition(context.hasAuthenticator, "a CURVE server in a context without Authenticator")
    try set(ZMQ_CURVE_SERVER, CInt(1))
    try set(ZMQ_CURVE_SECRETKEY, secret.z85)
    try set(ZMQ_ZAP_DOMAIN, ZAP.domain)
    provesKeys = true
    // The Authenticator learns here of peers that fail before libzmq asks it about their key.
    let events = ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
    try report(events, to: Authenticator.handshakesName)
  }

  /// Reports connection events to a PAIR socket of this context, until this socket is closed.
  func report(_ events: CInt, to name: String) throws(WireError) {
    guard unsafe zmq_socket_monitor(try handle(), "inproc://\(name)", events) == 0 else {
      throw ZeroMQ.error("zmq_socket_monitor")
    }
    reportsEvents = true
  }

  private func set(_ option: CInt, _ text: String) throws(WireError) {
    guard unsafe zmq_setsockopt(try handle(), option, text, text.utf8.count) == 0 else {
      // The text may be a secret key, so the error tells only its length.
      throw ZeroMQ.error("zmq_setsockopt(\(option), \(text.utf8.count) characters)")
    }
  }

  private func set<Value: FixedWidthInteger>(_ option: CInt, _ value: Value) throws(WireError) {
    let handle = try unsafe handle()
    let status = unsafe withUnsafePointer(to: value) { pointer in
      unsafe zmq_setsockopt(handle, option, pointer, MemoryLayout<Value>.size)
    }
    guard status == 0 else { throw ZeroMQ.error("zmq_setsockopt(\(option), \(value))") }
  }

  /// "The routing id must be at least one byte and at most 255 bytes long. Identities starting with
  /// a zero byte are reserved for use by the 0MQ infrastructure." (zmq_setsockopt(3))
  private func setIdentity(_ identity: PeerID) throws(WireError) {
    let handle = try unsafe handle()
    let bytes = identity.bytes
    guard unsafe zmq_setsockopt(handle, ZMQ_ROUTING_ID, bytes, bytes.count) == 0 else {
      throw ZeroMQ.error("zmq_setsockopt(ZMQ_ROUTING_ID, \(identity))")
    }
  }

  private func milliseconds(_ duration: Duration) -> CInt {
    CInt(clamping: duration.wholeMilliseconds)
  }
}

extension Socket.Role {
  fileprivate var type: CInt {
    switch self {
    case .router: ZMQ_ROUTER
    case .dealer: ZMQ_DEALER
    case .reply: ZMQ_REP
    case .pair: ZMQ_PAIR
    }
  }
}
