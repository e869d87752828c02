// Messages as bare frames, for what libzmq itself says within a process (ZAP, monitor events), and for
// tests that say what is no message. What peers say is in Socket+Messages.swift.

internal import CZeroMQ
internal import Glibc

extension Socket {
  /// Takes the next message that has arrived as frames; nil if there is none.
  ///
  /// Frames beyond `limit` are taken away and counted by one empty frame.
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

  /// Sends a message of frames; it is lost if the other side has gone.
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
