// Requests to generate, and draws of their tokens, that no honest peer would send.

import Testing
import Wire

@Suite struct `Malformed requests` {
  private func expect(
    _ header: [UInt8],
    _ code: WireError.Code,
    _ context: String,
    _ words: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: WireError.self, sourceLocation: sourceLocation) {
      try Message(decoding: header)
    }
    #expect(error?.code == code, "\(error as Any)", sourceLocation: sourceLocation)
    #expect(error?.context == context, "\(error as Any)", sourceLocation: sourceLocation)
    #expect(
      error?.message.contains(words) == true,
      "\(error as Any)",
      sourceLocation: sourceLocation
    )
  }

  /// A Generate of a text with some sampling.
  private func sampling(_ write: (inout ProtobufWriter) -> Void) -> [UInt8] {
    ProtobufWriter.envelope { envelope in
      envelope.message(40) { generate in
        generate.bytes(2, [0x68])
        generate.message(7, write)
      }
    }
  }

  /// A Generate of a conversation.
  private func conversation(_ write: (inout ProtobufWriter) -> Void) -> [UInt8] {
    ProtobufWriter.envelope { envelope in
      envelope.message(40) { generate in
        generate.message(10, write)
        generate.message(7)
      }
    }
  }

  /// A Step of one row.
  private func row(_ write: (inout ProtobufWriter) -> Void) -> [UInt8] {
    ProtobufWriter.envelope { $0.message(30) { $0.message(4, write) } }
  }

  @Test func `more likeliest tokens than are told are refused`() {
    expect(sampling { $0.varint(9, 21) }, .malformed, "Sampling.likeliest", "21 is outside 0...20")
  }

  @Test func `biases without number, or too many, are refused`() {
    let many = sampling { sampling in
      for _ in 0...Limits.biases { sampling.message(10) }
    }
    expect(many, .oversized, "Sampling.biases", "1025 elements")
    let minusOne = UInt64(bitPattern: -1)
    expect(
      sampling { $0.message(10) { $0.varint(1, minusOne) } },
      .malformed,
      "Sampling.biases[0]: TokenBias.token",
      "-1"
    )
    // TokenBias.value, field 2, is four bytes (wire type 5): an infinity.
    let infinite = sampling { sampling in
      sampling.message(10) { bias in
        bias.raw(2 << 3 | 5)
        for byte in [0, 0, 0x80, 0x7f] as [UInt8] { bias.rawByte(byte) }
      }
    }
    expect(infinite, .malformed, "Sampling.biases[0]: TokenBias.value", "inf")
  }

  @Test func `conversations with too many messages, or of nobody, are refused`() {
    let many = conversation { list in
      for _ in 0...Limits.messages { list.message(1) { $0.varint(1, 2) } }
    }
    expect(many, .oversized, "Generate.messages", "4097 elements")
    for role: UInt64 in [0, 6] {
      let header = conversation { $0.message(1) { $0.varint(1, role) } }
      expect(header, .malformed, "Generate.messages[0]: PromptMessage.role", "\(role) is unknown")
    }
    let broken = conversation { list in
      list.message(1) { message in
        message.varint(1, 2)
        message.bytes(2, [0xff])
      }
    }
    expect(broken, .malformed, "Generate.messages[0]: PromptMessage.text", "UTF-8")
    expect(conversation { $0.varint(9, 1) }, .malformed, "MessageList", "field 9")
  }

  @Test func `masks that say nothing, or too much, are refused`() {
    expect(row { $0.message(7) }, .malformed, "Step.rows[0]: TokenMask.allowed", "holds none")
    let bits = [UInt8](repeating: 1, count: Limits.maskBytes + 1)
    expect(
      row { $0.message(7) { $0.bytes(2, bits) } },
      .oversized,
      "Step.rows[0]: TokenMask.bits",
      "\(bits.count) bytes"
    )
    let minusOne = UInt64(bitPattern: -1)
    expect(
      row { $0.message(7) { $0.message(1) { $0.varint(1, minusOne) } } },
      .malformed,
      "Step.rows[0]: TokenMask.tokens",
      "-1"
    )
  }
}
