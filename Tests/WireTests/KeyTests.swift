// Keys, the file of allowed keys, and the directory that holds them.

import Foundation
import Glibc
import Platform
import Testing
import TestSupport
import Wire

@Suite struct `Keys` {
  /// The key pairs of zmq_curve(7).
  static let pairs: [(public: String, secret: String)] = [
    ("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"),
    ("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"),
  ]

  @Test func `the public key follows from the secret one`() throws {
    for pair in Self.pairs {
      let keys = try KeyPair(secretKey: SecretKey(pair.secret))
      #expect(keys.publicKey.description == pair.public)
    }
  }

  @Test func `new keys differ and can be typed`() throws {
    let keys = try (0..<100).map { _ in try KeyPair.make().publicKey }
    #expect(Set(keys).count == 100)
    #expect(keys.allSatisfy { $0.description.first.map { $0.isLetter || $0.isNumber } == true })
  }

  @Test func `a secret key shows itself nowhere`() throws {
    let pair = Self.pairs[0]
    let keys = try KeyPair(secretKey: SecretKey(pair.secret))
    var dumped = ""
    dump(keys, to: &dumped)
    for text in ["\(keys)", String(reflecting: keys), dumped] {
      #expect(text.contains(pair.public) && !text.contains(pair.secret), "\(text)")
    }
  }

  @Test(arguments: [
    "", "short", String(repeating: "a", count: 41), String(repeating: "~", count: 40),
    String(repeating: "#", count: 40), String(repeating: " ", count: 40),
    String(repeating: "é", count: 20),
    String(repeating: "a", count: 20) + "\u{0}"
      + String(
        repeating: "a",
        count: 19
      ),
  ])
  func `a text that is no key is refused, and not repeated`(text: String) throws {
    let error = #expect(throws: WireError.self) { try PublicKey(text) }
    #expect(error?.code == .key)
    #expect(text.isEmpty || error?.message.contains(text) == false, "\(error as Any)")
    #expect(throws: WireError.self) { try SecretKey(text) }
  }
}

@Suite struct `Key list` {
  private let first = Keys.pairs[0].public
  private let second = Keys.pairs[1].public

  private func parse(_ text: String) throws -> KeyList {
    try KeyList(parsing: Array(text.utf8), path: "allowed")
  }

  @Test func `comments and order are kept`() throws {
    let text = "# ours\n\n\(first)  laptop\r\n#\n\t\(second)\tdesk.2_b-C  \n# end"
    var list = try parse(text)
    #expect(list.entries.map(\.name) == ["laptop", "desk.2_b-C"])
    #expect(list[name: "laptop"]?.description == first)
    #expect(try list.contains(PublicKey(second)))
    #expect(list.text == "# ours\n\n\(first)  laptop\n#\n\(second)  desk.2_b-C\n# end\n")
    #expect(try parse(list.text) == list)
    #expect(list.remove("nobody") == nil)
    #expect(list.remove(second)?.name == "desk.2_b-C")
    #expect(list.remove("laptop")?.key.description == first)
    #expect(list.text == "# ours\n\n#\n# end\n")
  }

  @Test func `no key begins as a comment does`() throws {
    for last in ["0", "a", "#"] {
      #expect(throws: WireError.self) { try PublicKey("#" + first.dropFirst().dropLast() + last) }
    }
    let key = "rq#rM" + second.dropFirst(5)
    #expect(try parse("#a comment\n\(key) sharp\n").entries.map(\.key.description) == [key])
  }

  @Test func `a bad line is refused with its number`() throws {
    let cases: [(line: String, part: String)] = [
      (first, "a key, a name"), ("\(first) a b", "\"b\" is not a role"),
      ("\(first) a ask,", "\"\" is not a role"), ("\(first) a ask work", "4 words"),
      ("\(first) \(String(repeating: "n", count: 33))", "not a name"), ("\(first) na/me", "na/me"),
      ("\(first) ñ", "not a name"), ("abc name", "3"), ("\(second) one", "there already"),
      ("\(first) two", "called \"two\" already"),
    ]
    for (line, part) in cases {
      let error = #expect(throws: WireError.self) { try parse("\(second) two\n\n\(line)\n") }
      #expect(error?.code == .key && error?.context == "allowed, line 3", "\(error as Any)")
      #expect(error?.message.contains(part) == true, "\(error as Any)")
    }
    #expect(throws: WireError.self) { try KeyList(parsing: [0xff], path: "allowed") }
    let long = [UInt8](repeating: 10, count: Limits.keyFileBytes + 1)
    #expect(throws: WireError.self) { try KeyList(parsing: long, path: "allowed") }
    #expect(try KeyList(parsing: long.dropLast(), path: "allowed").entries.isEmpty)
  }

  @Test func `a line may say what its key may do, and gives all if it does not`() throws {
    let text = "\(first)  phone  ask\n\(second)  desk\n"
    var list = try parse(text)
    #expect(list.entries.map(\.roles) == [[.ask], [.ask, .work, .operate]])
    #expect(list.text == text)
    try list.set([.operate, .work], of: PublicKey(second))
    #expect(list.text == "\(first)  phone  ask\n\(second)  desk  work,operate\n")
    try list.set(Role.all, of: PublicKey(first))
    #expect(list.text == "\(first)  phone\n\(second)  desk  work,operate\n")
    #expect(try parse("\(first) phone operate,ask,work").entries[0].roles == Role.all)
  }

  @Test func `a free name is one that nobody has`() throws {
    #expect(try parse("\(first) key-1\n\(second) key-3\n").freeName == "key-2")
  }

  @Test(.seeded(default: 61)) func `corrupted files are refused or read, and written the same`()
    throws
  {
    var random = SeededRandom(testSeed(default: 61))
    let good = Array("# ours\n\(first) laptop ask,work\n\n\(second)\tdesk\n# end\n".utf8)
    var readCount = 0
    for _ in 0..<fuzzIterations(default: 5000) {
      let bytes = random.corrupted(good)
      do {
        let list = try KeyList(parsing: bytes, path: "allowed")
        readCount += 1
        #expect(list.entries.count <= 3)
        #expect(try parse(list.text) == list)
      } catch let error as WireError {
        #expect(error.code == .key)
      }
    }
    #expect(readCount > 0)
  }
}

@Suite struct `Key directory` {
  private func mode(_ path: String) -> mode_t {
    var status = stat()
    return unsafe stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
  }

  @Test func `keys are made once, in files of their owner`() throws {
    try withTemporaryDirectory { path in
      let directory = KeyDirectory("\(path)/config/trestle/keys")
      #expect(try directory.keyPair() == nil)
      #expect(try directory.allowed() == KeyList())
      #expect(!FileManager.default.fileExists(atPath: "\(path)/config"))
      let made = try directory.makeKeyPair()
      #expect(made.isNew)
      let again = try directory.makeKeyPair()
      #expect(!again.isNew && again.keys == made.keys)
      #expect(try directory.keyPair() == made.keys)
      var list = KeyList()
      try list.add(made.keys.publicKey, name: "me")
      try directory.change { $0 = list }
      #expect(try directory.allowed() == list)
      #expect(mode(directory.path) == 0o700)
      #expect(mode(directory.secretPath) == 0o600 && mode(directory.allowedPath) == 0o600)
      let files = try FileManager.default.contentsOfDirectory(atPath: directory.path)
      #expect(Set(files) == ["secret", "allowed"])
    }
  }

  @Test func `files that others can read or write are refused`() throws {
    try withTemporaryDirectory { path in
      let directory = KeyDirectory("\(path)/keys")
      _ = try directory.makeKeyPair()
      try directory.change { try $0.add(PublicKey(Keys.pairs[0].public), name: "me") }
      for (file, bits) in [(directory.secretPath, mode_t(0o640)), (directory.allowedPath, 0o620)] {
        unsafe chmod(file, bits)
        let error = #expect(throws: WireError.self) {
          _ = try directory.keyPair()
          _ = try directory.allowed()
        }
        #expect(error?.message.contains(file) == true, "\(error as Any)")
        #expect(error?.message.contains("chmod 600") == true, "\(error as Any)")
        unsafe chmod(file, 0o600)
      }
      unsafe chmod(directory.path, 0o770)
      let error = #expect(throws: WireError.self) { try directory.change { _ in } }
      #expect(error?.message.contains(directory.path) == true, "\(error as Any)")
      // Nothing is read there either, because someone could have replaced this list by an earlier
      // one.
      #expect(throws: WireError.self) { try directory.allowed() }
      #expect(throws: WireError.self) { try directory.keyPair() }
    }
  }

  @Test func `of many changes at once every one is kept`() throws {
    try withTemporaryDirectory { path in
      let directory = KeyDirectory("\(path)/keys")
      let keys = try (0..<11).map { _ in try KeyPair.make().publicKey }
      let old = try KeyPair.make().publicKey
      try directory.change { try $0.add(old, name: "old") }
      let failures = Lock(0)
      let threads = try keys.enumerated().map { index, key in
        try Thread {
          do {
            if index == 0 { _ = try directory.change { $0.remove("old") } }
            try directory.change { try $0.add(key, name: "key-\(index)") }
          } catch {
            failures.withLock { $0 += 1 }
          }
        }
      }
      for thread in threads { thread.join() }
      #expect(failures.withLock { $0 } == 0)
      #expect(try Set(directory.allowed().entries.map(\.key)) == Set(keys))
    }
  }

  @Test func `a change that fails leaves the file as it was`() throws {
    try withTemporaryDirectory { path in
      let directory = KeyDirectory(path)
      try directory.change { try $0.add(PublicKey(Keys.pairs[0].public), name: "me") }
      let before = try String(contentsOfFile: directory.allowedPath, encoding: .utf8)
      #expect(throws: WireError.self) {
        try directory.change { list in
          _ = list.remove("me")
          try list.add(PublicKey("no key"), name: "you")
        }
      }
      #expect(try String(contentsOfFile: directory.allowedPath, encoding: .utf8) == before)
    }
  }

  @Test func `drafts of killed processes are removed, and nothing else`() throws {
    try withTemporaryDirectory { path in
      let directory = KeyDirectory(path)
      let files = ["secret.new-1", "allowed.new-4711", "secret.news", "notes"]
      for file in files { try Data().write(to: URL(filePath: "\(path)/\(file)")) }
      _ = try directory.makeKeyPair()
      let left = try FileManager.default.contentsOfDirectory(atPath: path)
      #expect(Set(left) == ["secret", "secret.news", "notes"])
    }
  }

  @Test func `a secret file that holds no key, too much, or is no file is refused by name`() throws
  {
    try withTemporaryDirectory { path in
      let directory = KeyDirectory(path)
      let secret = Keys.pairs[0].secret
      for content in [
        "", "secret\n", "\(secret)\n\(secret)\n", String(repeating: " ", count: 70_000),
      ] {
        let isMade = FileManager.default.createFile(
          atPath: directory.secretPath,
          contents: Data(content.utf8),
          attributes: [.posixPermissions: 0o600]
        )
        try #require(isMade)
        let error = #expect(throws: WireError.self) { try directory.keyPair() }
        #expect(error?.code == .key)
        #expect(error?.message.contains(directory.secretPath) == true, "\(error as Any)")
        #expect(error?.message.contains(secret) == false)
      }
      try FileManager.default.removeItem(atPath: directory.secretPath)
      // Nobody writes to the pipe, so a reader that waited for it would wait for ever.
      unsafe mkfifo(directory.secretPath, 0o600)
      let error = #expect(throws: WireError.self) { try directory.keyPair() }
      #expect(error?.message.contains("not a file") == true, "\(error as Any)")
    }
  }
}
