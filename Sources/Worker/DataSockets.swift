// The sockets of a worker's compute thread.

internal import Platform
internal import Wire

/// The sockets for steps in both directions, for results, and for keys and values that move.
///
/// They must be used only by the thread that made them.
final class DataSockets {
  private let context: ZeroMQContext
  private let security: Security
  /// Receives steps from the coordinator or the previous stage.
  let input: Socket
  let listening: Endpoint
  /// Sends results of the last stage, and failures of any stage, to the coordinator.
  let results: Socket
  /// Sends steps to the next stage; nil on the last stage.
  private(set) var next: Socket?
  /// Connections to the workers that take over layers; they are open during a move.
  private var exports: [PeerAddress: Socket] = [:]

  init(
    _ context: ZeroMQContext,
    _ security: Security,
    listen: Endpoint,
    coordinator: Endpoint,
    identity: PeerID
  ) throws(WireError) {
    self.context = context
    self.security = security
    let inputOptions = try security.options(.data, listeningAt: listen)
    input = try Socket(context, role: .router, options: inputOptions)
    try input.bind(listen)
    listening = try input.boundEndpoint
    var options = try security.options(.control, connectingToCoordinator: coordinator)
    options.identity = identity
    results = try Socket(context, role: .dealer, options: options)
    try results.connect(coordinator)
  }

  /// Connects to the next stage of a new epoch.
  func connectNext(to address: PeerAddress?) throws(WireError) {
    next?.close()
    next = nil
    guard let address else { return }
    next = try connect(address)
  }

  /// Sends keys and values; returns false if the queue is full (backpressure).
  func export(_ rows: OutgoingRows) throws(WorkerError) -> Bool {
    do {
      let socket = try Scarcity.waitOut { () throws(WireError) in
        if let socket = exports[rows.address] { return socket }
        return try connectExport(rows.address)
      }
      return try socket.send(.kvRows(rows.header), payloads: rows.payloads) == .sent
    } catch {
      throw WorkerError(
        .system,
        "keys and values cannot be sent",
        context: rows.address.endpoint.description,
        underlying: error
      )
    }
  }

  private func connectExport(_ address: PeerAddress) throws(WireError) -> Socket {
    let socket = try connect(address)
    exports[address] = socket
    return socket
  }

  private func connect(_ address: PeerAddress) throws(WireError) -> Socket {
    let options = try security.options(.data, connectingTo: address)
    let socket = try Socket(context, role: .dealer, options: options)
    try socket.connect(address.endpoint)
    return socket
  }

  func closeExports() {
    for socket in exports.values { socket.close() }
    exports = [:]
  }

  func close() {
    input.close()
    results.close()
    next?.close()
    closeExports()
  }
}
