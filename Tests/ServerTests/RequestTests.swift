// Bodies of requests: what is taken, and how errors name the field at fault.

import Gemma
import HTTPTypes
import Testing
import Wire

@testable import Server

@Suite struct `Requests of the API` {
  private func body(_ text: String) throws -> JSON { try JSON(parsing: Array(text.utf8)) }

  private func chat(_ rest: String) throws -> ChatRequest {
    try ChatRequest(body(#"{"messages":[{"role":"user","content":"hi"}]\#(rest)}"#), .json)
  }

  @Test func `defaults are OpenAI's, null is absent, unknown fields are ignored`() throws {
    let request = try chat(#","temperature":null,"user":"me","store":false,"no_such_field":[1]"#)
    #expect(request.options.sampling.temperature == 1 && request.options.sampling.topP == 1)
    #expect(request.options.maxTokens == nil && request.options.choices == 1)
    #expect(!request.options.streams && !request.options.sampling.returnsLogProbabilities)
  }

  @Test(arguments: [
    (#","temperature":3"#, "temperature"), (#","temperature":"hot""#, "temperature"),
    (#","top_p":-0.1"#, "top_p"), (#","n":0"#, "n"), (#","n":1.5"#, "n"),
    (#","max_tokens":0"#, "max_tokens"),
    (#","max_tokens":"5""#, "max_tokens"), (#","stop":[""]"#, "stop"), (#","stop":5"#, "stop"),
    (#","stop":["a",1]"#, "stop"), (#","seed":1.5"#, "seed"),
    (#","logit_bias":{"x":1}"#, "logit_bias"),
    (#","logit_bias":{"5":200}"#, "logit_bias.5"), (#","logit_bias":[1]"#, "logit_bias"),
    (#","frequency_penalty":-3"#, "frequency_penalty"),
    (#","presence_penalty":true"#, "presence_penalty"),
    (#","top_logprobs":2"#, "top_logprobs"),
    (#","logprobs":true,"top_logprobs":21"#, "top_logprobs"),
    (#","stream":"yes""#, "stream"),
    (#","stream_options":{"include_usage":true}"#, "stream_options"),
    (#","response_format":{"type":"xml"}"#, "response_format.type"),
    (#","tools":[{}]"#, "tools[0].function"), (#","tools":5"#, "tools"),
    (#","min_tokens":-1"#, "min_tokens"),
    (#","max_completion_tokens":5,"max_tokens":0"#, "max_tokens"),
    (#","parallel_tool_calls":"no""#, "parallel_tool_calls"),
    (#","logit_bias":{"+5":1}"#, "logit_bias"),
    (
      #","response_format":{"type":"json_schema","json_schema":{"schema":[]}}"#,
      "response_format.json_schema.schema"
    ),
    (#","tools":[{"function":{"name":""}}]"#, "tools[0].function.name"),
  ])
  func `a field out of range or of another type is named`(_ rest: String, _ parameter: String) {
    let error = #expect(throws: APIError.self) { try chat(rest) }
    #expect(error?.status == 400)
    #expect(error?.parameter == parameter)
    #expect(error?.message.hasPrefix(parameter) == true)
  }

  @Test(arguments: [
    ("{}", "messages"), (#"{"messages":[]}"#, "messages"), (#"{"messages":[1]}"#, "messages[0]"),
    (#"{"messages":[{"role":"robot","content":"x"}]}"#, "messages[0].role"),
    (#"{"messages":[{"role":"user"}]}"#, "messages[0].content"),
    (
      #"{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}"#,
      "messages[0].content[0].type"
    ),
    (#"{"messages":[{"role":"user","content":[{"type":"text"}]}]}"#, "messages[0].content[0].text"),
  ])
  func `a message that is none is named by its place`(_ text: String, _ parameter: String) throws {
    let value = try body(text)
    let error = #expect(throws: APIError.self) { try ChatRequest(value, .json) }
    #expect(error?.parameter == parameter, "\(error?.message ?? "")")
  }

  @Test func `an integer may be written as any number`() throws {
    let options = try chat(#","max_tokens":16.0,"seed":1e3,"top_k":4e1"#).options
    #expect(options.maxTokens == 16 && options.seed == 1000 && options.sampling.topK == 40)
    let seed = try chat(#","seed":9007199254740993"#).options.seed
    #expect(seed == 9_007_199_254_740_993)
  }

  @Test func `a path is asked with its own methods, and GET with HEAD`() {
    for (method, path, allowed) in [
      (HTTPRequest.Method.get, "/v1/completions", "POST"), (.post, "/", "GET, HEAD"),
      (.delete, "/v1/models/x", "GET, HEAD"),
    ] {
      let error = #expect(throws: APIError.self) { try Route.find(method, path) }
      #expect(error?.status == 405 && error?.allowedMethods == allowed)
    }
    let error = #expect(throws: APIError.self) { try Route.find(.get, "/v2") }
    #expect(error?.status == 404 && error?.allowedMethods == nil)
  }

  @Test func `a seed draws the same for each choice, and choices differ`() throws {
    let options = try chat(#","seed":-5,"n":2"#).options
    #expect(options.sampling(choice: 0).seed == UInt64(bitPattern: -5))
    #expect(options.sampling(choice: 1).seed == options.sampling(choice: 1).seed)
    #expect(options.sampling(choice: 0).seed != options.sampling(choice: 1).seed)
    let without = try chat("").options
    #expect(without.sampling(choice: 0).seed != without.sampling(choice: 0).seed)
  }

  @Test func `roles take turns after neighbours are merged`() throws {
    let request = try ChatRequest(
      body(
        #"""
        {"messages":[{"role":"developer","content":"a"},{"role":"system","content":"b"},
        {"role":"user","content":"c"},{"role":"user","content":[{"type":"text","text":"d"}]},
        {"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function",
        "function":{"name":"f","arguments":"{\"x\":1}"}}]},
        {"role":"tool","tool_call_id":"1","content":"e"},{"role":"system","content":"g"}]}
        """#
      ),
      .json
    )
    let merged = TextModel.merged(TextModel.withoutTools(request.messages, tools: []))
    #expect(merged.map(\.role) == [.system, .user, .assistant, .user])
    #expect(merged[0].content == "a\n\nb")
    #expect(merged[1].content == "c\n\nd")
    #expect(merged[2].content == #"{"name":"f","parameters":{"x":1}}"#)
    #expect(merged[3].content == "e\n\ng")
  }

  @Test func `prompts of completions are texts, tokens, or several`() throws {
    for (text, count) in [
      (#""a""#, 1), (#"["a","b"]"#, 2), ("[1,2,3]", 1), ("[[1],[2,3]]", 2),
    ] {
      let request = try CompletionRequest(body(#"{"prompt":\#(text)}"#))
      #expect(request.prompts.count == count)
      #expect(request.options.maxTokens == 16)
    }
    for text in [
      #"{}"#, #"{"prompt":[]}"#, #"{"prompt":[1,"a"]}"#, #"{"prompt":[-1]}"#,
      #"{"prompt":"a","suffix":"b"}"#,
    ] {
      #expect(throws: APIError.self) { try CompletionRequest(body(text)) }
    }
  }
}
