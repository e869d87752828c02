// The requests of clients, apart from the sessions that compute them.

import Foundation
import Gemma
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `The requests of clients` {
  private let now = ContinuousClock.now
  private let ann = PeerID([1])
  private let ben = PeerID([2])

  private func request(_ peer: PeerID, _ number: UInt64, stops: [String] = []) -> ClientRequest {
    ClientRequest(peer: peer, number: number, reader: nil, stops: stops, at: now)
  }

  private func prompt(_ peer: PeerID, _ number: UInt64) throws -> EncodingPrompt {
    let message = Harness.generate(.tokens([]), request: number)
    guard case .generate(let generate) = message else { throw BrokenInvariant(description: "") }
    return EncodingPrompt(peer: peer, generate: generate)
  }

  @Test func `a request is found by its session, and by its client's own number`() throws {
    var requests = ClientRequests()
    requests.open(request(ben, 7), as: 3)
    requests.open(request(ann, 7), as: 4)
    requests.open(request(ann, 8), as: 5)
    requests.beginEncoding(try prompt(ann, 9), as: 6)
    #expect(requests.numbers == [3, 4, 5] && requests.numbers(of: ann) == [4, 5])
    #expect(requests.number(of: 7, ann) == 4 && requests.number(of: 7, ben) == 3)
    #expect(requests.number(of: 9, ann) == nil && requests.contains(9, of: ann))
    #expect(!requests.contains(9, of: ben) && requests.peer(of: 3) == ben)
    #expect(requests.peers == [ann, ben])
    try requests.checkInvariants()
    // Its tokens have come: from now on a session serves it.
    #expect(requests.endEncoding(6)?.generate.request == 9 && requests.endEncoding(6) == nil)
    #expect(requests.encodingCount == 0 && !requests.contains(9, of: ann))
    requests.close(3)
    #expect(requests.peers == [ann] && requests[3] == nil)
    try requests.checkInvariants()
  }

  @Test func `two requests of one number of one client are a fault`() throws {
    var requests = ClientRequests()
    requests.open(request(ann, 7), as: 1)
    requests.beginEncoding(try prompt(ann, 7), as: 2)
    #expect(throws: BrokenInvariant.self) { try requests.checkInvariants() }
  }

  @Test func `it remembers when its first and its last token came`() {
    var request = request(ann, 1)
    request.start(at: now + .seconds(1))
    for second in 2...4 {
      let text = request.take(5, isLast: second == 4, at: now + .seconds(second))
      #expect(text.isEmpty)
    }
    #expect(request.timing.arrived == now && request.timing.started == now + .seconds(1))
    #expect(request.timing.firstToken == now + .seconds(2))
    #expect(request.timing.lastToken == now + .seconds(4))
  }

  @Test func `text that may begin a stop string is held back until the end`() throws {
    let tokenizer = try Tokenizer.load(for: Goldens.demoModel.path)
    let tokens = tokenizer.encode("hello world", addBOS: false, parseSpecial: false)
    let whole = { (stops: [String]) in
      var request = ClientRequest(
        peer: ann,
        number: 1,
        reader: AnswerReader(tokenizer),
        stops: stops,
        at: now
      )
      let texts = tokens.enumerated().map { index, token in
        request.take(token, isLast: index == tokens.count - 1, at: now).text
      }
      return (text: texts.joined(), stop: request.matchedStop)
    }
    let free = whole([])
    #expect(free.stop == nil && !free.text.isEmpty)
    #expect(whole([free.text + "!"]).text == free.text)
    let end = String(free.text.suffix(2))
    let cut = whole(["never", end])
    #expect(cut.stop == end && cut.text == String(free.text.dropLast(2)))
  }
}
