// What keys let their holders do, and what becomes of them when the list changes.

import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `Roles of keys` {
  private let hub: PublicKey
  private let asker: PublicKey
  private let worker: PublicKey
  private let operatorKey: PublicKey

  init() throws {
    hub = try KeyPair.make().publicKey
    asker = try KeyPair.make().publicKey
    worker = try KeyPair.make().publicKey
    operatorKey = try KeyPair.make().publicKey
  }

  private func access(
    asker: Set<Role>? = [.ask],
    worker: Set<Role>? = [.work]
  ) throws -> Access {
    var list = KeyList()
    if let asker { try list.add(self.asker, name: "phone", roles: asker) }
    if let worker { try list.add(self.worker, name: "rack", roles: worker) }
    try list.add(operatorKey, name: "desk", roles: [.operate])
    return Access(own: hub, list)
  }

  /// A pipeline of two workers with keys, and what keys may do.
  private func serve(limits: CoordinatorLimits = Harness.limits()) throws -> Harness {
    let harness = Harness(limits: limits)
    harness.handle(.accessChanged(try access()))
    for name in ["cpu-0", "cpu-1"] { harness.start(Harness.hello(name), key: worker) }
    harness.settle()
    try #require(harness.readyCount == 1, "\(harness.notes)")
    return harness
  }

  private let prompt = Harness.generate(.tokens([5, 6, 7]))

  @Test func `each key does what its roles say, and is told what it lacks`() throws {
    let harness = try serve()
    harness.ask(prompt, client: 1, key: asker)
    harness.settle()
    #expect(harness.outcome(client: 1).finished != nil)
    // The coordinator's own machine may do all.
    harness.ask(prompt, client: 4, key: hub)
    harness.settle()
    #expect(harness.outcome(client: 4).finished != nil)
    let drain = Message.drain(Drain(request: 2, worker: "cpu-0"))
    let test = Message.healthRequest(HealthRequest(request: 3, runsSelfTest: true))
    for (message, request, client, key, role) in [
      (drain, 2, 1, asker, "operate"), (test, 3, 1, asker, "operate"),
      (prompt, 1, 2, operatorKey, "ask"), (prompt, 1, 3, worker, "ask"),
    ] {
      harness.ask(message, client: client, key: key)
      let failed = try #require(harness.outcome(UInt64(request), client: client).failed)
      #expect(failed.code == .notAllowed)
      #expect(failed.message.contains("may not \(role) here"), "\(failed.message)")
      #expect(failed.message.contains("trestle keys allow '\(key)' --may "), "\(failed.message)")
    }
    harness.ask(.drain(Drain(request: 9, worker: "nobody")), client: 2, key: operatorKey)
    #expect(harness.outcome(9, client: 2).failed?.code == .invalid, "asked, and answered")
    #expect(harness.machine.status(1).protocolErrors == 4)
  }

  @Test func `status and health are shown to every key that is let in`() throws {
    let harness = try serve()
    for key in [asker, worker, operatorKey] {
      let before = harness.replies.count
      harness.ask(.statusRequest(StatusRequest(request: 1)), key: key)
      harness.ask(.healthRequest(HealthRequest(request: 0)), key: key)
      let replies = harness.replies.dropFirst(before)
      #expect(replies.count == 2)
      #expect(!replies.contains { if case .requestFailed = $0 { true } else { false } })
    }
  }

  @Test func `a key that may only ask joins as no worker, and pulls nothing`() throws {
    let harness = try serve()
    let late = harness.start(Harness.hello(""), key: asker)
    harness.deliver(from: late.control)
    guard case .refused(let refused) = try #require(harness.sentToPeers[late.control]?.last) else {
      Issue.record("not refused")
      return
    }
    #expect(refused.code == .notAllowed && refused.message.contains("may not work here"))
    #expect(harness.machine.workers.count == 2)
    let pull = Message.describeModel(DescribeModel())
    let peer = Harness.peer(1, key: asker)
    #expect(harness.machine.objection(to: pull, from: peer) != nil)
    #expect(harness.machine.objection(to: pull, from: Harness.peer(1, key: worker)) == nil)
    harness.handle(.message(pull, from: peer, payloads: []))
    guard case .pullFailed = try #require(harness.sentToPeers[peer]?.last) else {
      Issue.record("not refused")
      return
    }
  }

  @Test func `a peer that has shown no key does nothing where keys are needed`() throws {
    let harness = try serve()
    harness.ask(prompt, client: 5)
    #expect(harness.outcome(client: 5).failed?.code == .notAllowed)
    // Without keys all may do all.
    let local = Harness()
    local.serve()
    local.ask(prompt)
    local.settle()
    #expect(local.outcome().finished != nil)
  }

  @Test func `a forgotten key's requests end in words, waiting or running, and others go on`()
    throws
  {
    let harness = try serve(limits: Harness.limits(slots: 2))
    for request: UInt64 in 1...3 {
      harness.ask(
        Harness.generate(.tokens([5, 6, 7]), request: request, count: 40, ignoresEnd: true),
        client: 1,
        key: asker
      )
    }
    let own = Harness.generate(.tokens([9, 8]), count: 6, ignoresEnd: true)
    harness.ask(own, client: 2, key: hub)
    for _ in 0..<20 { for endpoint in harness.steps.keys { harness.compute(endpoint) } }
    harness.handle(.accessChanged(try access(asker: nil)))
    for request: UInt64 in 1...3 {
      let failed = try #require(harness.outcome(request, client: 1).failed)
      #expect(failed.code == .notAllowed && failed.message.contains("not allowed here any more"))
    }
    harness.settle()
    #expect(harness.outcome(client: 2).tokens.count == 6)
    harness.ask(prompt, client: 1, key: asker)
    #expect(harness.outcome(1, client: 1).failed?.code == .notAllowed)
    harness.ask(.statusRequest(StatusRequest(request: 7)), client: 1, key: asker)
    #expect(harness.outcome(7, client: 1).failed?.code == .notAllowed)
  }

  @Test func `a forgotten key's worker is let go, and the streams go on with another`() throws {
    let harness = Harness(plan: Harness.plan(2))
    harness.handle(.accessChanged(try access()))
    harness.start(Harness.hello("cpu-0"), key: hub)
    let rack = harness.start(Harness.hello("cpu-1"), key: worker)
    harness.settle()
    harness.ask(
      Harness.generate(.tokens([5, 6, 7]), count: 20, ignoresEnd: true),
      key: asker
    )
    for _ in 0..<12 { for endpoint in harness.steps.keys { harness.compute(endpoint) } }
    harness.handle(.accessChanged(try access(worker: nil)))
    guard case .refused(let refused) = try #require(harness.sentToPeers[rack.control]?.last) else {
      Issue.record("not refused")
      return
    }
    #expect(refused.code == .notAllowed)
    #expect(harness.machine.workers.names == ["cpu-0"])
    // What it still says is refused, results too.
    harness.handle(.message(.heartbeat(Harness.heartbeat()), from: rack.control, payloads: []))
    #expect(harness.machine.workers.count == 1)
    harness.start(Harness.hello("cpu-1"), key: hub)
    harness.settle()
    #expect(harness.outcome().tokens.count == 20)
  }

  @Test func `results count only from the key that the worker joined with`() throws {
    let harness = try serve()
    harness.ask(prompt, key: asker)
    let worker = try #require(harness.worker("cpu-1"))
    let forged = PeerID(worker.results.bytes, key: hub)
    let done = StepDone(epoch: 1, sequence: 1, results: [], stageMicroseconds: [])
    harness.handle(.message(.stepDone(done), from: forged, payloads: []))
    #expect(harness.notes.contains { $0.message == "dropped an unexpected message" })
    harness.settle()
    #expect(harness.outcome().finished != nil)
  }

  @Test(arguments: [(PrefixSharing.all, true, true), (.key, true, false), (.none, false, false)])
  func `prefixes are shared between whom the option says`(
    _ sharing: PrefixSharing,
    _ withSelf: Bool,
    _ withOthers: Bool
  ) throws {
    for isLive in [false, true] {
      for (second, isShared) in [(asker, withSelf), (hub, withOthers)] {
        var limits = Harness.limits()
        limits.prefixSharing = sharing
        let harness = try serve(limits: limits)
        let tokens = (0..<12).map { Int32(10 + $0) }
        harness.ask(
          Harness.generate(.tokens(tokens), count: isLive ? 30 : 2, ignoresEnd: true),
          client: 1,
          key: asker
        )
        if isLive {
          for _ in 0..<6 { for endpoint in harness.steps.keys { harness.compute(endpoint) } }
        } else {
          harness.settle()
        }
        let before = harness.sentSteps.count
        harness.ask(Harness.generate(.tokens(tokens + [40]), count: 2), client: 2, key: second)
        harness.settle()
        let forks = harness.sentSteps.dropFirst(before).flatMap(\.forks)
        #expect(forks.isEmpty != isShared, "live \(isLive), \(sharing)")
        let finished = try #require(harness.outcome(client: 2).finished)
        #expect(finished.cachedTokens == forks.reduce(0) { $0 + $1.positionCount })
        #expect(finished.promptTokens == 13)
      }
    }
  }
}
