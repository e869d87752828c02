// Messages as bare frames, for what libzmq itself sends within a process (ZAP, monitor events), and
// for tests that send malformed messages. Messages of peers are in Socket+Messages.swift.

internal import CZeroMQ
internal import Glibc

extension Socket {
  /// Receives the next message as frames; nil if none has arrived.
  ///
  /// Frames beyond `limit` are discarded; one empty frame stands for all of them.
  func receiveFrames(atMost limit: Int) throws(WireError) -> [[UInt8]]? {
    let frame = Frame()
    guard try receive(frame) else { return nil }
    var frames = [unsafe Array(frame.bytes)]
    while frame.hasMore, try receive(frame) {
      if frames.count < limit {
        frames.append(unsafe Array(frame.bytes))
      } else if frames.count == limit {
        frames.append([])
      }
    }
    return frames
  }

  /// Sends a message of frames; it is lost if the peer has disconnected.
  package func send(frames: [[UInt8]]) throws(WireError) {
    for (index, frame) in frames.enumerated() {
      let flags = index == frames.count - 1 ? ZMQ_DONTWAIT : ZMQ_DONTWAIT | ZMQ_SNDMORE
      while unsafe zmq_send(try handle(), frame, frame.count, flags) < 0 {
        if errno == EAGAIN { return }
        guard errno == EINTR else { throw ZeroMQ.error("zmq_send") }
      }
    }
  }
}
