// The pipeline's status, once a second, for all pages that look: asked for once, whoever listens, and kept for
// three minutes, so that a page that comes has lines to draw.

internal import AsyncAlgorithms
internal import Client
internal import Platform
internal import ServiceLifecycle

/// Documents of the status, a second apart.
final class StatusFeed: Service {
  private struct State {
    var recent: [String] = []
    var nextListener = 0
    var listeners: [Int: AsyncStream<String>.Continuation] = [:]
  }

  private let client: CoordinatorClient
  private let board: RequestBoard
  private let state = Lock(State())

  private static let period = Duration.seconds(1)
  private static let kept = 180
  /// What a slow page may be behind; what is older is left out.
  private static let buffered = 8

  init(_ client: CoordinatorClient, _ board: RequestBoard) {
    self.client = client
    self.board = board
  }

  /// Asks until the server ends.
  func run() async throws {
    for await _ in AsyncTimerSequence(interval: Self.period, clock: .continuous)
      .cancelOnGracefulShutdown()
    {
      publish(await document())
    }
    let listeners = state.withLock { Array($0.listeners.values) }
    for listener in listeners { listener.finish() }
  }

  private func document() async -> String {
    let document: JSON
    do {
      let status = try await client.status()
      document = [
        "status": try JSON(encoding: StatusDocument(status)), "requests": board.document,
      ]
    } catch let error as ClientError {
      document = APIError(error).document
    } catch {
      document = APIError(500, "\(error)", type: "server_error").document
    }
    return document.text
  }

  private func publish(_ text: String) {
    let listeners = state.withLock { state in
      state.recent.append(text)
      state.recent.removeFirst(max(0, state.recent.count - Self.kept))
      return Array(state.listeners.values)
    }
    for listener in listeners { listener.yield(text) }
  }

  /// Calls a closure with what is kept, then with each new document.
  ///
  /// - Throws: What the closure throws.
  func forEach(_ take: (String) async throws -> Void) async throws {
    let (stream, continuation) = AsyncStream.makeStream(
      of: String.self,
      bufferingPolicy: .bufferingNewest(Self.buffered)
    )
    let (number, recent) = state.withLock { state in
      state.nextListener += 1
      state.listeners[state.nextListener] = continuation
      return (state.nextListener, state.recent)
    }
    defer { _ = state.withLock { $0.listeners.removeValue(forKey: number) } }
    for text in recent { try await take(text) }
    for await text in stream { try await take(text) }
  }
}
