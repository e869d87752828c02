// Keys, host names and origins.

import HTTPTypes
import Testing

@testable import Server

@Suite struct `Access to the API` {
  @Test func `one of the keys is needed, in either header`() throws {
    let access = Access(keys: ["alpha", "beta"], hosts: nil, origins: [])
    try access.checkKey([.authorization: "Bearer beta"])
    try access.checkKey([.authorization: "bearer alpha"])
    try access.checkKey([HTTPField.Name("x-api-key") ?? .eTag: "alpha"])
    for headers: HTTPFields in [
      [:], [.authorization: "Bearer gamma"], [.authorization: "Bearer alph"],
      [.authorization: "alpha"],
    ] {
      let error = #expect(throws: APIError.self) { try access.checkKey(headers) }
      #expect(error?.status == 401 && error?.code == "invalid_api_key")
    }
    try Access(keys: [], hosts: nil, origins: []).checkKey([:])
  }

  @Test func `pages of other origins may ask for nothing to be done`() throws {
    let access = Access(keys: [], hosts: nil, origins: ["https://chat.example"])
    for origin in [nil, "https://chat.example", "http://127.0.0.1:8080", "HTTP://127.0.0.1:8080"] {
      try access.checkOrigin(origin, "127.0.0.1:8080")
    }
    for origin in [
      "http://evil.example", "null", "http://127.0.0.1:9090", "https://chat.example.evil",
    ] {
      let error = #expect(throws: APIError.self) {
        try access.checkOrigin(origin, "127.0.0.1:8080")
      }
      #expect(error?.status == 403 && error?.code == "origin_not_allowed")
    }
  }

  @Test func `a name that leads to this machine is not enough`() throws {
    let access = Access(keys: [], hosts: ["localhost", "127.0.0.1", "[::1]"], origins: [])
    for name in ["localhost", "LOCALHOST:8080", "127.0.0.1:80", "[::1]:8080"] {
      try access.checkHost(name)
    }
    for name in ["evil.example", "localhost.evil.example:8080", "", "127.0.0.1.nip.io"] {
      let error = #expect(throws: APIError.self) { try access.checkHost(name) }
      #expect(error?.status == 403)
    }
  }

  @Test func `only exact origins may read answers`() {
    let access = Access(keys: [], hosts: nil, origins: ["https://chat.example"])
    #expect(
      access.crossOriginHeaders("https://chat.example")[.accessControlAllowOrigin]
        == "https://chat.example"
    )
    for origin in ["https://chat.example.evil", "http://chat.example", "null"] {
      #expect(access.crossOriginHeaders(origin).isEmpty)
    }
  }
}
