// Which function answers which method and path.

internal import Foundation
internal import HTTPTypes

/// A way to ask for something.
struct Route: Sendable {
  enum Answering: Sendable {
    /// A document, from the body; null without one.
    case document(@Sendable (FrontDoor, JSON) async throws -> JSON)
    /// An answer of the model, whole or as a stream.
    case answer(@Sendable (FrontDoor, JSON) async throws -> BegunAnswer)
    /// Other bytes.
    case bytes(type: String, @Sendable (FrontDoor) async throws -> [UInt8])
    /// Documents as server-sent events, until the client goes.
    case events(@Sendable (FrontDoor, (String) async throws -> Void) async throws -> Void)
    /// The web page.
    case page
  }

  var method: HTTPRequest.Method
  var path: String
  var needsKey = true
  var answering: Answering
}

extension Route {
  private static func get(
    _ path: String,
    needsKey: Bool = true,
    _ make: @escaping @Sendable (FrontDoor) async throws -> JSON
  ) -> Route {
    Route(
      method: .get,
      path: path,
      needsKey: needsKey,
      answering: .document { door, _ in try await make(door) }
    )
  }

  private static func post(
    _ path: String,
    _ make: @escaping @Sendable (FrontDoor, JSON) async throws -> JSON
  ) -> Route {
    Route(method: .post, path: path, answering: .document(make))
  }

  private static func answer(
    _ path: String,
    _ begin: @escaping @Sendable (FrontDoor, JSON) async throws -> BegunAnswer
  ) -> Route {
    Route(method: .post, path: path, answering: .answer(begin))
  }

  static let all: [Route] = [
    Route(method: .get, path: "/", needsKey: false, answering: .page),
    get("/health", needsKey: false) { _ in ["status": "ok"] },
    get("/ready", needsKey: false) { door in
      try await door.checkReady()
      return ["status": "ok"]
    },
    Route(
      method: .get,
      path: "/openapi.json",
      needsKey: false,
      answering: .bytes(type: "application/json") { _ in Page.description }
    ),
    get("/v1/models") { $0.models },
    answer("/v1/chat/completions") { try await $0.chat($1) },
    answer("/v1/completions") { try await $0.complete($1) },
    answer("/v1/responses") { try await $0.respond($1) },
    answer(messagesPath) { try await $0.messages($1) },
    post("\(messagesPath)/count_tokens") { try $0.countTokens($1) },
    post("/tokenize") { try await $0.tokenize($1) },
    post("/detokenize") { try $0.detokenize($1) },
    post("/apply-template") { try $0.applyTemplate($1) },
    get("/tokenizer_info") { $0.tokenizerInfo },
    Route(
      method: .get,
      path: "/metrics",
      answering: .bytes(type: "text/plain; version=0.0.4; charset=utf-8") { door in
        Array(Metrics(try await door.status(), version: door.version, door.counters).text.utf8)
      }
    ),
    get("/api/status") { try await $0.statusDocument() },
    Route(
      method: .get,
      path: "/api/events",
      answering: .events { door, send in try await door.feed.forEach(send) }
    ),
    post("/api/rebalance") { try await $0.rebalance($1) },
    post("/api/drain") { try await $0.drain($1) },
    post("/api/cancel") { try $0.cancel($1) },
  ]

  /// Anthropic's interface, whose errors have a form of their own.
  static let messagesPath = "/v1/messages"

  static let modelPrefix = "/v1/models/"

  /// Returns what counters call a path.
  static func label(_ path: String) -> String {
    if path.hasPrefix(modelPrefix) { return modelPrefix + "{model}" }
    return all.contains { $0.path == path } ? path : "other"
  }

  /// Returns the route of a request.
  ///
  /// - Throws: `APIError` 404 for an unknown path, 405 for another method of a known one.
  static func find(_ method: HTTPRequest.Method, _ path: String) throws(APIError) -> Route {
    let known = routes(path)
    if let route = known.first(where: { $0.method == method }) { return route }
    guard !known.isEmpty else {
      throw APIError(
        404,
        "there is no \(path.prefix(200)); see GET /openapi.json",
        code: "not_found"
      )
    }
    let methods = known.map(\.method.rawValue)
    var error = APIError(
      405,
      "\(path.prefix(200)) is asked with \(methods.joined(separator: " or "))",
      code: "method_not_allowed"
    )
    // What can be asked with GET can be asked with HEAD.
    error.allowedMethods = methods.map { $0 == "GET" ? "GET, HEAD" : $0 }.joined(separator: ", ")
    throw error
  }

  private static func routes(_ path: String) -> [Route] {
    guard path.hasPrefix(modelPrefix) else { return all.filter { $0.path == path } }
    let name = String(path.dropFirst(modelPrefix.count)).removingPercentEncoding ?? ""
    return [get(path) { try $0.model(named: name) }]
  }
}
