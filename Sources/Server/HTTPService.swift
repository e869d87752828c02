// The HTTP side: one responder for all requests, which checks who asks, reads the body, finds the route and
// writes the answer or the error.

internal import AsyncAlgorithms
internal import Glibc
internal import HTTPTypes
internal import Hummingbird
internal import HummingbirdCore
package import Logging
internal import NIOCore
internal import NIOHTTP1
package import Platform
internal import ServiceLifecycle

/// Where and for whom the front door listens.
package struct HTTPOptions: Sendable {
  package var host: String
  package var port: Int
  package var access: Access
  /// The most bytes of a body.
  package var bodyBytes = 8 << 20
  /// The most connections at once.
  package var connections = 1024

  package init(host: String, port: Int, access: Access) {
    self.host = host
    self.port = port
    self.access = access
  }
}

/// An address on which nothing can listen.
package struct ListenFailure: Error {
  /// The system's reason.
  package var reason: String
}

/// The HTTP side of a front door.
package struct HTTPServer: Sendable {
  private let group: ServiceGroup

  /// How long answers may go on when the server is told to end.
  private static let patience = Duration.seconds(5)
  /// How long a client may be silent between two requests, or in the midst of one.
  private static let idleTimeout = TimeAmount.seconds(30)

  /// - Parameters:
  ///   - door: What answers.
  ///   - options: Where to listen, and for whom.
  ///   - logger: Where faults are noted.
  ///   - manager: Who is told that the server lives.
  ///   - onListening: Called with the port when connections are accepted.
  package init(
    _ door: FrontDoor,
    _ options: HTTPOptions,
    logger: Logger,
    for manager: ServiceManager = .absent,
    onListening: @escaping @Sendable (Int) -> Void
  ) {
    let application = Application(
      responder: Responder(door: door, options: options),
      server: .http1(
        configuration: HTTP1Channel.Configuration(
          additionalChannelHandlers: [HangUpHandler(door.counters)],
          idleTimeout: Self.idleTimeout,
          httpDecoderConfiguration: .init(
            maxHeaderFieldSize: 16 << 10,
            maxHeaderListSize: 32 << 10,
            maxHeaderFieldCount: 100
          )
        )
      ),
      configuration: ApplicationConfiguration(
        address: .hostname(options.host, port: options.port),
        availableConnectionsDelegate: .maximum(options.connections, logger: logger)
      ),
      onServerRunning: { channel in onListening(channel.localAddress?.port ?? options.port) },
      logger: logger
    )
    // The last ends first, so that signs of life go on while answers end.
    let signs = SignsOfLife(manager, of: application.eventLoopGroup)
    var configuration = ServiceGroupConfiguration(
      services: [signs, door.feed, application],
      logger: logger
    )
    configuration.maximumGracefulShutdownDuration = Self.patience
    group = ServiceGroup(configuration: configuration)
  }

  /// Serves until `stop`.
  ///
  /// - Throws: `ListenFailure` if the address cannot be used.
  package func run() async throws {
    do {
      try await group.run()
    } catch let error as IOError {
      throw ListenFailure(reason: systemMessage(error.errnoCode))
    } catch let error as SocketAddressError {
      throw ListenFailure(reason: "\(error)")
    }
  }

  /// Takes no more requests, ends streams with an error, and lets the others end for a while.
  package func stop() {
    let group = group
    Task { await group.triggerGracefulShutdown() }
  }
}

/// Tells the service manager that the server lives, once all its event loops and a task have had a turn.
///
/// An event loop that hangs, or tasks that hold all threads, are silence.
private struct SignsOfLife: Service {
  private let manager: ServiceManager
  private let loops: any EventLoopGroup

  /// How often the loops are asked; the manager decides what is due.
  private static let period = Duration.seconds(1)

  init(_ manager: ServiceManager, of loops: any EventLoopGroup) {
    self.manager = manager
    self.loops = loops
  }

  func run() async throws {
    let turns = AsyncTimerSequence(interval: Self.period, clock: .continuous)
      .cancelOnGracefulShutdown()
    for await _ in turns where manager.isPresent {
      for loop in loops.makeIterator() { try await loop.submit {}.get() }
      manager.takeTurn()
    }
  }
}

/// What a request comes with: the channel, on which its client may hang up.
private struct DoorContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let channel: any Channel

  init(source: ApplicationRequestContextSource) {
    coreContext = CoreRequestContextStorage(source: source)
    channel = source.channel
  }
}

private struct Responder: HTTPResponder {
  let door: FrontDoor
  let options: HTTPOptions

  func respond(to request: Request, context: DoorContext) async throws -> Response {
    let crossOrigin = options.access.crossOriginHeaders(request.headers[.origin])
    let isMessages = request.uri.path.hasPrefix(Route.messagesPath)
    var response: Response
    do {
      response = try await answer(request, context)
    } catch {
      response = Self.response(to: Self.apiError(error, context), isMessages: isMessages)
    }
    for field in crossOrigin { response.headers.append(field) }
    response.headers[Self.requestID] = context.id
    // Anthropic's name for it.
    if isMessages { response.headers[Self.messagesRequestID] = context.id }
    door.counters.answered(
      .init(route: Route.label(request.uri.path), status: response.status.code)
    )
    return response
  }

  private static func apiError(_ error: any Error, _ context: DoorContext) -> APIError {
    switch error {
    case let error as APIError: return error
    case let error as HTTPParserError:
      return APIError.invalid("the request is not valid HTTP: \(error)")
    // Nobody reads it.
    case is CancellationError: return APIError(499, "the client has gone", type: "cancelled")
    default:
      context.logger.error("request failed", metadata: ["error": "\(error)"])
      return APIError(500, "\(error)", type: "server_error")
    }
  }

  private static let requestID = HTTPField.Name("x-request-id") ?? .eTag
  private static let messagesRequestID = HTTPField.Name("request-id") ?? .eTag

  private func answer(_ request: Request, _ context: DoorContext) async throws -> Response {
    try options.access.checkHost(request.head.authority)
    let path = request.uri.path
    if request.method == .options { return Response(status: .noContent) }
    if request.method == .post {
      try options.access.checkOrigin(request.headers[.origin], request.head.authority)
    }
    let isHead = request.method == .head
    let route = try Route.find(isHead ? .get : request.method, path)
    if route.needsKey { try options.access.checkKey(request.headers) }
    let hangUp = try await HangUpHandler.of(context.channel)
    switch route.answering {
    case .page: return isHead ? Page.response.createHeadResponse() : Page.response
    case .events where isHead: return Response(status: .ok, headers: Self.eventHeaders)
    case .document(let make):
      let body = try await body(request)
      let document = try await hangUp.cancelling { [door] in try await make(door, body) }
      let response = Self.response(document)
      return isHead ? response.createHeadResponse() : response
    case .bytes(let type, let make):
      let response = Response(
        status: .ok,
        headers: [.contentType: type],
        body: ResponseBody(byteBuffer: ByteBuffer(bytes: try await make(door)))
      )
      return isHead ? response.createHeadResponse() : response
    case .answer(let begin):
      let body = try await body(request)
      let begun = try await hangUp.cancelling { [door] in try await begin(door, body) }
      guard begun.streams else {
        return Self.response(try await hangUp.cancelling { try await begun.whole() })
      }
      let (channel, logger) = (context.channel, context.logger)
      return Self.events(hangUp, ending: begun.dialect.failure(Self.ending)) { write in
        try await begun.stream(
          onOverflow: {
            logger.warning("client does not read, its stream is cut off")
            channel.close(promise: nil)
          },
          write
        )
      }
    case .events(let forEach):
      return Self.events(hangUp, ending: ServerEvent(nil, Self.ending.document)) { [door] write in
        try await forEach(door) { try await write("data: \($0)\n\n") }
      }
    }
  }

  /// Reads a body; null without one.
  private func body(_ request: Request) async throws -> JSON {
    let buffer: ByteBuffer
    do {
      buffer = try await collect(request)
    } catch let error as any HTTPResponseError where error.status == .contentTooLarge {
      throw APIError(
        413,
        "the body has more than \(options.bodyBytes) bytes",
        code: "body_too_large"
      )
    }
    let bytes = Array(buffer.readableBytesView)
    return request.method == .get || bytes.isEmpty ? .null : try JSON(parsing: bytes)
  }

  /// Reads a body, which may take so long and no longer: who sends a byte a second is not idle.
  private func collect(_ request: Request) async throws -> ByteBuffer {
    try await withThrowingTaskGroup(of: ByteBuffer.self) { [options] group in
      group.addTask {
        var request = request
        return try await request.collectBody(upTo: options.bodyBytes)
      }
      group.addTask {
        try await Task.sleep(for: Self.bodyPatience)
        throw APIError(
          408,
          "the body has not come within \(Self.bodyPatience)",
          code: "request_timeout"
        )
      }
      defer { group.cancelAll() }
      return try await group.next() ?? ByteBuffer()
    }
  }

  /// Two minutes bring the largest body over half a megabit a second.
  private static let bodyPatience = Duration.seconds(120)

  // MARK: Responses

  private static func response(_ document: JSON, status: HTTPResponse.Status = .ok) -> Response {
    Response(
      status: status,
      headers: [.contentType: "application/json"],
      body: ResponseBody(byteBuffer: ByteBuffer(string: document.text))
    )
  }

  private static func response(to error: APIError, isMessages: Bool) -> Response {
    var response = response(
      isMessages ? error.messagesDocument : error.document,
      status: .init(code: error.status)
    )
    if let seconds = error.retryAfter { response.headers[.retryAfter] = "\(seconds)" }
    if let methods = error.allowedMethods { response.headers[.allow] = methods }
    // The rest of its body is of no use.
    if error.status == 408 { response.headers[.connection] = "close" }
    if error.status == 401 { response.headers[.wwwAuthenticate] = "Bearer" }
    return response
  }

  /// A response whose body is written event by event, until it ends or the client goes; where the server ends
  /// before, `ending` comes last.
  private static func events(
    _ hangUp: HangUp,
    ending: ServerEvent,
    _ make:
      @escaping @Sendable (@escaping @Sendable (String) async throws -> Void) async throws ->
      Void
  ) -> Response {
    Response(
      status: .ok,
      headers: eventHeaders,
      body: ResponseBody { writer in
        let texts = AsyncThrowingChannel<String, any Error>()
        let producer = Task {
          do {
            try await hangUp.cancelling {
              try await cancelWhenGracefulShutdown { try await make { await texts.send($0) } }
            }
            texts.finish()
          } catch is CancellationError where Task.isShuttingDownGracefully {
            await texts.send(ending.text)
            texts.finish()
          } catch {
            texts.fail(error)
          }
        }
        defer { producer.cancel() }
        // What is thrown here cuts the connection, as a stream that broke off should look.
        for try await text in texts { try await writer.write(ByteBuffer(string: text)) }
        try await writer.finish(nil)
      }
    )
  }

  private static let eventHeaders: HTTPFields = [
    .contentType: "text/event-stream", .cacheControl: "no-cache",
    HTTPField.Name("x-accel-buffering") ?? .eTag: "no",
  ]

  private static let ending = APIError(
    503,
    "the server is ending",
    type: "server_error",
    code: "shutting_down",
    retryAfter: 2
  )
}
