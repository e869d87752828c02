// Name resolution. libzmq binds only interfaces and addresses, does not report a host name that
// does not exist when it connects, and uses IPv6 only if told to. So names are resolved here, in
// the same way for listening and for connecting.

internal import Glibc

extension Endpoint {
  /// Returns the endpoint with the name of its host or network interface replaced by an address.
  ///
  /// Of several addresses it takes the first IPv4 one, else the first IPv6 one, so that both ends
  /// choose the same. It may query a name server and block until the answer comes.
  ///
  /// - Throws: `WireError` with code `endpoint` that names the text that is neither a host nor an
  ///   interface.
  func resolved() throws(WireError) -> Endpoint {
    guard case .tcp(let host, let port) = kind, host != "*", !hasAddress else { return self }
    if let address = Self.address(ofInterface: host) {
      return try Endpoint("tcp://\(address):\(port.map { "\($0)" } ?? "*")")
    }
    let address = try Self.address(ofHost: host, self)
    return try Endpoint("tcp://\(address):\(port.map { "\($0)" } ?? "*")")
  }

  /// Whether no name has to be resolved: the endpoint is ipc, or tcp with an address.
  package var hasAddress: Bool {
    guard case .tcp(let host, _) = kind else { return true }
    if isIPv6 { return true }
    var address = in_addr()
    return unsafe inet_pton(AF_INET, host, &address) == 1
  }

  /// Whether its host is an address in brackets.
  var isIPv6: Bool {
    if case .tcp(let host, _) = kind { host.hasPrefix("[") } else { false }
  }

  private static func address(ofHost host: String, _ endpoint: Endpoint) throws(WireError) -> String
  {
    var hints = unsafe addrinfo()
    unsafe hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    let status = unsafe getaddrinfo(host, nil, &hints, &list)
    guard status == 0 else {
      throw WireError(
        .endpoint,
        "\"\(host)\" in \(endpoint) is the name of no host that can be found "
          + "(\(unsafe String(cString: gai_strerror(status)))), and of no network interface here"
      )
    }
    defer { unsafe freeaddrinfo(list) }
    var addresses: [(family: CInt, text: String)] = []
    var next = unsafe list
    while let info = unsafe next?.pointee {
      if let address = unsafe info.ai_addr, let text = unsafe text(of: address) {
        unsafe addresses.append((info.ai_family, text))
      }
      unsafe next = unsafe info.ai_next
    }
    guard let chosen = choice(addresses) else {
      throw WireError(
        .endpoint,
        "\"\(host)\" in \(endpoint) has neither an IPv4 nor an IPv6 address"
      )
    }
    return chosen
  }

  /// Returns the address of a network interface; nil if the interface does not exist or has no
  /// address.
  private static func address(ofInterface name: String) -> String? {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard unsafe getifaddrs(&list) == 0 else { return nil }
    defer { unsafe freeifaddrs(list) }
    var addresses: [(family: CInt, text: String)] = []
    var next = unsafe list
    while let entry = unsafe next?.pointee {
      if unsafe String(cString: entry.ifa_name) == name, let address = unsafe entry.ifa_addr,
        let text = unsafe text(of: address)
      {
        unsafe addresses.append((CInt(address.pointee.sa_family), text))
      }
      unsafe next = unsafe entry.ifa_next
    }
    return choice(addresses)
  }

  private static func choice(_ addresses: [(family: CInt, text: String)]) -> String? {
    (addresses.first { $0.family == AF_INET } ?? addresses.first)?.text
  }

  /// Returns an address in the form that endpoints use, IPv6 in brackets; nil for other address
  /// families.
  private static func text(of address: UnsafeMutablePointer<sockaddr>) -> String? {
    let family = unsafe CInt(address.pointee.sa_family)
    guard family == AF_INET || family == AF_INET6 else { return nil }
    let size =
      family == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
    var host = [CChar](repeating: 0, count: 256)
    let status = unsafe getnameinfo(
      address,
      socklen_t(size),
      &host,
      socklen_t(host.count),
      nil,
      0,
      NI_NUMERICHOST
    )
    guard status == 0 else { return nil }
    let text = String(decoding: host.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    return family == AF_INET ? text : "[\(text)]"
  }
}
