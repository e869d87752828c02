// The body of a request for a completion: a prompt that is continued as it is.

internal import Gemma
internal import ModelFiles
internal import Wire

/// A request to continue some prompts.
struct CompletionRequest {
  var model: String?
  var options: GenerationOptions
  var prompts: [Source]
  /// Whether the answer begins with the prompt.
  var echoes: Bool

  enum Source {
    case text(String)
    case tokens([Int32])
  }

  /// As OpenAI has it.
  private static let usualMaxTokens = 16

  init(_ body: JSON) throws(APIError) {
    let fields = try Fields(body)
    model = try fields.string("model")
    options = try GenerationOptions(fields)
    prompts = try Self.prompts(fields)
    echoes = try fields.bool("echo") ?? false
    options.maxTokens = options.maxTokens ?? Self.usualMaxTokens
    if let suffix = try fields.string("suffix"), !suffix.isEmpty {
      throw fields.error("suffix", "is there, but this model does not fill in")
    }
    if let best = try fields.integer("best_of", 1...128), best != options.choices {
      throw fields.error("best_of", "is \(best), but n is \(options.choices); give n alone")
    }
    if let count = try fields.integer("logprobs", 0...20) {
      options.sampling.returnsLogProbabilities = true
      options.sampling.likeliest = count
    }
  }

  /// One text or more, or the tokens of one prompt or more.
  private static func prompts(_ fields: Fields) throws(APIError) -> [Source] {
    switch try fields.required("prompt") {
    case .string(let text): return [.text(text)]
    case .array(let values):
      guard let first = values.first else { throw fields.error("prompt", "is empty") }
      if case .integer = first { return [.tokens(try tokens(values, fields))] }
      var prompts: [Source] = []
      for value in values {
        switch value {
        case .string(let text): prompts.append(.text(text))
        case .array(let values): prompts.append(.tokens(try tokens(values, fields)))
        default: throw fields.error("prompt", "has \(value.kind), not a text or tokens")
        }
      }
      guard prompts.count <= 128 else {
        throw fields.error("prompt", "has \(prompts.count) prompts; at most 128 are allowed")
      }
      return prompts
    case let value: throw fields.error("prompt", "is \(value.kind), not a text or tokens")
    }
  }

  private static func tokens(_ values: [JSON], _ fields: Fields) throws(APIError) -> [Int32] {
    var tokens: [Int32] = []
    for value in values {
      guard case .integer(let number) = value, let token = Int32(exactly: number), token >= 0 else {
        throw fields.error("prompt", "has \(value.kind) among its tokens, which is none")
      }
      tokens.append(token)
    }
    return tokens
  }
}

extension TextModel {
  /// Returns the tokens of a prompt, with the token that begins a text.
  func tokens(of source: CompletionRequest.Source) -> [Int32] {
    switch source {
    case .tokens(let tokens): tokens
    case .text(let text): tokenizer.encode(text, addBOS: true, parseSpecial: false)
    }
  }

  /// Returns a prompt as the text that an answer continues; special tokens are no text, unless they are wanted.
  ///
  /// - Throws: `APIError` 400 if it has a token that the model has not.
  func text(
    of source: CompletionRequest.Source,
    skipSpecial: Bool = true
  ) throws(APIError) -> String {
    switch source {
    case .text(let text): return text
    case .tokens(let tokens):
      do throws(GemmaError) {
        return try tokenizer.decode(tokens, skipSpecial: skipSpecial)
      } catch {
        throw APIError.invalid(error.message, "prompt")
      }
    }
  }
}
