// Measures latency and bandwidth between two processes of this machine with an echo over an ipc
// socket.

internal import Coordinator
internal import Foundation
internal import Glibc
internal import Platform
internal import Wire

/// Measures the local link.
enum LinkLab {
  private static let smallCount = 64
  private static let largeCount = 8
  /// A megabyte: 32 rows of Gemma 3n's streams.
  private static let largeFloats = 256 << 10
  /// Long, because a machine may be busy with something else, and this process be the last in its queue.
  private static let patience = Duration.seconds(60)

  /// Returns the cost of a message in one direction.
  ///
  /// Takes some tens of milliseconds.
  static func measure(machine: String) throws -> LinkProfile {
    let directory = try PrivateDirectory.make()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let endpoint = try Endpoint("ipc://\(directory)/echo")
    let context = try ZeroMQContext()
    let echo = Lock<String?>(nil)
    let thread = try Platform.Thread {
      do { try answer(context, endpoint) } catch { echo.withLock { $0 = "\(error)" } }
    }
    // The thread ends when it has answered all messages, or after a timeout.
    defer { thread.join() }
    let deadline = ContinuousClock.now + patience
    while try !endpoint.isListening() {
      guard ContinuousClock.now < deadline else {
        throw LaunchError(
          .measurement,
          "the link cannot be measured: \(echo.withLock { $0 } ?? "no answer from \(endpoint)")"
        )
      }
      usleep(1000)
    }
    let socket = try Socket(context, role: .dealer, options: .data)
    defer { socket.close() }
    try socket.connect(endpoint)
    let small = try roundTrip(socket, floats: 1, count: smallCount)
    let large = try roundTrip(socket, floats: largeFloats, count: largeCount)
    return LinkProfile(
      name: "ipc",
      kind: .measured,
      derivation: "messages to and fro over an ipc socket on this machine, medians",
      machines: [machine, machine],
      latencyMicroseconds: small / 2,
      bytesPerSecond: 2 * Double(4 * largeFloats) / max(large - small, 1) * 1e6
    )
  }

  /// Echoes as many messages as the measurement sends.
  private static func answer(_ context: ZeroMQContext, _ endpoint: Endpoint) throws {
    let socket = try Socket(context, role: .router, options: .data)
    defer { socket.close() }
    try socket.bind(endpoint)
    var left = smallCount + largeCount
    while left > 0 {
      guard try !poll(sockets: [socket], timeout: patience).isEmpty else { return }
      while let received = try socket.receive() {
        let (message, payloads) = try received.content.get()
        _ = try socket.send(message, payloads: payloads, to: received.peer)
        left -= 1
      }
    }
  }

  /// Returns the median round trip time in microseconds.
  private static func roundTrip(_ socket: Socket, floats: Int, count: Int) throws -> Double {
    let payload = [Float](repeating: 1, count: floats)
    let step = Step(epoch: 1, sequence: 1, cleared: [], rows: [], stageMicroseconds: [])
    var times: [Double] = []
    while times.count < count {
      let began = ContinuousClock.now
      _ = try socket.send(.step(step), payloads: [payload])
      repeat {
        guard try !poll(sockets: [socket], timeout: patience).isEmpty else {
          throw LaunchError(
            .measurement,
            "the link cannot be measured: no answer within \(patience)"
          )
        }
      } while try socket.receive() == nil
      times.append((ContinuousClock.now - began) / .microseconds(1))
    }
    return times.sorted()[count / 2]
  }
}
