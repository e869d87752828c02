// Who may ask: keys, the host's name against DNS rebinding, and pages of other origins.

internal import HTTPTypes

/// What requests must bring.
package struct Access: Sendable {
  /// Any of them is good; empty for none needed.
  private let keys: [[UInt8]]
  /// The names by which this server is asked for; nil for any.
  private let hosts: Set<String>?
  /// The origins whose pages may read answers.
  private let origins: Set<String>

  /// - Parameters:
  ///   - keys: The keys; empty to need none.
  ///   - hosts: The names, without ports, that `Host` may have; nil for any. A page that a hostile name leads
  ///     to this machine asks with that name.
  ///   - origins: Exact origins whose pages may read answers.
  package init(keys: [String], hosts: [String]?, origins: [String]) {
    self.keys = keys.map { Array($0.utf8) }
    self.hosts = hosts.map { Set($0.map { $0.lowercased() }) }
    self.origins = Set(origins)
  }

  package var needsKey: Bool { !keys.isEmpty }

  /// - Throws: `APIError` 401 without a good key.
  func checkKey(_ headers: HTTPFields) throws(APIError) {
    guard needsKey else { return }
    let bearer = headers[.authorization].flatMap { value in
      value.lowercased().hasPrefix("bearer ") ? String(value.dropFirst(7)) : nil
    }
    let given = Array((bearer ?? headers[Self.apiKey] ?? "").utf8)
    // Every key is compared, and each in full, so that the time tells nothing of them.
    var isGood = false
    for key in keys where Self.areEqual(key, given) { isGood = true }
    guard isGood else {
      throw APIError(
        401,
        given.isEmpty
          ? "no API key; send one as `Authorization: Bearer KEY`" : "the API key is not known",
        code: "invalid_api_key"
      )
    }
  }

  private static let apiKey = HTTPField.Name("x-api-key") ?? .authorization

  private static func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    guard left.count == right.count else { return false }
    return zip(left, right).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
  }

  /// - Throws: `APIError` 403 for a name that is not this server's.
  func checkHost(_ authority: String?) throws(APIError) {
    guard let hosts else { return }
    let name = Self.hostName(authority ?? "")
    guard hosts.contains(name) else {
      throw APIError(
        403,
        "\"\(name.prefix(200))\" is not this server's name; ask for localhost, or start it with --allow-host",
        code: "host_not_allowed"
      )
    }
  }

  /// Refuses what a page of another origin asks to be done: a browser sends that even where the page may not read
  /// the answer.
  ///
  /// - Throws: `APIError` 403 for an origin that is neither this server's nor allowed.
  func checkOrigin(_ origin: String?, _ authority: String?) throws(APIError) {
    guard let origin, !origins.contains(origin) else { return }
    let own = (authority ?? "").lowercased()
    guard origin.lowercased() != "http://\(own)", origin.lowercased() != "https://\(own)" else {
      return
    }
    throw APIError(
      403,
      "pages of \"\(origin.prefix(200))\" may not use this server; start it with --cors-origin to let them",
      code: "origin_not_allowed"
    )
  }

  /// An authority without its port.
  static func hostName(_ authority: String) -> String {
    let lower = authority.lowercased()
    if lower.hasPrefix("["), let end = lower.firstIndex(of: "]") { return String(lower[...end]) }
    return String(lower.prefix { $0 != ":" })
  }

  /// The headers that let a page of an allowed origin read the answer.
  func crossOriginHeaders(_ origin: String?) -> HTTPFields {
    guard let origin, origins.contains(origin) else { return [:] }
    return [
      .accessControlAllowOrigin: origin, .vary: "Origin",
      .accessControlAllowHeaders: "authorization, content-type, x-api-key",
      .accessControlAllowMethods: "GET, POST, OPTIONS",
    ]
  }
}
