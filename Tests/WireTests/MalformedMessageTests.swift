// Every way in which a header frame can be malformed is refused with its name. Field numbers are
// those of proto/trestle.proto.

import Content
import TestSupport
import Testing
import Wire

@Suite struct `Malformed message` {
  /// Returns why a header is refused.
  private func refusal(_ header: [UInt8]) -> WireError? {
    #expect(throws: WireError.self) { try Message(decoding: header) }
  }

  private func expect(
    _ header: [UInt8],
    _ code: WireError.Code,
    _ context: String,
    _ part: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = refusal(header)
    #expect(error?.code == code, "\(error as Any)", sourceLocation: sourceLocation)
    #expect(error?.context == context, sourceLocation: sourceLocation)
    #expect(
      part.isEmpty || error?.message.contains(part) == true,
      "\(error as Any)",
      sourceLocation: sourceLocation
    )
  }

  @Test func `an empty header is refused, though it is valid protobuf`() {
    expect([], .truncated, "", "empty")
  }

  @Test(arguments: [0, 1, 127, 128, UInt64(UInt32.max)])
  func `another version is refused with both versions named`(version: UInt64) {
    // The rest belongs to the other version and is not read.
    let error = refusal(ProtobufWriter.envelope(version: version) { $0.bytes(99, [1, 2, 3]) })
    #expect(error?.code == .version)
    #expect(error?.message.contains("protocol \(version),") == true)
    #expect(error?.message.contains("this program \(protocolVersion);") == true)
  }

  @Test func `a header that does not begin with a version is refused`() {
    expect([0x12, 0x00], .malformed, "", "begin with a protocol version")
    expect([0x08], .malformed, "", "begin with a protocol version")
    // A varint that does not end.
    expect(Array(repeating: 0x88, count: 20), .malformed, "")
    expect([0x08] + Array(repeating: 0x80, count: 20), .malformed, "", "begin with")
  }

  @Test func `a header without a body is refused`() {
    expect(ProtobufWriter.envelope(), .malformed, "Envelope.body")
  }

  @Test func `a message that this version does not know is refused by its number`() {
    expect(ProtobufWriter.envelope { $0.message(99) }, .malformed, "Envelope", "field 99")
  }

  @Test func `a field that this version does not know is refused with its message`() {
    let header = ProtobufWriter.envelope { $0.message(12) { $0.varint(77, 1) } }
    expect(header, .malformed, "Prepared", "field 77")
  }

  @Test func `a body cut short is refused`() throws {
    let whole = try Message.goodbye(Goodbye(reason: "the machine goes to sleep")).encoded()
    for count in 2..<whole.count {
      let code = refusal(Array(whole.prefix(count)))?.code
      #expect(code == .malformed, "\(count) of \(whole.count) bytes")
    }
  }

  @Test func `a length that claims gigabytes is refused without taking them`() {
    let header: [UInt8] = [0x08, UInt8(protocolVersion), 0x52, 0xff, 0xff, 0xff, 0xff, 0x0f]
    expect(header, .malformed, "", "\(header.count) bytes")
  }

  @Test(arguments: [0, 5, 1000, UInt64.max])
  func `an unknown enum value is refused by name`(value: UInt64) {
    let header = ProtobufWriter.envelope { $0.message(41) { $0.varint(3, value) } }
    expect(header, .malformed, "Evaluate.kind", "unknown")
  }

  @Test func `a negative number that arrives as a huge one is refused`() {
    let minusOne = UInt64(bitPattern: -1)
    // The beginning of a Welcome whose heartbeatMilliseconds is -1.
    expect(
      ProtobufWriter.envelope { $0.message(20) { $0.varint(2, minusOne) } },
      .malformed,
      "Welcome.heartbeatMilliseconds",
      "4294967295"
    )
  }

  @Test func `a negative token is refused`() {
    let minusOne = UInt64(bitPattern: -1)
    expect(
      ProtobufWriter.envelope {
        $0.message(41) {
          $0.varint(2, minusOne)
          $0.varint(3, 1)
        }
      },
      .malformed,
      "Evaluate.tokens",
      "-1"
    )
  }

  @Test func `a fault in a list is named with its index`() {
    let header = ProtobufWriter.envelope {
      $0.message(30) {
        $0.message(4) { $0.varint(1, 3) }
        $0.message(4) { $0.varint(1, UInt64(Limits.slots) + 1) }
      }
    }
    expect(header, .malformed, "Step.rows[1]: StepRow.slot", "65537")
  }

  @Test func `more rows than a step may have are refused`() {
    let header = ProtobufWriter.envelope {
      $0.message(30) { step in
        for _ in 0...Limits.rows { step.message(4) }
      }
    }
    expect(header, .oversized, "Step.rows", "\(Limits.rows + 1) elements")
  }

  @Test func `a text that is not UTF-8 or over its limit is refused`() {
    expect(
      ProtobufWriter.envelope { $0.message(20) { $0.bytes(1, [0x66, 0xff, 0xfe]) } },
      .malformed,
      "Welcome.name",
      "UTF-8"
    )
    let long = [UInt8](repeating: 0x78, count: Limits.proseBytes + 1)
    expect(
      ProtobufWriter.envelope { $0.message(16) { $0.bytes(1, long) } },
      .oversized,
      "Goodbye.reason",
      "\(long.count) bytes"
    )
  }

  @Test func `settings that are not numbers are refused`() {
    // Heartbeat.loadFraction, field 3, is eight bytes (wire type 1): a NaN.
    let header = ProtobufWriter.envelope { envelope in
      envelope.message(11) { heartbeat in
        heartbeat.raw(3 << 3 | 1)
        for byte in [0, 0, 0, 0, 0, 0, 0xf8, 0x7f] as [UInt8] { heartbeat.rawByte(byte) }
      }
    }
    expect(header, .malformed, "Heartbeat.loadFraction")
  }

  @Test func `a missing part is refused by name`() {
    // Generate with a text, but without sampling.
    expect(
      ProtobufWriter.envelope { $0.message(40) { $0.bytes(2, [0x68]) } },
      .malformed,
      "Generate.sampling",
      "missing"
    )
    // Generate with sampling, but without a prompt.
    expect(
      ProtobufWriter.envelope { $0.message(40) { $0.message(7) } },
      .malformed,
      "Generate.prompt"
    )
  }

  @Test func `files and pieces of files that cannot be are refused by name`() {
    let digest = [UInt8](repeating: 1, count: Digest.byteCount)
    expect(
      ProtobufWriter.envelope { $0.message(62) { $0.bytes(1, [1, 2, 3]) } },
      .malformed,
      "Pull.model",
      "3 bytes"
    )
    expect(
      ProtobufWriter.envelope {
        $0.message(62) {
          $0.bytes(1, digest)
          $0.varint(3, UInt64(Limits.chunks) + 1)
        }
      },
      .malformed,
      "Pull.chunk"
    )
    expect(
      ProtobufWriter.envelope {
        $0.message(63) {
          $0.bytes(3, [UInt8](repeating: 0, count: Limits.chunkBytes + 1))
        }
      },
      .oversized,
      "Chunk.data"
    )
    let cases: [(UInt64, UInt64, String)] = [
      (.max, 0, "size"), (Limits.fileBytes + 1, 0, "size"), (10, 11, "headerBytes"),
    ]
    for (size, header, field) in cases {
      expect(
        ProtobufWriter.envelope {
          $0.message(61) {
            $0.bytes(1, digest)
            $0.bytes(2, digest)
            $0.message(5) {
              $0.varint(2, size)
              $0.varint(3, header)
            }
          }
        },
        .malformed,
        "ModelDescription.files[0]: ModelFile.\(field)"
      )
    }
    expect(
      ProtobufWriter.envelope {
        $0.message(61) {
          $0.bytes(1, digest)
          $0.bytes(2, digest)
          $0.message(5) { $0.bytes(4, [1, 2]) }
        }
      },
      .malformed,
      "ModelDescription.files[0]: ModelFile.digests",
      "2 bytes"
    )
    expect(
      ProtobufWriter.envelope {
        $0.message(10) {
          $0.message(4)
          $0.varint(6, 4)
        }
      },
      .malformed,
      "Hello.fingerprint",
      "0 bytes"
    )
  }

  @Test func `a header over the limit is refused before it is looked at`() {
    let header = [UInt8](repeating: 0, count: Limits.headerBytes + 1)
    expect(header, .oversized, "", "\(header.count)")
  }
}

@Suite struct `Memory of unpacking` {
  @Test func `a small header cannot make many structs`() {
    // Empty rows cost two bytes each on the wire and about a hundred in memory.
    let header = ProtobufWriter.envelope {
      $0.message(30) { step in
        for _ in 0..<1_000_000 { step.message(4) }
      }
    }
    let error = #expect(throws: WireError.self) { try Message(decoding: header) }
    #expect(error?.code == .malformed)
    #expect(error?.message.contains("within the limits") == true)
  }

  @Test func `a body sent again and again counts once, the last one, and its memory every time`()
    throws
  {
    func header(_ count: Int) -> [UInt8] {
      ProtobufWriter.envelope { envelope in
        for number in 1...count {
          envelope.message(41) {
            $0.varint(1, UInt64(number))
            $0.varint(3, 1)
          }
        }
      }
    }
    #expect(
      try Message(decoding: header(1000))
        == .evaluate(Evaluate(request: 1000, tokens: [], kind: .logits, firstScored: 0))
    )
    let error = #expect(throws: WireError.self) { try Message(decoding: header(1_000_000)) }
    #expect(error?.message.contains("within the limits") == true)
  }

  @Test func `whatever allocation fails, the header is refused and nothing is lost`() throws {
    var maker = MessageMaker(random: .init(11))
    for message in maker.everyMessage() {
      let header = try message.encoded()
      for budget in stride(from: 0, to: 4000, by: 24) {
        // The memory was enough or not; both outcomes must be clean.
        let result = unsafe header.withUnsafeBytes { bytes in
          Result { try unsafe Message(decoding: bytes, budget: budget) }
        }
        switch result {
        case .success(let back): #expect(back == message)
        case .failure(let error): #expect((error as? WireError)?.code == .malformed)
        }
      }
    }
  }
}
