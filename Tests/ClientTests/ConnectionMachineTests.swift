// The connection's machine on a clock of the test's own: patience, questions, and what is sent for whom.

import Testing
import Wire

@testable import Client

/// A machine, its time, and what it has sent.
private final class Rig {
  var machine: ConnectionMachine
  var now = ContinuousClock.now
  var sent: [Message] = []

  init(_ endpoint: String = "ipc:///run/front", timeout: Duration = .seconds(60)) throws {
    machine = ConnectionMachine(
      endpoint: try Endpoint(endpoint),
      timeout: timeout,
      advice: "; check the keys",
      now: now
    )
  }

  /// Lets something happen, and sends what there is to send.
  @discardableResult
  func handle(_ event: ConnectionEvent, sends: Bool = true) -> [ConnectionAction] {
    let actions = machine.handle(event, at: now)
    guard sends else { return actions }
    while let message = machine.nextMessage {
      sent.append(message)
      machine.sent()
    }
    return actions
  }

  /// Lets a message come, whose reader takes it at once.
  @discardableResult
  func receive(_ message: Message) -> [ConnectionAction] {
    let actions = handle(.received(message, payloads: []))
    for case .deliver(_, _, _, let serial?) in actions {
      handle(.read(serial: serial, isLate: false))
    }
    return actions + handle(.tick)
  }

  /// Lets time pass in steps of half a second.
  func wait(_ duration: Duration, sends: Bool = true) -> [ConnectionAction] {
    var actions: [ConnectionAction] = []
    let end = now + duration
    while now < end {
      now += .milliseconds(500)
      actions += handle(.tick, sends: sends)
    }
    return actions
  }

  func takeSent() -> [Message] {
    defer { sent = [] }
    return sent
  }
}

extension [ConnectionAction] {
  /// The requests that ended, and how.
  fileprivate var ends: [UInt64: ClientError.Code?] {
    var ends: [UInt64: ClientError.Code?] = [:]
    for case .finish(let request, let error) in self { ends[request] = .some(error?.code) }
    return ends
  }

  fileprivate var failure: ClientError? {
    for case .finish(_, let error?) in self { return error }
    return nil
  }

  fileprivate var probeCount: Int { count { if case .probe = $0 { true } else { false } } }

  fileprivate var silences: Int {
    count { if case .tell(.silence) = $0 { true } else { false } }
  }
}

@Suite struct `Connection machine` {
  @Test func `a silent coordinator is asked each two seconds, and given up after the patience`()
    throws
  {
    let rig = try Rig(timeout: .seconds(60))
    rig.handle(.begin(1, generate(1)))
    #expect(rig.takeSent() == [generate(1)])
    let waiting = rig.wait(.seconds(60))
    #expect(waiting.ends.isEmpty && waiting.silences == 1)
    // Every two seconds and a half: a tick after the two are over.
    #expect(waiting.probeCount == 24)
    let asked = rig.takeSent()
    #expect(asked.count == 2 * 24)
    #expect(asked.first == .healthRequest(HealthRequest(request: 0)))
    #expect(asked[1].receipt?.awaited == [1] && asked[1].receipt?.messages == 0)
    let over = rig.wait(.milliseconds(500))
    #expect(over.ends == [1: .silent])
    #expect(over.failure?.message == "no answer from ipc:///run/front in 60.0 seconds")
    #expect(rig.takeSent().last == .cancel(Cancel(request: 1)))
    #expect(!rig.machine.isWaiting && rig.wait(.seconds(60)).isEmpty)
  }

  @Test func `one elsewhere that has never answered is given up early, with advice on keys`() throws
  {
    let rig = try Rig("tcp://10.0.0.1:4400")
    rig.handle(.begin(1, .statusRequest(StatusRequest(request: 1))))
    let over = rig.wait(.milliseconds(10_500))
    #expect(
      over.failure?.message == "no answer from tcp://10.0.0.1:4400 in 10.0 seconds; check the keys"
    )
    // Once it has answered it is known.
    rig.handle(.begin(2, generate(2)))
    rig.receive(accepted(2))
    let known = rig.wait(.seconds(60))
    #expect(known.ends.isEmpty)
    #expect(rig.wait(.milliseconds(500)).failure?.message.contains("keys") == false)
  }

  @Test func `whatever comes is a sign of life, and only news of an answer ends the asking`() throws
  {
    let rig = try Rig(timeout: .seconds(5))
    rig.handle(.begin(1, generate(1)))
    _ = rig.takeSent()
    for _ in 0..<10 {
      #expect(rig.wait(.seconds(1)).ends.isEmpty)
      rig.receive(accepted(1, place: 2))
    }
    // It waits in a queue: the workers are asked for, and the request need not be.
    let asked = rig.takeSent()
    let receipts = asked.compactMap(\.receipt)
    #expect(receipts.count == 4 && receipts.allSatisfy { $0.awaited.isEmpty })
    #expect(receipts.reduce(0) { $0 + $1.messages } > 5)
    for _ in 0..<10 {
      #expect(rig.wait(.seconds(1)).probeCount == 0)
      rig.receive(delta(1, "x"))
    }
    #expect(rig.takeSent().isEmpty)
  }

  @Test func `how the workers are is told while somebody waits`() throws {
    let rig = try Rig()
    rig.handle(.begin(1, generate(1)))
    let actions = rig.receive(health(0))
    guard case .tell(.health) = actions.first else {
      Issue.record("\(actions)")
      return
    }
    #expect(actions.ends.isEmpty)
  }

  @Test func `a request that only this side knows is asked about, and ends as lost`() throws {
    let rig = try Rig()
    rig.handle(.begin(1, generate(1)))
    rig.handle(.begin(2, generate(2)))
    for _ in 0..<5 {
      _ = rig.wait(.seconds(1))
      rig.receive(delta(2, "x"))
    }
    let receipt = try #require(rig.takeSent().compactMap(\.receipt).last)
    #expect(receipt.awaited == [1])
    let ends = rig.receive(failed(1, .lost, "request 1 is not being served")).ends
    #expect(ends == [1: .lost])
  }

  @Test func `questions that may be lost with a coordinator are asked again, deeds are not`() throws
  {
    let rig = try Rig()
    let question = Message.statusRequest(StatusRequest(request: 1))
    let test = Message.healthRequest(HealthRequest(request: 2, runsSelfTest: true))
    let move = Message.drain(Drain(request: 3, worker: "cpu-0"))
    for (index, message) in [question, test, move].enumerated() {
      rig.handle(.begin(UInt64(index + 1), message))
    }
    _ = rig.wait(.seconds(5))
    let sent = rig.takeSent()
    #expect(sent.count { $0 == question } > 1)
    #expect(sent.count { $0 == test } == 1 && sent.count { $0 == move } == 1)
    // The second answer is for nobody.
    #expect(rig.receive(.statusReply(status(1))).ends == [1: nil])
    #expect(rig.receive(.statusReply(status(1))).isEmpty)
  }

  @Test func `a move is lost with the coordinator that was asked for it`() throws {
    let rig = try Rig()
    rig.handle(.begin(1, .drain(Drain(request: 1, worker: "cpu-0"))))
    rig.handle(.begin(2, generate(2)))
    _ = rig.wait(.seconds(5))
    let asked = rig.takeSent().contains(.statusRequest(StatusRequest(request: 0)))
    #expect(asked)
    // One that was there before is busy with it; one that is a second old knows nothing of it.
    var old = status(0)
    old.uptimeMilliseconds = 60_000
    #expect(rig.receive(.statusReply(old)).ends.isEmpty)
    #expect(rig.receive(.statusReply(status(0))).ends == [1: .lost])
  }

  @Test func `a coordinator that is gone ends everything, and the next request begins anew`() throws
  {
    let rig = try Rig()
    rig.handle(.begin(1, generate(1)))
    rig.handle(.begin(2, .statusRequest(StatusRequest(request: 2))))
    let actions = rig.handle(.absent)
    #expect(actions.ends == [1: .ended, 2: .ended])
    #expect(actions.failure?.message == "the coordinator at ipc:///run/front has ended")
    rig.now += .seconds(3600)
    rig.handle(.begin(3, generate(3)))
    #expect(rig.wait(.seconds(5)).ends.isEmpty)
  }

  @Test func `what is no message ends everything: nobody knows whose answer lacks a part`() throws {
    let rig = try Rig()
    rig.handle(.begin(1, generate(1)))
    let actions = rig.handle(.failed(WireError(.malformed, "no envelope")))
    #expect(actions.failure?.code == .connection)
    #expect(actions.failure?.message == "wire.malformed: no envelope")
  }

  @Test func `a word about no request in particular concerns all`() throws {
    let rig = try Rig()
    rig.handle(.begin(1, generate(1)))
    rig.handle(.begin(2, generate(2)))
    let ends = rig.receive(failed(0, .notAllowed, "not with this key")).ends
    #expect(ends == [1: .notAllowed, 2: .notAllowed])
  }

  @Test func `who gives up before its request was sent leaves no trace`() throws {
    let rig = try Rig()
    rig.handle(.begin(1, generate(1)), sends: false)
    rig.handle(.begin(2, generate(2)), sends: false)
    rig.handle(.abandon(1), sends: false)
    rig.handle(.tick)
    #expect(rig.takeSent() == [generate(2)])
    rig.handle(.abandon(2))
    #expect(rig.takeSent() == [.cancel(Cancel(request: 2))])
    rig.handle(.abandon(2))
    rig.handle(.cancel(2))
    #expect(rig.takeSent().isEmpty)
  }

  @Test func `while the socket takes nothing, nothing piles up`() throws {
    let rig = try Rig()
    rig.handle(.begin(1, generate(1)), sends: false)
    #expect(rig.wait(.seconds(60), sends: false).ends.isEmpty)
    rig.handle(.tick)
    #expect(rig.takeSent() == [generate(1)])
  }

  @Test func `closing ends what is open`() throws {
    let rig = try Rig()
    rig.handle(.begin(1, generate(1)))
    _ = rig.takeSent()
    #expect(rig.handle(.close).ends == [1: .closed])
    #expect(rig.takeSent() == [.cancel(Cancel(request: 1))])
  }

  @Test func `a message of another kind is no answer`() throws {
    let rig = try Rig()
    rig.handle(.begin(1, .statusRequest(StatusRequest(request: 1))))
    #expect(rig.receive(delta(1, "x")).isEmpty && rig.receive(health(1)).isEmpty)
    #expect(rig.machine.isWaiting)
  }
}
