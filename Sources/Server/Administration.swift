// What operators ask over HTTP: the state of the pipeline, and moves of layers.

internal import Client
internal import Foundation
internal import Wire

extension FrontDoor {
  /// What `trestle status --json` prints.
  func statusDocument() async throws -> JSON {
    try JSON(encoding: StatusDocument(try await status()))
  }

  /// `{"split": [12, 18]}`, or nothing to let the coordinator choose.
  func rebalance(_ body: JSON) async throws -> JSON {
    let fields = try Fields(body == .null ? [:] : body)
    try fields.checkNames("split", "logits_split")
    return try await move { client in
      try await client.rebalance(
        split: try Self.numbers(fields, "split"),
        logitsSplit: try Self.numbers(fields, "logits_split")
      )
    }
  }

  /// `{"worker": NAME}`.
  func drain(_ body: JSON) async throws -> JSON {
    let fields = try Fields(body)
    try fields.checkNames("worker")
    guard let worker = try fields.string("worker") else {
      throw fields.error("worker", "is missing")
    }
    return try await move { try await $0.drain(worker) }
  }

  /// `{"request": ID}`: ends an answer that is under way through this front door.
  func cancel(_ body: JSON) throws -> JSON {
    let fields = try Fields(body)
    try fields.checkNames("request")
    guard let id = try fields.string("request") else { throw fields.error("request", "is missing") }
    guard board.cancel(id) else {
      throw APIError(
        404,
        "request \(id.prefix(80)) is not under way through this front door",
        parameter: "request",
        code: "request_not_found"
      )
    }
    return ["cancelled": true]
  }

  private func move(
    _ ask: (CoordinatorClient) async throws -> Rebalanced
  ) async throws -> JSON {
    do {
      let moved = try await ask(client)
      return [
        "epoch": .integer(Int(moved.epoch)), "layers_moved": .integer(moved.layersMoved),
        "kv_bytes_moved": .integer(Int(clamping: moved.kvBytesMoved)),
        "pause_ms": .number(Double(moved.pauseMicroseconds) / 1000),
      ]
    } catch let error as ClientError {
      throw APIError(error)
    }
  }

  private static func numbers(_ fields: Fields, _ name: String) throws(APIError) -> [Int] {
    var numbers: [Int] = []
    for value in try fields.array(name) ?? [] {
      guard case .integer(let number) = value, number >= 0 else {
        throw fields.error(name, "has \(value.kind), which is no number of layers")
      }
      numbers.append(number)
    }
    return numbers
  }
}

extension JSON {
  /// A document of the client's as the API's JSON.
  init(encoding document: some Encodable) throws {
    try self.init(parsing: Array(DocumentCoding.encode(document)))
  }
}
