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
  /// After so long without an answer a message is sent again: one is lost with its connection, which ends where a
  /// machine stands still for longer than a handshake may take.
  private static let pause = Duration.seconds(1)

  /// Returns the cost of a message in one direction.
  ///
  /// Takes some tens of milliseconds.
  static func measure(machine: String) throws -> LinkProfile {
    let directory = try PrivateDirectory.make()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let endpoint = try Endpoint("ipc://\(directory)/echo")
    let context = try ZeroMQContext()
    let end = try Mailbox<Void>()
    let fault = Lock<String?>(nil)
    let thread = try Platform.Thread {
      do { try answer(context, endpoint, until: end) } catch {
        fault.withLock { $0 = "\(error)" }
      }
    }
    defer {
      end.post(())
      thread.join()
    }
    let wait = Wait(until: .now + patience) {
      fault.withLock { $0 } ?? "no answer from \(endpoint)"
    }
    while try !endpoint.isListening() {
      try wait.check()
      usleep(1000)
    }
    let socket = try Socket(context, role: .dealer, options: .data)
    defer { socket.close() }
    try socket.connect(endpoint)
    let small = try roundTrip(socket, floats: 1, count: smallCount, wait)
    let large = try roundTrip(socket, floats: largeFloats, count: largeCount, wait)
    return LinkProfile(
      name: "ipc",
      kind: .measured,
      derivation: "messages to and fro over an ipc socket on this machine, medians",
      machines: [machine, machine],
      latencyMicroseconds: small / 2,
      bytesPerSecond: 2 * Double(4 * largeFloats) / max(large - small, 1) * 1e6
    )
  }

  /// The time that a measurement has, and what to say when it is over.
  private struct Wait {
    let deadline: ContinuousClock.Instant
    let reason: () -> String

    init(until deadline: ContinuousClock.Instant, reason: @escaping () -> String) {
      self.deadline = deadline
      self.reason = reason
    }

    func check() throws {
      guard ContinuousClock.now < deadline else {
        throw LaunchError(.measurement, "the link cannot be measured: \(reason())")
      }
    }
  }

  /// Echoes messages until something is posted.
  private static func answer(
    _ context: ZeroMQContext,
    _ endpoint: Endpoint,
    until end: Mailbox<Void>
  ) throws {
    let socket = try Socket(context, role: .router, options: .data)
    defer { socket.close() }
    try socket.bind(endpoint)
    while try !poll(sockets: [socket], descriptors: [end.descriptor], timeout: nil)
      .contains(descriptor: end.descriptor)
    {
      while let received = try socket.receive() {
        let (message, payloads) = try received.content.get()
        // What is not accepted is lost, and asked for again.
        _ = try socket.send(message, payloads: payloads, to: received.peer)
      }
    }
  }

  /// Returns the median round trip time in microseconds.
  private static func roundTrip(
    _ socket: Socket,
    floats: Int,
    count: Int,
    _ wait: Wait
  ) throws -> Double {
    let payload = [Float](repeating: 1, count: floats)
    var times: [Double] = []
    while times.count < count {
      let sequence = UInt64(floats + times.count)
      let step = Step(epoch: 1, sequence: sequence, cleared: [], rows: [], stageMicroseconds: [])
      var began = ContinuousClock.now
      repeat {
        try wait.check()
        began = .now
        _ = try socket.send(.step(step), payloads: [payload])
      } while try !isAnswered(socket, sequence)
      times.append((ContinuousClock.now - began) / .microseconds(1))
    }
    return times.sorted()[count / 2]
  }

  /// Waits a while for the answer to a message; answers to those before are passed over.
  private static func isAnswered(_ socket: Socket, _ sequence: UInt64) throws -> Bool {
    let deadline = ContinuousClock.now + pause
    while ContinuousClock.now < deadline {
      while let received = try socket.receive() {
        if case .step(let step) = try received.content.get().message, step.sequence == sequence {
          return true
        }
      }
      _ = try poll(sockets: [socket], timeout: deadline - .now)
    }
    return false
  }
}
