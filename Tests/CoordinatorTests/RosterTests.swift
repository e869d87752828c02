// The workers that are here, as a value of their own.

import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `The roster of workers` {
  private let now = ContinuousClock.now

  private func control(_ life: Int) -> PeerID { PeerID([0xC0, UInt8(life)]) }
  private func results(_ life: Int) -> PeerID { PeerID([0xD0, UInt8(life)]) }

  private func add(_ roster: inout Roster, _ name: String, life: Int) {
    var hello = Harness.hello(name)
    hello.resultsIdentity = results(life)
    roster.add(name, hello, on: Harness.device(), peer: control(life), at: now)
  }

  @Test func `a worker is found by its name and by both of its connections`() throws {
    var roster = Roster()
    add(&roster, "b", life: 1)
    add(&roster, "a", life: 2)
    #expect(roster.names == ["a", "b"] && roster.count == 2)
    #expect(roster.all.map(\.peer) == [control(2), control(1)])
    #expect(roster.name(ofControl: control(1)) == "b" && roster.name(ofResults: results(1)) == "b")
    #expect(roster.name(ofControl: results(1)) == nil && roster.name(ofResults: control(1)) == nil)
    #expect(!roster.wasSource(results(1)))
    let lost = roster.remove("b")
    #expect(lost?.peer == control(1) && roster.remove("b") == nil)
    #expect(!roster.contains("b") && roster.name(ofControl: control(1)) == nil)
    // What it had still to say may be on the way.
    #expect(roster.name(ofResults: results(1)) == nil && roster.wasSource(results(1)))
    try roster.checkInvariants()
  }

  @Test func `results carry the key that the control connection has proved`() throws {
    let key = try KeyPair.make().publicKey
    var roster = Roster()
    roster.add("a", Harness.hello("a"), on: Harness.device(), peer: PeerID([1], key: key), at: now)
    let identity = Harness.hello("a").resultsIdentity
    #expect(roster.name(ofResults: PeerID(identity.bytes, key: key)) == "a")
    #expect(roster.name(ofResults: identity) == nil)
  }

  @Test func `who comes back is not given up any more`() throws {
    var roster = Roster()
    roster.giveUp("a")
    #expect(roster.haveBeenGivenUp(["a"]) && !roster.haveBeenGivenUp(["a", "b"]))
    add(&roster, "a", life: 1)
    #expect(!roster.haveBeenGivenUp(["a"]))
    try roster.checkInvariants()
  }

  @Test func `how a worker was lost is remembered until it is back, the latest last`() throws {
    var roster = Roster()
    func lose(_ name: String, _ reason: String) {
      roster.noteLoss(WorkerLoss(name: name, device: "cpu", reason: reason, time: now))
    }
    for name in ["a", "b", "a"] { lose(name, "\(name) crashed") }
    #expect(roster.losses.map(\.name) == ["b", "a"])
    add(&roster, "a", life: 1)
    #expect(roster.losses.map(\.reason) == ["b crashed"])
    try roster.checkInvariants()
    #expect(roster.forgetLoss(of: "b") && !roster.forgetLoss(of: "b"))
    for number in 0...Limits.workers { lose("\(number)", "") }
    #expect(roster.losses.count == Limits.workers && roster.losses.first?.name == "1")
    try roster.checkInvariants()
  }

  @Test func `only so many former connections are remembered, the latest`() throws {
    var roster = Roster()
    for life in 0...Limits.workers {
      var hello = Harness.hello("a")
      hello.resultsIdentity = PeerID([UInt8(life >> 8), UInt8(life & 255)])
      roster.add("a", hello, on: Harness.device(), peer: control(1), at: now)
      _ = roster.remove("a")
    }
    #expect(!roster.wasSource(PeerID([0, 0])) && roster.wasSource(PeerID([0, 1])))
    try roster.checkInvariants()
  }

  @Test func `heartbeats tell of computing and of loading, each for itself`() throws {
    var roster = Roster()
    add(&roster, "a", life: 1)
    func hear(_ heartbeat: Heartbeat, after seconds: Int) {
      let time = now + .seconds(seconds)
      roster.update("a") { $0.hear(heartbeat, at: time, systemNow: time) }
    }
    func since(_ instant: ContinuousClock.Instant?) -> Duration? { instant.map { $0 - now } }
    hear(Harness.heartbeat(loadFraction: 0.5), after: 1)
    hear(Harness.heartbeat(loadFraction: 0.5), after: 2)
    let quiet = try #require(roster["a"])
    #expect(since(quiet.lastHeard) == .seconds(2))
    #expect(since(quiet.lastProgress) == .seconds(1) && since(quiet.lastLoaded) == .seconds(1))
    var busy = Harness.heartbeat(loadFraction: 7)
    busy.stepInProgressMicroseconds = 1
    hear(busy, after: 3)
    let computing = try #require(roster["a"])
    #expect(since(computing.lastProgress) == .seconds(3))
    #expect(since(computing.lastLoaded) == .seconds(3))
    // A fraction is none of seven.
    #expect(computing.heartbeat?.loadFraction == 1)
    #expect(computing.hasRunSteps)
    roster.updateAll { $0.beginEpoch() }
    #expect(roster["a"]?.hasRunSteps == false)
  }

  @Test func `what a worker cannot hold is remembered until it may try again`() {
    var roster = Roster()
    add(&roster, "a", life: 1)
    roster.update("a") { $0.failedToHold(bytes: 100, "too much") }
    #expect(roster["a"]?.inability.excludes(100) == true)
    #expect(roster["a"]?.inability.excludes(99) == false)
    roster.update("a") { $0.failedToHold(bytes: 50, "still too much") }
    #expect(roster["a"]?.inability.isTotal == true)
    #expect(roster["a"]?.inability.reason == "still too much")
    roster.updateAll { $0.forgetInability() }
    #expect(roster["a"]?.inability.excludes(1e9) == false)
    #expect(roster.update("b") { $0.countNonsense() } == nil)
    #expect(roster.update("a") { $0.countNonsense() } == 1)
  }
}
