// What the front door answers: one function for each route, from a body to an answer.

package import Client
internal import Foundation
internal import Gemma
internal import Wire

/// The API over one pipeline.
package struct FrontDoor: Sendable {
  let client: CoordinatorClient
  let model: TextModel
  let version: String
  let feed: StatusFeed
  let board = RequestBoard()
  let counters = HTTPCounters()
  private let began = Int(Date().timeIntervalSince1970)

  /// - Parameters:
  ///   - client: A client of the pipeline.
  ///   - model: The model that it serves.
  ///   - version: This program's version.
  package init(client: CoordinatorClient, model: TextModel, version: String) {
    self.client = client
    self.model = model
    self.version = version
    feed = StatusFeed(client, board)
  }

  // MARK: Models and health

  var models: JSON { ["object": "list", "data": [modelDocument]] }

  /// - Throws: `APIError` 404 for another model's name.
  func model(named name: String) throws(APIError) -> JSON {
    try model.check(name)
    return modelDocument
  }

  private var modelDocument: JSON {
    [
      "id": .string(model.name), "object": "model", "created": .integer(began),
      "owned_by": "trestle",
      "fingerprint": .string(model.fingerprint),
    ]
  }

  /// - Throws: `APIError` 503 unless prompts are served.
  func checkReady() async throws {
    let status = try await status()
    guard status.state == .ready || status.state == .degraded else {
      throw APIError(
        503,
        "the pipeline is \(StatusDocument(status).state)",
        type: "server_error",
        code: "not_ready",
        retryAfter: 2
      )
    }
  }

  func status() async throws -> StatusReply {
    do {
      return try await client.status()
    } catch let error as ClientError {
      throw APIError(error)
    }
  }

  // MARK: Tokens

  /// Both dialects: `content` of llama.cpp, `prompt` of vLLM.
  func tokenize(_ body: JSON) async throws -> JSON {
    let fields = try Fields(body)
    let isLlama = fields["content"] != nil
    guard let text = try fields.string(isLlama ? "content" : "prompt") else {
      throw fields.error("prompt", "is missing; give the text as prompt, or as content")
    }
    let addsSpecial = try fields.bool(isLlama ? "add_special" : "add_special_tokens") ?? !isLlama
    let parses = try fields.bool("parse_special") ?? true
    let tokens = model.tokenizer.encode(text, addBOS: addsSpecial, parseSpecial: parses)
    guard try isLlama && fields.bool("with_pieces") ?? false else {
      let list = JSON.array(tokens.map { .integer(Int($0)) })
      if isLlama { return ["tokens": list] }
      return [
        "tokens": list, "count": .integer(tokens.count),
        "max_model_len": .integer(try await status().contextTokens),
      ]
    }
    return ["tokens": .array(tokens.map(piece))]
  }

  private func piece(_ token: Int32) -> JSON {
    let bytes = model.tokenizer.bytes(of: token) ?? []
    let text = String(validating: bytes, as: UTF8.self)
    return [
      "id": .integer(Int(token)),
      "piece": text.map(JSON.string) ?? .array(bytes.map { .integer(Int($0)) }),
    ]
  }

  func detokenize(_ body: JSON) throws -> JSON {
    let fields = try Fields(body)
    guard let values = try fields.array("tokens") else {
      throw fields.error("tokens", "is missing")
    }
    var tokens: [Int32] = []
    for value in values {
      guard case .integer(let number) = value, let token = Int32(exactly: number), token >= 0 else {
        throw fields.error("tokens", "has \(value.kind), which is no token")
      }
      tokens.append(token)
    }
    let text = try model.text(of: .tokens(tokens), skipSpecial: false)
    return ["content": .string(text), "prompt": .string(text)]
  }

  /// Returns the text of the prompt that a chat becomes.
  func applyTemplate(_ body: JSON) throws -> JSON {
    let request = try ChatRequest(body, model.callNotation)
    try model.check(request.model)
    return ["prompt": .string(try model.promptText(of: request))]
  }

  var tokenizerInfo: JSON {
    let tokenizer = model.tokenizer
    let name = { (token: Int32) in
      tokenizer.bytes(of: token).map { String(decoding: $0, as: UTF8.self) }
    }
    return [
      "bos_token": JSON(tokenizer.bosToken.flatMap(name)),
      "eos_token": JSON(tokenizer.eosTokens.first.flatMap(name)),
      "chat_template": .null,
      "vocab_size": .integer(tokenizer.vocabularySize),
    ]
  }

  // MARK: Answers

  func head(_ prefix: String) -> AnswerHead {
    let id = String(UInt64.random(in: .min ... .max), radix: 36)
    return AnswerHead(
      id: prefix + id,
      created: Int(Date().timeIntervalSince1970),
      model: model.name,
      system: "trestle-\(version)-\(model.fingerprint.prefix(12))"
    )
  }

  /// Begins the answer to a chat.
  ///
  /// - Throws: `APIError` if it cannot be answered.
  func chat(_ body: JSON) async throws -> BegunAnswer {
    let request = try ChatRequest(body, model.callNotation)
    let form = ChatForm(scores: request.options.sampling.returnsLogProbabilities)
    let head = head(form.idPrefix)
    return try await begin(request, head) { _ in
      openAI(head, form, request.options, choiceCount: request.options.choices)
    }
  }

  /// Begins the answer to a request for a message, in Anthropic's interface.
  ///
  /// - Throws: `APIError` if it cannot be answered.
  func messages(_ body: JSON) async throws -> BegunAnswer {
    let head = head("msg_")
    return try await begin(MessagesRequest(body, model.callNotation).chat, head) { prompt in
      MessagesDialect(id: head.id, model: head.model, promptTokens: prompt.count)
    }
  }

  /// Counts the tokens of a prompt in Anthropic's interface.
  ///
  /// - Throws: `APIError` if it is none.
  func countTokens(_ body: JSON) throws -> JSON {
    guard case .object(var members) = body else { throw APIError.invalid("the body is no object") }
    if body["max_tokens"] ?? .null == .null {
      members.removeAll { $0.name == "max_tokens" }
      members.append(.init("max_tokens", 1))
    }
    let request = try MessagesRequest(.object(members), model.callNotation).chat
    try model.check(request.model)
    return ["input_tokens": .integer(try model.prompt(of: request).count)]
  }

  /// Begins a response.
  ///
  /// - Throws: `APIError` if it cannot be answered.
  func respond(_ body: JSON) async throws -> BegunAnswer {
    let request = try ResponsesRequest(body, model.callNotation)
    let head = head("resp_")
    return try await begin(request.chat, head) { _ in
      ResponsesDialect(head: head, repeated: request.repeated)
    }
  }

  /// Begins the answer to a request for completions.
  ///
  /// - Throws: `APIError` if it cannot be answered.
  func complete(_ body: JSON) async throws -> BegunAnswer {
    let request = try CompletionRequest(body)
    try model.check(request.model)
    let scores = request.options.sampling
    let prompts = request.prompts.map { model.tokens(of: $0) }
    var echoes: [Echo] = []
    for (source, tokens) in zip(request.prompts, prompts) where request.echoes {
      var echo = Echo(text: try model.text(of: source), scored: nil)
      if scores.returnsLogProbabilities {
        echo.scored = try await self.scores(of: tokens, likeliest: scores.likeliest)
      }
      echoes += Array(repeating: echo, count: request.options.choices)
    }
    let form = CompletionForm(
      scores: request.options.sampling.returnsLogProbabilities,
      echoes: echoes
    )
    let count = request.prompts.count * request.options.choices
    let head = head(form.idPrefix)
    return try await begin(
      prompts,
      request.options,
      head,
      openAI(head, form, request.options, choiceCount: count),
      promptField: "prompt"
    )
  }

  private func openAI(
    _ head: AnswerHead,
    _ form: some AnswerForm,
    _ options: GenerationOptions,
    choiceCount: Int
  ) -> OpenAIDialect {
    OpenAIDialect(
      head: head,
      form: form,
      choiceCount: choiceCount,
      choicesOfPrompt: options.choices,
      includesUsage: options.includesUsage
    )
  }

  private func begin(
    _ request: ChatRequest,
    _ head: AnswerHead,
    _ dialect: ([Int32]) -> any AnswerDialect
  ) async throws -> BegunAnswer {
    try model.check(request.model)
    let prompt = try model.prompt(of: request)
    return try await begin(
      [prompt],
      request.options,
      head,
      dialect(prompt),
      tools: request.toolUse,
      promptField: request.messagesField
    )
  }

  private func begin(
    _ prompts: [[Int32]],
    _ options: GenerationOptions,
    _ head: AnswerHead,
    _ dialect: any AnswerDialect,
    tools: ToolUse = .none,
    promptField: String
  ) async throws -> BegunAnswer {
    let requests = prompts.flatMap { prompt in
      (0..<options.choices).map { options.generate(.tokens(prompt), choice: $0) }
    }
    do {
      let answer = try await Answer(requests, of: client)
      let promptTokens = prompts.reduce(0) { $0 + $1.count }
      return BegunAnswer(
        answer: answer,
        dialect: dialect,
        choiceCount: requests.count,
        tools: tools,
        streams: options.streams,
        place: board.add(head.id, promptTokens: promptTokens, answer)
      )
    } catch let error as ClientError {
      let context = error.code == .tooLong ? try await status().contextTokens : 0
      let longest = prompts.map(\.count).max() ?? 0
      var told = APIError(error, contextTokens: context, promptTokens: longest)
      switch error.code {
      case .tooLong: told.parameter = promptField
      case .constraint: told.parameter = options.grammarField
      default: break
      }
      throw told
    }
  }
}
