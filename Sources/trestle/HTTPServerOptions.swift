// Where the front door listens, and for whom.

import ArgumentParser
import Foundation
import Server

/// The options of the front door.
struct HTTPServerOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Where to listen. An address that other machines reach needs --api-key-file.",
      valueName: "host:port"
    )
  )
  var http = "127.0.0.1:8080"

  @Option(
    help: ArgumentHelp(
      "A file of API keys, one a line; lines with # are comments.",
      valueName: "path"
    )
  )
  var apiKeyFile: String?

  @Flag(help: "Listen without API keys even where other machines can ask.")
  var withoutApiKeys = false

  @Option(
    help: ArgumentHelp(
      "An origin whose pages may use the API, as https://chat.example; may be repeated.",
      valueName: "origin"
    )
  )
  var corsOrigin: [String] = []

  @Option(
    help: ArgumentHelp(
      "A name by which this server may be asked for, beside localhost; may be repeated.",
      valueName: "name"
    )
  )
  var allowHost: [String] = []

  @Option(
    help: ArgumentHelp("The name that clients see. Default: the model's own.", valueName: "name")
  )
  var modelName: String?

  @Option(
    help: ArgumentHelp(
      "A file with a Jinja chat template, in place of the model's own.",
      valueName: "path"
    )
  )
  var chatTemplate: String?

  private static let loopback = ["127.0.0.1", "localhost", "[::1]", "::1"]

  /// - Throws: `CommandError` for an address that is none, a key file that cannot be read, or an open door
  ///   without keys.
  func options() throws -> HTTPOptions {
    let (host, port) = try address()
    let keys = try apiKeyFile.map(Self.keys) ?? []
    let isLocal = Self.loopback.contains(host)
    guard isLocal || !keys.isEmpty || withoutApiKeys else {
      throw CommandError(
        "--http \(http): other machines can reach it; give --api-key-file (`trestle serve` has --without-api-keys for "
          + "whoever trusts everybody there)"
      )
    }
    return HTTPOptions(
      host: host == "[::1]" ? "::1" : host,
      port: port,
      access: Access(
        keys: keys,
        hosts: isLocal || !allowHost.isEmpty ? Self.loopback + allowHost : nil,
        origins: corsOrigin
      )
    )
  }

  private func address() throws -> (host: String, port: Int) {
    guard let colon = http.lastIndex(of: ":"), let port = Int(http[http.index(after: colon)...]),
      (0...65535).contains(port)
    else { throw CommandError("--http \(http): give HOST:PORT, for example 127.0.0.1:8080") }
    let host = String(http[..<colon])
    guard !host.contains("/") else {
      throw CommandError(
        "--http \(http): give HOST:PORT without a scheme, for example 127.0.0.1:8080"
      )
    }
    return (host.isEmpty ? "0.0.0.0" : host, port)
  }

  private static func keys(_ path: String) throws -> [String] {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw CommandError("--api-key-file \(path): cannot be read")
    }
    let keys = String(decoding: data, as: UTF8.self).split(whereSeparator: \.isNewline)
      .map { $0.trimmingCharacters(in: .whitespaces) }
      .filter { !$0.isEmpty && !$0.hasPrefix("#") }
    guard !keys.isEmpty else { throw CommandError("--api-key-file \(path): has no key") }
    return keys
  }
}
