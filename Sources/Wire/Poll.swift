// Waits for sockets and descriptors together: the core of every event loop.

internal import CZeroMQ
internal import Glibc
internal import Platform

/// The sockets and descriptors that are ready after a `poll`.
package struct Ready: Sendable {
  fileprivate var readable: Set<ObjectIdentifier> = []
  fileprivate var writable: Set<ObjectIdentifier> = []
  /// The descriptors that can be read, or whose other end is closed.
  package fileprivate(set) var descriptors: Set<CInt> = []

  package var isEmpty: Bool { readable.isEmpty && writable.isEmpty && descriptors.isEmpty }

  /// Whether a message waits at the socket.
  package func contains(_ socket: Socket) -> Bool { readable.contains(ObjectIdentifier(socket)) }

  /// Whether the descriptor can be read, or its other end is closed.
  package func contains(descriptor: CInt) -> Bool { descriptors.contains(descriptor) }

  /// Whether the socket, one of `writable`, can accept a message.
  package func canSend(_ socket: Socket) -> Bool { writable.contains(ObjectIdentifier(socket)) }
}

/// Waits until a message can be received, a descriptor can be read, or the timeout has passed.
///
/// A signal ends the wait early, with nothing ready.
///
/// - Parameters:
///   - sockets: The sockets to receive from.
///   - descriptors: Pipes, eventfds, signalfds, pidfds.
///   - writable: DEALERs that refused a message as `.full` and are to send it when they can. For a
///     ROUTER this tells nothing, because each of its peers has a queue of its own.
///   - timeout: nil waits for ever; zero does not wait.
/// - Returns: What is ready; empty after the timeout or a signal.
/// - Throws: `WireError` if a socket or its context is closed.
package func poll(
  sockets: [Socket],
  descriptors: [CInt] = [],
  writable: [Socket] = [],
  timeout: Duration?
) throws(WireError) -> Ready {
  var items: [zmq_pollitem_t] = unsafe []
  unsafe items.reserveCapacity(sockets.count + writable.count + descriptors.count)
  for socket in sockets {
    unsafe items.append(
      zmq_pollitem_t(socket: try socket.handle(), fd: 0, events: CShort(ZMQ_POLLIN), revents: 0)
    )
  }
  for socket in writable {
    unsafe items.append(
      zmq_pollitem_t(socket: try socket.handle(), fd: 0, events: CShort(ZMQ_POLLOUT), revents: 0)
    )
  }
  for descriptor in descriptors {
    unsafe items.append(
      zmq_pollitem_t(
        socket: nil,
        fd: descriptor,
        events: CShort(ZMQ_POLLIN | ZMQ_POLLERR),
        revents: 0
      )
    )
  }
  let count = unsafe zmq_poll(&items, CInt(items.count), timeout.map { $0.wholeMilliseconds } ?? -1)
  var ready = Ready()
  if count < 0 {
    guard errno == EINTR else { throw ZeroMQ.error("zmq_poll") }
    return ready
  }
  guard count > 0 else { return ready }
  for (index, socket) in sockets.enumerated() where unsafe items[index].revents != 0 {
    ready.readable.insert(ObjectIdentifier(socket))
  }
  for (index, socket) in writable.enumerated()
  where unsafe items[sockets.count + index].revents != 0 {
    ready.writable.insert(ObjectIdentifier(socket))
  }
  for (index, descriptor) in descriptors.enumerated()
  where unsafe items[sockets.count + writable.count + index].revents != 0 {
    ready.descriptors.insert(descriptor)
  }
  return ready
}
