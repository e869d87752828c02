// Where a socket listens: ipc:// for processes of one machine, tcp:// for several.

/// An endpoint that has been checked for its form.
package struct Endpoint: Sendable, Hashable, CustomStringConvertible {
  package enum Kind: Sendable, Hashable {
    /// A socket in the file system.
    case ipc(path: String)
    /// A port of nil means that the system chooses one when a socket is bound.
    case tcp(host: String, port: UInt16?)
  }

  package let kind: Kind

  private init(kind: Kind) { self.kind = kind }

  /// Reads `ipc:///absolute/path` or `tcp://host:port`.
  ///
  /// The host is a name, a network interface, or an address (IPv6 in brackets). The port may be `*`
  /// to bind any free one.
  ///
  /// - Throws: `WireError` with code `endpoint` that says what is expected.
  package init(_ string: String) throws(WireError) {
    if string.hasPrefix("ipc://") {
      kind = try Self.ipc(String(string.dropFirst(6)), string)
    } else if string.hasPrefix("tcp://") {
      kind = try Self.tcp(string.dropFirst(6), string)
    } else {
      throw WireError(
        .endpoint,
        "\"\(string)\" is not an endpoint; write ipc:///absolute/path or tcp://host:port"
      )
    }
  }

  package var description: String {
    switch kind {
    case .ipc(let path): "ipc://\(path)"
    case .tcp(let host, let port): "tcp://\(host):\(port.map { "\($0)" } ?? "*")"
    }
  }

  /// The path of an ipc socket; nil for tcp.
  package var socketPath: String? {
    if case .ipc(let path) = kind { path } else { nil }
  }

  /// The endpoint by which processes of this machine reach a socket that listens at all addresses.
  package var fromHere: Endpoint {
    guard case .tcp(let host, let port) = kind, Self.isWildcard(host) else { return self }
    return Endpoint(kind: .tcp(host: host == "[::]" ? "[::1]" : "127.0.0.1", port: port))
  }

  /// Whether a socket can connect to it, rather than only bind it.
  package var isConnectable: Bool {
    switch kind {
    case .ipc: true
    case .tcp(let host, let port): !Self.isWildcard(host) && (port ?? 0) != 0
    }
  }

  /// Whether it stands for all addresses of the machine.
  package var isWildcard: Bool {
    if case .tcp(let host, _) = kind { Self.isWildcard(host) } else { false }
  }

  /// Whether only processes of this machine can reach it: ipc, or tcp at a loopback address.
  package var isLocal: Bool {
    switch kind {
    case .ipc: true
    case .tcp(let host, _): host == "localhost" || host == "[::1]" || Self.isLoopbackIPv4(host)
    }
  }
}

extension Endpoint {
  private static func ipc(_ path: String, _ string: String) throws(WireError) -> Kind {
    guard path.hasPrefix("/"), !path.hasSuffix("/"), !path.utf8.contains(0) else {
      throw WireError(
        .endpoint,
        "\"\(string)\" needs an absolute path of a file, as in ipc:///run/trestle/front"
      )
    }
    let count = path.utf8.count
    guard count <= Limits.socketPathBytes else {
      throw WireError(
        .endpoint,
        "the path of \"\(string)\" has \(count) bytes; the system allows a socket \(Limits.socketPathBytes), choose a shorter directory"
      )
    }
    return .ipc(path: path)
  }

  private static func tcp(_ rest: Substring, _ string: String) throws(WireError) -> Kind {
    guard let colon = rest.lastIndex(of: ":") else {
      throw WireError(.endpoint, "\"\(string)\" has no port; write tcp://host:port")
    }
    let host = String(rest[..<colon])
    let portText = rest[rest.index(after: colon)...]
    guard isHost(host) else {
      throw WireError(
        .endpoint,
        "\"\(host)\" in \"\(string)\" is not a host; write a name, an address or [IPv6]"
      )
    }
    if portText == "*" { return .tcp(host: host, port: nil) }
    guard portText.utf8.allSatisfy({ (48...57).contains($0) }), let port = UInt16(portText),
      port > 0
    else {
      throw WireError(
        .endpoint,
        "\"\(portText)\" in \"\(string)\" is not a port; write 1 to 65535, or * to bind any"
      )
    }
    return .tcp(host: host, port: port)
  }

  /// Accepts letters, digits, dots and hyphens, at most 253 (RFC 1035); `*` for all interfaces; or
  /// hexadecimal digits, colons and dots in brackets, with a zone.
  private static func isHost(_ host: String) -> Bool {
    if host == "*" { return true }
    guard !host.isEmpty, host.utf8.count <= 253 else { return false }
    if host.hasPrefix("[") {
      guard host.hasSuffix("]") else { return false }
      let inner = host.dropFirst().dropLast()
      return inner.contains(":") && inner.utf8.allSatisfy { isNameByte($0) || $0 == 58 || $0 == 37 }
    }
    return host.utf8.allSatisfy(isNameByte)
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 48...57, 65...90, 97...122, 45, 46, 95: true  // 0-9 A-Z a-z - . _
    default: false
    }
  }

  fileprivate static func isWildcard(_ host: String) -> Bool {
    host == "*" || host == "0.0.0.0" || host == "[::]"
  }

  private static func isLoopbackIPv4(_ host: String) -> Bool {
    let parts = host.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }
}
