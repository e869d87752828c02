// Which hub is asked, where its files are kept, and who asks: the variables that huggingface_hub and llama.cpp read, too.

internal import Glibc
internal import Platform

/// The surroundings of whoever fetches models.
package struct HubSettings: Sendable {
  /// The hub's address without a slash at the end.
  package var endpoint: String
  /// The directory of the repositories.
  package var cache: String
  /// Sent to the hub, and to nobody else.
  package var token: String?
  /// Whether only the cache is looked at.
  package var isOffline: Bool
  /// What the program calls itself.
  package var agent: String

  package init(
    endpoint: String,
    cache: String,
    token: String? = nil,
    isOffline: Bool = false,
    agent: String
  ) {
    self.endpoint = endpoint
    self.cache = cache
    self.token = token
    self.isOffline = isOffline
    self.agent = agent
  }

  /// The settings of a user.
  ///
  /// - Parameters:
  ///   - environment: Returns the value of a variable.
  ///   - home: The home directory.
  ///   - agent: What the program calls itself.
  ///   - isOffline: Whether only the cache is looked at, whatever the user's variables say; then the hub's do not matter.
  /// - Throws: `HubError.name` for an address or a token that is none.
  package init(
    environment: (String) -> String?,
    home: String,
    agent: String,
    isOffline: Bool = false
  ) throws(HubError) {
    // An empty variable counts as absent, a path that begins with a tilde as one of the user's.
    func value(_ name: String) -> String? { environment(name).flatMap { $0.isEmpty ? nil : $0 } }
    func path(_ name: String) -> String? {
      value(name).map { $0 == "~" || $0.hasPrefix("~/") ? home + $0.dropFirst() : $0 }
    }
    var endpoint = value("MODEL_ENDPOINT") ?? value("HF_ENDPOINT") ?? "https://huggingface.co"
    while endpoint.hasSuffix("/") { endpoint.removeLast() }
    let isAddress =
      (endpoint.hasPrefix("https://") || endpoint.hasPrefix("http://"))
      && endpoint.unicodeScalars.allSatisfy { $0.value > 0x20 && $0.value < 0x7F }
    guard isOffline || isAddress else {
      throw HubError(
        .name,
        "is no address of a hub: HF_ENDPOINT (or MODEL_ENDPOINT) begins with https:// or http://",
        context: endpoint
      )
    }
    let base = path("HF_HOME") ?? (path("XDG_CACHE_HOME") ?? "\(home)/.cache") + "/huggingface"
    let token =
      isOffline
      ? nil : value("HF_TOKEN") ?? Self.firstLine(of: path("HF_TOKEN_PATH") ?? "\(base)/token")
    self.init(
      endpoint: endpoint,
      cache: path("HF_HUB_CACHE") ?? "\(base)/hub",
      token: try token.flatMap(Self.token),
      isOffline: isOffline
        || ["1", "on", "yes", "true"].contains(value("HF_HUB_OFFLINE")?.lowercased()),
      agent: agent
    )
  }

  /// Returns a token without the space around it; nil if nothing is left.
  private static func token(_ text: String) throws(HubError) -> String? {
    let scalars = text.unicodeScalars.drop { $0 == " " || $0 == "\t" }
    let end = scalars.lastIndex { !$0.properties.isWhitespace }
    guard let end else { return nil }
    let token = scalars[...end]
    // It goes into a header, where a line break would begin another.
    guard token.allSatisfy({ $0.value > 0x20 && $0.value < 0x7F }) else {
      throw HubError(
        .name,
        "is no token: it has spaces or other signs inside; copy it again from the hub's settings",
        context: "HF_TOKEN"
      )
    }
    return String(token)
  }

  /// Returns the first line of a file; nil if it cannot be read.
  private static func firstLine(of path: String) -> String? {
    guard let file = unsafe fopen(path, "re") else { return nil }
    defer { unsafe fclose(file) }
    var buffer = [CChar](repeating: 0, count: 4096)
    guard unsafe fgets(&buffer, CInt(buffer.count), file) != nil else { return nil }
    let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    return String(decoding: bytes, as: UTF8.self)
  }
}
