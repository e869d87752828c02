// The replies to libzmq's questions about peers.

import TestSupport
import Testing

@testable import Wire

@Suite struct `ZAP answers` {
  static let key = [UInt8](repeating: 7, count: 32)
  static let good: [[UInt8]] = [
    Array("1.0".utf8), Array("1".utf8), Array("trestle".utf8), Array("10.0.0.2".utf8), [0, 1],
    Array("CURVE".utf8), key,
  ]

  private func answer(_ frames: [[UInt8]]) -> (status: String, reply: [[UInt8]], reason: String) {
    let verdict: ZAP.Verdict
    do throws(WireError) { verdict = .allowed(try ZAP.request(frames).key) } catch {
      verdict = .malformed(error.message)
    }
    let reply = ZAP.reply(to: frames, verdict)
    let texts = reply.map { String(decoding: $0, as: UTF8.self) }
    return (texts[2], reply, texts[3])
  }

  @Test func `a good request is read and its answer names the key`() throws {
    let request = try ZAP.request(Self.good)
    #expect(request.id == Array("1".utf8) && request.address == "10.0.0.2")
    #expect(request.key == PublicKey(bytes: Self.key))
    let user = Array(request.key.description.utf8)
    let texts = ["1.0", "1", "200", "OK"].map { Array($0.utf8) }
    #expect(answer(Self.good).reply == texts + [user, []])
  }

  @Test func `an unknown key is told to come again`() {
    let reply = ZAP.reply(to: Self.good, .unknown)
    #expect(reply.count == 6 && reply[2] == Array("300".utf8) && reply[4].isEmpty)
  }

  @Test func `each malformed request is answered 500 with the fault`() {
    var cases: [(frames: [[UInt8]], part: String)] = [
      ([[]], "1 frames"), (Array(Self.good.dropLast()), "6 frames"),
      (Self.good + [[]], "more than 7"),
    ]
    let faults: [(Int, [UInt8], String)] = [
      (0, Array("2.0".utf8), "version \"2.0\""), (2, Array("other".utf8), "domain \"other\""),
      (5, Array("NULL".utf8), "mechanism \"NULL\""), (5, [0xff], "mechanism"),
      (6, Array(Self.key.dropLast()), "31 bytes"), (6, [], "0 bytes"),
      (3, [UInt8](repeating: 65, count: 256), "frame 3"),
      (1, [UInt8](repeating: 65, count: 256), "frame 1"),
    ]
    for (index, frame, part) in faults {
      var frames = Self.good
      frames[index] = frame
      cases.append((frames, part))
    }
    for (frames, part) in cases {
      let (status, reply, reason) = answer(frames)
      #expect(status == "500" && reply.count == 6)
      #expect(reason.contains(part), "\(reason)")
      // libzmq refuses a reply that does not carry its own id.
      let id = frames.count > 1 && frames[1].count < 256 ? frames[1] : []
      #expect(reply[1] == id)
    }
  }

  @Test(.seeded(default: 62))
  func `corrupted requests are answered, and none is allowed by chance`() {
    var random = SeededRandom(testSeed(default: 62))
    for _ in 0..<fuzzIterations(default: 5000) {
      var frames = Self.good
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let index = Int.random(in: frames.indices, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: frames.remove(at: index)
        case 1: frames.insert(random.bytes(4), at: index)
        default: frames[index] = random.corrupted(frames[index])
        }
        if frames.isEmpty { frames = [[]] }
      }
      let (status, reply, _) = answer(frames)
      #expect(reply.count == 6 && reply.allSatisfy { $0.count <= ZAP.frameBytes })
      let isWhole =
        frames.count == 7 && frames[0] == Self.good[0] && frames[2] == Self.good[2]
        && frames[5] == Self.good[5] && frames[6].count == 32
      #expect(status == "500" || isWhole, "\(frames)")
    }
  }
}
