// What a model thinks before it answers, shown on stderr: the answer on stdout stays what it is.

import Client

/// Shows thoughts under a heading, dimmed on a terminal.
struct ThoughtOutput {
  private var isOpen = false

  // Faint and normal, SGR 2 and 0 of ECMA-48.
  private static let dim = "\u{1B}[2m"
  private static let plain = "\u{1B}[0m"

  /// Shows the next text of a thought.
  mutating func show(_ text: String) {
    guard !text.isEmpty else { return }
    if !isOpen { StandardError.write((Terminal.dimsErrors ? Self.dim : "") + "Thinking:\n") }
    isOpen = true
    StandardError.write(text)
  }

  /// Ends a thought, if one is shown, and waits until it is written: what follows on stdout comes behind it.
  mutating func end() {
    guard isOpen else { return }
    isOpen = false
    StandardError.write((Terminal.dimsErrors ? Self.plain : "") + "\n\n")
    StandardError.flush()
  }
}

extension GenerationDocument {
  /// Why there is no answer although the model has begun to think; nil if there is one.
  var endedThinking: String? {
    guard thought != nil, text.isEmpty else { return nil }
    switch finishReason {
    case "length":
      return
        "there is no answer: the model was still thinking after \(tokens.count) tokens; raise --max-tokens"
    case "stop" where stop != nil: return "there is no answer: a text of --stop was in the thought"
    default: return nil
    }
  }
}
