// Encodes long prompts on a thread of its own, so that megabytes of text from one client keep nobody else
// waiting. The coordinator's loop hands prompts in and takes tokens out between two events.

package import Platform
internal import Wire

/// A prompt that waits to be encoded.
package struct UnencodedPrompt: Sendable {
  /// The machine's number for it.
  var id: UInt64
  var source: PromptSource
  /// What the answer must conform to.
  var rule: AnswerRule?
}

/// Encodes prompts.
///
/// But for its thread, for the coordinator's loop alone.
package final class PromptDesk {
  private enum Request: Sendable {
    case encode(UnencodedPrompt)
    case forget(UInt64)
    case stop
  }

  private let encoder: PromptEncoder
  private let requests: Mailbox<Request>
  private let results: Mailbox<(id: UInt64, prompt: Result<EncodedPrompt, PromptError>)>
  private var thread: Thread?

  /// - Throws: `PlatformError` if the process has no descriptor left.
  package init(_ model: ServedModel) throws(PlatformError) {
    encoder = PromptEncoder(model)
    requests = try Mailbox()
    results = try Mailbox()
  }

  deinit { close() }

  /// Readable when a prompt is encoded.
  var descriptor: CInt { results.descriptor }

  /// Takes a prompt; short ones overtake long ones.
  ///
  /// - Throws: `PlatformError` if there is no thread for it.
  func take(_ prompt: UnencodedPrompt) throws(PlatformError) {
    if thread == nil {
      let (encoder, requests, results) = (encoder, requests, results)
      thread = try Thread { Self.serve(encoder, requests, results) }
    }
    requests.post(.encode(prompt))
  }

  /// Nobody wants a prompt any more.
  func forget(_ id: UInt64) { requests.post(.forget(id)) }

  /// Returns what has been encoded since.
  func takeResults() -> [(id: UInt64, prompt: Result<EncodedPrompt, PromptError>)] {
    results.takeAll()
  }

  private static func serve(
    _ encoder: PromptEncoder,
    _ requests: Mailbox<Request>,
    _ results: Mailbox<(id: UInt64, prompt: Result<EncodedPrompt, PromptError>)>
  ) {
    var waiting: [UnencodedPrompt] = []
    while true {
      if waiting.isEmpty {
        _ = try? poll(sockets: [], descriptors: [requests.descriptor], timeout: nil)
      }
      for request in requests.takeAll() {
        switch request {
        case .encode(let prompt): waiting.append(prompt)
        case .forget(let id): waiting.removeAll { $0.id == id }
        case .stop: return
        }
      }
      let shortest = waiting.indices.min {
        waiting[$0].source.encodingCost < waiting[$1].source.encodingCost
      }
      guard let shortest else { continue }
      let next = waiting.remove(at: shortest)
      do throws(PromptError) {
        let prompt = try encoder.encode(next.source, next.rule)
        results.post((next.id, .success(prompt)))
      } catch {
        results.post((next.id, .failure(error)))
      }
    }
  }

  /// Ends the thread, after the prompt that it is at.
  func close() {
    guard thread != nil else { return }
    requests.post(.stop)
    thread?.join()
    thread = nil
  }
}
