// scripts/generate-wire on small files: what each annotation makes of a field, and what is refused.

import Foundation
import TestSupport
import Testing

/// What the generator wrote, or why it did not; whitespace is left out: it is not formatted yet.
private struct Generated {
  var status: Int32
  var error: String
  private var files: [String: String] = [:]

  /// Generates from a section with these declarations, the Envelope's body being `Sent`.
  init(_ declarations: String, sent: String = "// A → b: sent.\nmessage Sent {}") throws {
    let proto = """
      // A small file.
      syntax = "proto3";
      package trestle;
      message Envelope {
        uint32 version = 1;  // @version(7)
        oneof body {
          Sent sent = 10;
        }
      }

      // ## One part
      // What is tried.

      \(sent)
      \(declarations)
      """
    (status, error, files) = try withTemporaryDirectory { path in
      let folder = URL(filePath: path)
      try Data(proto.utf8).write(to: folder.appending(path: "small.proto"))
      let process = Process()
      process.executableURL = Goldens.checkout.appending(path: "scripts/generate-wire")
      process.arguments = ["--proto", "\(path)/small.proto", "--output", path]
      let pipe = Pipe()
      process.standardError = pipe
      try process.run()
      let error = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      var files: [String: String] = [:]
      for name in Self.names {
        guard let data = try? Data(contentsOf: folder.appending(path: name)) else { continue }
        files[name] = Self.solid(String(decoding: data, as: UTF8.self))
      }
      return (process.terminationStatus, error, files)
    }
  }

  static let values = "Sources/Wire/Generated/OnePart.swift"
  static let coding = "Sources/Wire/Generated/OnePart+Coding.swift"
  static let message = "Sources/Wire/Generated/Message.swift"
  static let envelope = "Sources/Wire/Generated/Message+Envelope.swift"
  static let maker = "Tests/WireTests/Generated/MessageMaker+Messages.swift"
  static let table = "docs/PROTOCOL.md"
  private static let names = [values, coding, message, envelope, maker, table]

  private static func solid(_ text: String) -> String { text.filter { !$0.isWhitespace } }

  func expect(
    _ part: String,
    in file: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(
      files[file]?.contains(Self.solid(part)) == true,
      "\(file) lacks \(part)\(error)",
      sourceLocation: sourceLocation
    )
  }
}

/// A line of a .proto and what must become of it.
private struct Line: CustomTestStringConvertible {
  var proto: String
  var type: String
  var pack: String
  var unpack: String
  var random: String

  var testDescription: String { proto }
}

private let lines = [
  Line(
    proto: "bool it = 1;",
    type: "Bool",
    pack: "c.pointee.it = it ? 1 : 0",
    unpack: "c.it != 0",
    random: "coin()"
  ),
  Line(
    proto: "uint64 it = 1;",
    type: "UInt64",
    pack: "c.pointee.it = it",
    unpack: "c.it",
    random: "number(.min ... .max)"
  ),
  Line(
    proto: "uint32 it = 1;  // @limit(layers)",
    type: "Int",
    pack: "packer.integer(it, \"Small.it\", limit: Limits.layers)",
    unpack: "Unpack.integer(c.it, \"Small.it\", limit: Limits.layers)",
    random: "integer(Limits.layers)"
  ),
  Line(
    proto: "uint64 it = 1;  // @limit(fileBytes)",
    type: "UInt64",
    pack: "packer.size(it, \"Small.it\", limit: Limits.fileBytes)",
    unpack: "Unpack.size(c.it, \"Small.it\", limit: Limits.fileBytes)",
    random: "number(0...Limits.fileBytes)"
  ),
  Line(
    proto: "int32 it = 1;  // @token",
    type: "Int32",
    pack: "packer.token(it, \"Small.it\")",
    unpack: "Unpack.token(c.it, \"Small.it\")",
    random: "number(0 ... .max)"
  ),
  Line(
    proto: "float it = 1;",
    type: "Float",
    pack: "packer.finite(it, \"Small.it\")",
    unpack: "Unpack.finite(c.it, \"Small.it\")",
    random: "float()"
  ),
  Line(
    proto: "double it = 1;  // @nonfinite",
    type: "Double",
    pack: "c.pointee.it = it",
    unpack: "c.it",
    random: "double(infinite: true)"
  ),
  Line(
    proto: "bytes it = 1;  // @text(nameBytes)",
    type: "String",
    pack: "packer.text(it, \"Small.it\", limit: Limits.nameBytes)",
    unpack: "Unpack.text(c.it, \"Small.it\", limit: Limits.nameBytes)",
    random: "text(Limits.nameBytes)"
  ),
  Line(
    proto: "bytes it = 1;  // @prose",
    type: "String",
    pack: "packer.prose(it)",
    unpack: "Unpack.text(c.it, \"Small.it\", limit: Limits.proseBytes)",
    random: "text(Limits.proseBytes)"
  ),
  Line(
    proto: "bytes it = 1;  // @bytes(chunkBytes)",
    type: "[UInt8]",
    pack: "packer.bytes(it, \"Small.it\", limit: Limits.chunkBytes)",
    unpack: "Unpack.bytes(c.it, \"Small.it\", limit: Limits.chunkBytes)",
    random: "bytes(Limits.chunkBytes)"
  ),
  Line(
    proto: "bytes it = 1;  // @digest",
    type: "Digest",
    pack: "packer.digest(it)",
    unpack: "Unpack.digest(c.it, \"Small.it\")",
    random: "digest()"
  ),
  Line(
    proto: "bytes it = 1;  // @identity",
    type: "PeerID",
    pack: "packer.identity(it)",
    unpack: "Unpack.identity(c.it, \"Small.it\")",
    random: "identity()"
  ),
  Line(
    proto: "bytes it = 1;  // @key",
    type: "PublicKey? = nil",
    pack: "packer.key(it)",
    unpack: "Unpack.key(c.it, \"Small.it\")",
    random: "coin() ? key() : nil"
  ),
  Line(
    proto: "Part it = 1;",
    type: "Part",
    pack: "it.packed(packer)",
    unpack: "Part(unpacking: Unpack.required(c.it, \"Small.it\"))",
    random: "part()"
  ),
  Line(
    proto: "Part it = 1;  // @optional",
    type: "Part? = nil",
    pack: "it?.packed(packer)",
    unpack: "Unpack.optional(c.it, Part.init(unpacking:))",
    random: "coin() ? nil : part()"
  ),
  Line(
    proto: "Kind it = 1;",
    type: "Kind",
    pack: "Trestle__Kind(it.rawValue)",
    unpack: "Unpack.enumeration(c.it.rawValue, \"Small.it\")",
    random: "value(of: Kind.self)"
  ),
  Line(
    proto: "repeated uint64 it = 1;  // @count(stages) @default",
    type: "[UInt64] = []",
    pack: "(c.pointee.n_it, c.pointee.it) = packer.numbers(it, \"Small.it\", limit: Limits.stages)",
    unpack: "Unpack.numbers(c.n_it, c.it, \"Small.it\", limit: Limits.stages)",
    random: "list(Limits.stages) { $0.number(.min ... .max) }"
  ),
  Line(
    proto: "repeated uint32 it = 1;  // @limit(layers) @count(workers)",
    type: "[Int]",
    pack: "packer.integers(it, \"Small.it\", count: Limits.workers, limit: Limits.layers)",
    unpack:
      "Unpack.integers(c.n_it, c.it, \"Small.it\", count: Limits.workers, limit: Limits.layers)",
    random: "list(Limits.workers) { $0.integer(Limits.layers) }"
  ),
  Line(
    proto: "repeated bytes it = 1;  // @text(stopBytes) @count(stops)",
    type: "[String]",
    pack: "packer.texts(it, \"Small.it\", count: Limits.stops, limit: Limits.stopBytes)",
    unpack:
      "Unpack.texts(c.n_it, c.it, \"Small.it\", count: Limits.stops, limit: Limits.stopBytes)",
    random: "list(Limits.stops) { $0.text(Limits.stopBytes) }"
  ),
  Line(
    proto: "repeated bytes it = 1;  // @key @count(workers)",
    type: "[PublicKey]",
    pack: "packer.keys(it, \"Small.it\", limit: Limits.workers)",
    unpack: "Unpack.keys(c.n_it, c.it, \"Small.it\", limit: Limits.workers)",
    random: "list(Limits.workers) { $0.key() }"
  ),
  Line(
    proto: "repeated Part it = 1;  // @count(rows)",
    type: "[Part]",
    pack: "packer.list(it, \"Small.it\", limit: Limits.rows) { unsafe $0.packed(packer) }",
    unpack:
      "Unpack.list(c.n_it, c.it, \"Small.it\", limit: Limits.rows, Part.init(unpacking:))",
    random: "list(Limits.rows) { $0.part() }"
  ),
]

@Suite struct `The generator of the wire` {
  private let others = """
    // What a thing is.
    enum Kind {
      KIND_UNSPECIFIED = 0;  // refused
      KIND_HAND_OFF = 1;  // handed on
      KIND_INTERNAL = 2;  // kept
    }
    // A part.
    message Part {}
    """

  @Test(arguments: lines)
  private func `a field is one line, and in value, coding and random message`(line: Line) throws {
    let made = try Generated("\(others)\n// Small.\nmessage Small {\n\(line.proto)\n}")
    try #require(made.status == 0, "\(made.error)")
    made.expect("package init(it: \(line.type))", in: Generated.values)
    made.expect(line.pack, in: Generated.coding)
    made.expect("self.init(it: \(line.unpack))", in: Generated.coding)
    made.expect("Small(it: \(line.random))", in: Generated.maker)
  }

  @Test func `comments become documentation, enum values cases`() throws {
    let made = try Generated(
      """
      \(others)
      // Some → other: does a thing. It is done
      // at once.
      message Small {
        // What there is in all. Not less.
        uint64 whole_bytes = 1;
        Kind kind = 2;  // how it is
      }
      """
    )
    made.expect(
      """
      /// Some → other: does a thing.
      ///
      /// It is done at once.
      package struct Small: Sendable, Hashable {
        /// What there is in all.
        ///
        /// Not less.
        package var wholeBytes: UInt64
        /// How it is.
        package var kind: Kind
      """,
      in: Generated.values
    )
    made.expect(
      """
      /// What a thing is; the raw values are the wire's.
      package enum Kind: UInt32, Sendable, Hashable, CaseIterable {
        /// Handed on.
        case handOff = 1
        /// Kept.
        case `internal` = 2
      }
      """,
      in: Generated.values
    )
  }

  @Test func `two fields make a range, and one bounds another`() throws {
    let made = try Generated(
      """
      // Small.
      message Small {
        uint32 first_row = 1;  // @limit(rows) @range(rows)
        uint32 end_row = 2;  // @limit(rows) @range(rows)
        uint64 whole_bytes = 3;
        uint64 part_bytes = 4;  // @limit(self.whole_bytes)
      }
      """
    )
    made.expect(
      "init(rows: Range<Int>, wholeBytes: UInt64, partBytes: UInt64)",
      in: Generated.values
    )
    made.expect(
      "c.pointee.end_row = packer.integer(rows.upperBound, \"Small.endRow\", limit: Limits.rows)",
      in: Generated.coding
    )
    made.expect(
      """
      rows: Unpack.range(
        c.first_row, "Small.firstRow", c.end_row, "Small.endRow", limit: Limits.rows
      )
      """,
      in: Generated.coding
    )
    made.expect("limit: wholeBytes", in: Generated.coding)
    made.expect("limit: c.whole_bytes", in: Generated.coding)
    made.expect(
      "let wholeBytes = number(.min ... .max)\nreturn Small(rows: range(Limits.rows),",
      in: Generated.maker
    )
    made.expect("partBytes: number(0...wholeBytes)", in: Generated.maker)
  }

  @Test func `a oneof is an enum with a case for each field`() throws {
    let made = try Generated(
      """
      // Small.
      message Small {
        // What comes back.
        oneof output {  // @type(Output) @optional
          bool nothing_more = 1;
          int32 score = 2;  // @token @label(target)
          TokenList tokens = 3;
        }
      }
      // Tokens.
      // @inline
      message TokenList {
        repeated int32 tokens = 1;  // @token @count(tokens)
      }
      """
    )
    made.expect(
      """
      package enum Output: Sendable, Hashable {
        /// Nothing is set.
        case none
        case nothingMore
        case score(target: Int32)
        case tokens([Int32])
      }
      """,
      in: Generated.values
    )
    made.expect("case TRESTLE__SMALL__OUTPUT__NOT_SET: self = .none", in: Generated.coding)
    made.expect(
      "try unsafe Unpack.mark(c.nothing_more, \"Small.nothingMore\")",
      in: Generated.coding
    )
    made.expect(".score(target: Unpack.token(c.score, \"Small.score\"))", in: Generated.coding)
    made.expect("packer.tokenList(value, \"Small.tokens\")", in: Generated.coding)
    made.expect("holds none of nothingMore, score, tokens", in: Generated.coding)
    made.expect("Small(output: output())", in: Generated.maker)
    made.expect("switch Int.random(in: 0..<4, using: &random)", in: Generated.maker)
  }

  @Test func `what is sent is in the envelope and in the table`() throws {
    let made = try Generated(
      "",
      sent: """
        // Client → coordinator: ask. It may take long.
        // Answered by Sent, or nothing.
        // @request
        message Sent {
          uint64 request = 1;
        }
        """
    )
    made.expect("let protocolVersion: UInt32 = 7", in: Generated.message)
    made.expect("case sent(Sent)", in: Generated.message)
    made.expect("case .sent: \"Sent\"", in: Generated.message)
    made.expect(
      "case TRESTLE__ENVELOPE__BODY_SENT: unsafe sent?.pointee.request",
      in: Generated.envelope
    )
    made.expect("[.sent(sent()),]", in: Generated.maker)
    made.expect("| `Sent` | client → coordinator | `Sent`, or nothing |", in: Generated.table)
  }

  @Test(arguments: [
    ("uint32 it = 1;  // @limt(layers)", "the annotation @limt is not allowed"),
    ("uint32 it = 1;  // @limit", "@limit needs an argument"),
    ("bool it = 1;  // @limit(layers)", "@limit has no meaning for bool it"),
    ("uint32 it = 1;  // @token", "@token has no meaning for uint32 it"),
    ("uint64 it = 1;  // @count(rows)", "@count has no meaning for uint64 it"),
    ("repeated uint64 it = 1;", "the list it needs @count(LIMIT)"),
    ("repeated double it = 1;  // @count(rows)", "no code yet"),
    ("bytes it = 1;", "bytes it needs one of @text(LIMIT)"),
    ("bytes it = 1;  // @digest @prose", "@digest has no meaning for"),
    ("string it = 1;", "string has no Swift type here"),
    ("uint32 it = 1;  // @limit(rows) @range(rows)", "@range must be on two consecutive fields"),
    ("Kind it = 1;  // @default", "it has no @default"),
    ("oneof it {\nbool a = 1;\n}", "it needs @type(NAME)"),
    ("map<string, int32> it = 1;", "cannot read"),
    ("uint32 it = 1;  // @limit(rows) @limit(rows)", "the annotation @limit is given twice"),
  ])
  func `what would have no effect is refused with its line`(field: String, problem: String) throws {
    let made = try Generated("\(others)\n// Small.\nmessage Small {\n\(field)\n}")
    #expect(made.status == 1)
    #expect(made.error.contains(problem), "\(made.error)")
    #expect(made.error.contains("line 26: "), "\(made.error)")
  }

  @Test func `an enum without a refused zero and a message without its way are refused`() throws {
    let zero = try Generated("// Kind.\nenum Kind {\nKIND_FIRST = 0;\n}")
    #expect(zero.status == 1 && zero.error.contains("the value 0 of Kind"), "\(zero.error)")
    let way = try Generated("", sent: "// Says something.\nmessage Sent {}")
    #expect(way.status == 1 && way.error.contains("the comment of Sent"), "\(way.error)")
  }
}
