// The sockets of a worker's compute thread.

internal import Wire

/// Where steps come in and go on, results leave, and keys and values move.
///
/// Used by the thread that makes it.
final class DataSockets {
  private let context: ZeroMQContext
  /// Steps come in here, from the coordinator or the stage before.
  let input: Socket
  let listening: Endpoint
  /// Results of the last stage, and failures of any, go to the coordinator.
  let results: Socket
  /// Steps go on here; nil on the last stage.
  private(set) var next: Socket?
  /// Where the stage that is installed will send its steps.
  var nextEndpoint: Endpoint?
  /// To workers that take over layers, by endpoint; as long as a move lasts.
  private var exports: [String: Socket] = [:]

  init(
    _ context: ZeroMQContext,
    listen: Endpoint,
    coordinator: Endpoint,
    identity: PeerID
  ) throws(WireError) {
    self.context = context
    input = try Socket(context, role: .router, options: .data)
    try input.bind(listen)
    listening = try input.boundEndpoint
    var options = SocketOptions.control
    options.identity = identity
    results = try Socket(context, role: .dealer, options: options)
    try results.connect(coordinator)
  }

  /// Connects to the next stage of the epoch that begins.
  func connectNext() throws(WireError) {
    next?.close()
    next = nil
    guard let endpoint = nextEndpoint else { return }
    let socket = try Socket(context, role: .dealer, options: .data)
    try socket.connect(endpoint)
    next = socket
  }

  /// Sends keys and values; false if the queue has no room.
  func export(_ rows: OutgoingRows) throws(WorkerError) -> Bool {
    do {
      let socket = try exports[rows.endpoint] ?? connectExport(rows.endpoint)
      return try socket.send(.kvRows(rows.header), payloads: rows.payloads) == .sent
    } catch {
      throw WorkerError(
        .system,
        "keys and values cannot be sent",
        context: rows.endpoint,
        underlying: error
      )
    }
  }

  private func connectExport(_ endpoint: String) throws(WireError) -> Socket {
    let socket = try Socket(context, role: .dealer, options: .data)
    try socket.connect(Endpoint(endpoint))
    exports[endpoint] = socket
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
