// The sockets of a worker's compute thread.

internal import Platform
internal import Wire

/// Where steps come in and go on, results leave, and keys and values move.
///
/// Used by the thread that makes it.
final class DataSockets {
  private let context: ZeroMQContext
  private let security: Security
  /// Steps come in here, from the coordinator or the stage before.
  let input: Socket
  let listening: Endpoint
  /// Results of the last stage, and failures of any, go to the coordinator.
  let results: Socket
  /// Steps go on here; nil on the last stage.
  private(set) var next: Socket?
  /// To workers that take over layers; as long as a move lasts.
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

  /// Connects to the next stage of the epoch that begins.
  func connectNext(to address: PeerAddress?) throws(WireError) {
    next?.close()
    next = nil
    guard let address else { return }
    next = try connect(address)
  }

  /// Sends keys and values; false if the queue has no room.
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
