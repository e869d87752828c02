// What keys may do, by the current content of the file.

import Foundation
import TestSupport
import Testing

@testable import Wire
import Platform

@Suite struct `Access list` {
  private func withList(
    _ body: (AccessList, KeyDirectory, [PublicKey], Lock<Int>) throws -> Void
  )
    throws
  {
    try withTemporaryDirectory { path in
      let directory = KeyDirectory(path)
      let keys = try (0..<3).map { _ in try KeyPair.make().publicKey }
      try directory.change { try $0.add(keys[1], name: "phone", roles: [.ask]) }
      let failures = Lock(0)
      let list = try AccessList(own: keys[0], in: directory) { _ in failures.withLock { $0 += 1 } }
      try body(list, directory, keys, failures)
    }
  }

  @Test func `the own key may do all, and others what the list says`() throws {
    try withList { list, _, keys, _ in
      let access = try #require(list.takeChange())
      #expect(access[keys[0]]?.roles == Role.all)
      #expect(access[keys[1]] == Access.Holder(name: "phone", roles: [.ask]))
      #expect(access[keys[2]] == nil)
      #expect(list.allows(keys[0]) && list.allows(keys[1]) && !list.allows(keys[2]))
    }
  }

  @Test func `a change is told once, before its key is let in`() throws {
    try withList { list, directory, keys, _ in
      #expect(list.takeChange() != nil)
      #expect(list.takeChange() == nil)
      list.refresh()
      #expect(list.takeChange() == nil)
      try directory.change { try $0.add(keys[2], name: "tablet") }
      #expect(list.allows(keys[2]))
      #expect(try #require(list.takeChange())[keys[2]]?.roles == Role.all)
      _ = try directory.change { $0.remove("phone") }
      list.refresh()
      #expect(try #require(list.takeChange())[keys[1]] == nil)
    }
  }

  @Test func `a file that cannot be read lets nobody new in, and ends nothing`() throws {
    try withList { list, directory, keys, failures in
      #expect(list.takeChange() != nil)
      try Data("no key\n".utf8).write(to: URL(filePath: directory.allowedPath))
      #expect(list.allows(keys[0]) && !list.allows(keys[1]))
      list.refresh()
      #expect(list.takeChange() == nil)
      #expect(failures.withLock { $0 } == 1, "the same is told once")
    }
  }

  @Test func `each message of a client or worker needs the role that its name says`() {
    let evaluate = Evaluate(request: 1, tokens: [1], kind: .logits, firstScored: 0)
    #expect(Message.evaluate(evaluate).role == .ask)
    #expect(Message.describeModel(DescribeModel()).role == .work)
    #expect(Message.drain(Drain(request: 1, worker: "cpu-0")).role == .operate)
    #expect(Message.statusRequest(StatusRequest(request: 1)).role == nil)
    #expect(Message.healthRequest(HealthRequest(request: 0)).role == nil)
    #expect(Message.healthRequest(HealthRequest(request: 1, runsSelfTest: true)).role == .operate)
  }
}
