// Random and corrupted header frames: the decoder refuses them, or accepts a value that it can
// encode again.

import TestSupport
import Testing
import Wire

@Suite struct `Message decoder` {
  @Test(.seeded(default: 21)) func `random bytes never harm it`() {
    var random = SeededRandom(testSeed(default: 21))
    for _ in 0..<fuzzIterations(default: 20_000) {
      var bytes = random.bytes(Int.random(in: 0...96, using: &random))
      // Half of them have the right version, so that the rest is decoded.
      if Bool.random(using: &random) { bytes = [0x08, UInt8(protocolVersion)] + bytes }
      check(bytes)
    }
  }

  @Test(.seeded(default: 22)) func `corrupted messages never harm it`() throws {
    var maker = MessageMaker(random: SeededRandom(testSeed(default: 22)))
    for _ in 0..<fuzzIterations(default: 400) {
      for message in maker.everyMessage() {
        let header = try message.encoded()
        // The version is kept; otherwise nothing after it would be decoded.
        check(Array(header.prefix(2)) + maker.random.corrupted(Array(header.dropFirst(2))))
      }
    }
  }

  /// Checks that an accepted message can be encoded, and decodes to the same again.
  private func check(_ bytes: [UInt8]) {
    guard let message = try? Message(decoding: bytes) else { return }
    do {
      let again = try message.encoded()
      // Compared as bytes, because a NaN is not equal to itself.
      #expect(try Message(decoding: again).encoded() == again)
    } catch {
      Issue.record("\(message.name) was accepted but cannot be sent: \(error)")
    }
  }
}
