// The two forms of an endpoint, and the errors for anything else.

import Testing
import Wire

@Suite struct `Endpoint form` {
  @Test(arguments: [
    "ipc:///run/trestle/front", "tcp://127.0.0.1:5555", "tcp://*:5555", "tcp://0.0.0.0:*",
    "tcp://worker-3.example.org:65535", "tcp://[::1]:5555", "tcp://[fe80::1%eth0]:1",
  ])
  func `a well-formed one is read and written the same`(text: String) throws {
    #expect(try Endpoint(text).description == text)
    #expect(try Endpoint(text) == Endpoint(text))
  }

  @Test(arguments: [
    "", "front", "ipc://", "ipc://relative", "ipc://*", "ipc://@abstract", "ipc:///",
    "ipc:///run/", "ipc:///a\u{0}b", "http://localhost:80", "inproc://x", "tcp://", "tcp://host",
    "tcp://host:", "tcp://:5555", "tcp://host:0", "tcp://host:65536", "tcp://host:-1",
    "tcp://host:+1", "tcp://host:٣", "tcp://ho st:1", "tcp://a;b:1", "tcp://::1:5555",
    "tcp://[::1:5555", "tcp://[]:1", "TCP://host:1",
  ])
  func `a misspelled one is refused with its text`(text: String) throws {
    let error = #expect(throws: WireError.self) { try Endpoint(text) }
    #expect(error?.code == .endpoint)
    #expect(error?.message.contains(text) == true, "\(error as Any)")
  }

  @Test func `a path that the system has no room for is refused with both sizes`() throws {
    let longest = "ipc:///" + String(repeating: "x", count: 106)
    #expect(try Endpoint(longest).socketPath?.utf8.count == 107)
    let error = #expect(throws: WireError.self) { try Endpoint(longest + "x") }
    #expect(error?.code == .endpoint)
    #expect(error?.message.contains("has 108 bytes") == true)
    #expect(error?.message.contains("107") == true)
  }

  @Test func `what stays on the machine is known`() throws {
    for text in [
      "ipc:///a", "tcp://127.0.0.1:1", "tcp://127.8.9.1:1", "tcp://localhost:1", "tcp://[::1]:1",
    ] {
      #expect(try Endpoint(text).isLocal, "\(text)")
    }
    for text in [
      "tcp://*:1", "tcp://0.0.0.0:1", "tcp://10.0.0.1:1", "tcp://127.0.0.1.example.org:1",
      "tcp://127.example:1", "tcp://[::]:1",
    ] {
      #expect(try !Endpoint(text).isLocal, "\(text)")
    }
  }
}
