// ZeroMQ's context: its I/O threads, and the sockets that are made with it.

internal import CZeroMQ
internal import Glibc
internal import Platform

/// The I/O threads that a process's sockets share.
///
/// Shutdown order: each socket is closed on its own thread, those threads are joined, then the
/// context is closed. A socket keeps its context alive, so code that only drops its references gets
/// this order by itself.
// @unchecked Sendable: "A ØMQ context is thread safe" (zmq_ctx_new(3)); `state` is behind a lock.
@safe package final class ZeroMQContext: @unchecked Sendable {
  private struct State {
    var isClosed = false
    var openSockets = 0
    var hasAuthenticator = false
  }

  /// How many descriptors a process needs at the start: five for a context, one or two for each
  /// socket and mailbox, and some for connections and files.
  private static let neededDescriptors = 24

  let handle: UnsafeMutableRawPointer
  private let state = Lock(State())

  /// - Parameter ioThreads: One is enough below about a gigabyte a second (zmq_ctx_set(3)).
  /// - Throws: `WireError` if the process has no memory, threads or descriptors left.
  package init(ioThreads: Int = 1) throws(WireError) {
    precondition((1...64).contains(ioThreads), "\(ioThreads) I/O threads")
    // One more thread, the reaper, closes sockets.
    try WireError.converting { () throws(PlatformError) in
      try Scarcity.check(descriptors: Self.neededDescriptors, threads: ioThreads + 1)
    }
    SocketGuard.begin()
    guard let handle = unsafe zmq_ctx_new() else { throw ZeroMQ.error("zmq_ctx_new") }
    unsafe self.handle = unsafe handle
    _ = unsafe zmq_ctx_set(handle, ZMQ_IO_THREADS, CInt(ioThreads))
    // ZeroMQ starts its threads with the first socket. This socket starts them now, while threads
    // are known to be available.
    guard let socket = unsafe zmq_socket(handle, ZMQ_PAIR) else {
      let error = ZeroMQ.error("zmq_socket")
      unsafe zmq_ctx_term(handle)
      throw error
    }
    unsafe zmq_close(socket)
  }

  deinit { close() }

  /// Ends the I/O threads, after lingering messages have been sent or the linger time has passed.
  ///
  /// - Precondition: All sockets of the context are closed; otherwise ZeroMQ would wait for them
  ///   for ever.
  package func close() {
    let isFirst = state.withLock { state in
      precondition(state.openSockets == 0, "\(state.openSockets) sockets are open at close()")
      defer { state.isClosed = true }
      return !state.isClosed
    }
    guard isFirst else { return }
    // "EINTR: Termination was interrupted by a signal. It can be restarted if needed."
    while unsafe zmq_ctx_term(handle) != 0, errno == EINTR {}
  }

  func socketOpened() throws(WireError) {
    let isOpen = state.withLock { state in
      if !state.isClosed { state.openSockets += 1 }
      return !state.isClosed
    }
    guard isOpen else { throw WireError(.closed, "the ZeroMQ context is closed") }
  }

  /// Whether CURVE servers of this context may take connections.
  var hasAuthenticator: Bool {
    get { state.withLock { $0.hasAuthenticator } }
    set { state.withLock { $0.hasAuthenticator = newValue } }
  }

  func socketClosed() {
    state.withLock { $0.openSockets -= 1 }
  }
}

/// The errors of ZeroMQ's calls.
enum ZeroMQ {
  static func reason(_ code: CInt) -> String { unsafe String(cString: zmq_strerror(code)) }

  /// Returns the error of a failed call, from `errno`.
  static func error(_ call: String, context: String = "") -> WireError {
    let code = errno
    // "ETERM: The ØMQ context associated with the specified socket was terminated."
    let isClosed = code == ZMQ_HAUSNUMERO + 53 || code == ENOTSOCK
    return WireError(
      isClosed ? .closed : Scarcity.isMeant(by: code) ? .scarce : .zeromq,
      "\(call) failed: \(reason(code))",
      context: context
    )
  }
}
