// What waits for a reader, how much of it counts as read, and how it ends.

import Testing
import Wire

@testable import Client

@Suite struct `Inboxes` {
  /// Texts, put together while nobody reads them.
  private func inbox() -> Inbox<String> {
    Inbox(
      Inbox<String>.Reading(
        element: { message, _ in if case .delta(let delta) = message { delta.text } else { nil } },
        merge: { last, next in
          guard next != "alone" else { return false }
          last += next
          return true
        }
      )
    )
  }

  @Test func `what is not read is put together, in order, where that may be`() async throws {
    let inbox = inbox()
    for text in ["a", "b", "alone", "c"] {
      #expect(inbox.deliver(delta(1, text), [], serial: 0))
    }
    inbox.finish(nil)
    #expect(try await inbox.next()?.element == "ab")
    #expect(try await inbox.next()?.element == "alonec")
    #expect(try await inbox.next() == nil)
    #expect(try await inbox.next() == nil)
  }

  @Test func `a message of no interest counts as read`() {
    let inbox = inbox()
    #expect(inbox.deliver(accepted(1), [], serial: 0))
    #expect(!inbox.isDone)
  }

  @Test func `beyond a mebibyte messages count when they are taken`() async throws {
    let inbox = inbox()
    let half = String(repeating: "x", count: 1 << 17)
    // A token has four bytes, and stands for each byte of the text here: five times 128 KiB.
    #expect(inbox.deliver(delta(1, half), [], serial: 10))
    #expect(!inbox.deliver(delta(1, half), [], serial: 11))
    #expect(!inbox.deliver(delta(1, "x"), [], serial: 12))
    #expect(try await inbox.next()?.serial == nil)
    // There is room again.
    #expect(inbox.deliver(delta(1, "y"), [], serial: 13))
    #expect(try await inbox.next()?.serial == 11)
    let last = try await inbox.next()
    #expect(last?.serial == 12 && last?.element == "xy")
  }

  @Test func `the first end counts`() async throws {
    let inbox = inbox()
    inbox.finish(ClientError(.busy, "too many"))
    inbox.finish(nil)
    #expect(inbox.isDone)
    #expect(inbox.deliver(delta(1, "late"), [], serial: 0))
    let error = await #expect(throws: ClientError.self) { try await inbox.next() }
    #expect(error?.code == .busy)
  }

  @Test func `an error comes behind what came before it`() async throws {
    let inbox = inbox()
    _ = inbox.deliver(delta(1, "half"), [], serial: 0)
    inbox.finish(ClientError(.lost, "gone"))
    #expect(!inbox.isDone)
    #expect(try await inbox.next()?.element == "half")
    await #expect(throws: ClientError.self) { try await inbox.next() }
  }

  @Test func `a cancelled reader gets nothing more`() async throws {
    let inbox = inbox()
    _ = inbox.deliver(delta(1, "a"), [], serial: 0)
    inbox.cancel()
    await #expect(throws: CancellationError.self) { try await inbox.next() }
    inbox.finish(nil)
    await #expect(throws: CancellationError.self) { try await inbox.next() }
  }
}
