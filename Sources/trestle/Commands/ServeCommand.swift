// `trestle serve`: the front door, an API over HTTP for a pipeline that runs.

import ArgumentParser
import Client
import Compute
import Content
import Foundation
import Gemma
import Glibc
import Launch
import Logging
import ModelFiles
import Platform
import Server
import Wire

struct ServeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Serve a running pipeline over HTTP, to any OpenAI-compatible program.",
    discussion: """
      Point a client at http://127.0.0.1:8080/v1, with any API key. The page at / shows the pipeline at work. \
      The pipeline is that of `trestle up`; several front doors may serve one.

        trestle up --model PATH &
        trestle serve --model PATH
        curl http://127.0.0.1:8080/v1/chat/completions \\
          -H 'Content-Type: application/json' \\
          -d '{"messages": [{"role": "user", "content": "To be, or not to be"}]}'
      """
  )

  @Option(
    help: ArgumentHelp(
      "The model that the pipeline serves, for its tokenizer and chat template.",
      valueName: "model"
    )
  )
  var model: ModelName

  @OptionGroup var http: HTTPServerOptions
  @OptionGroup var coordinator: ClientOptions
  @OptionGroup var log: LogOptions

  /// Given by `up`, whose end closes stdin.
  @Flag(help: .hidden) var untilStdinEnds = false

  func run() throws {
    try reportingFailures {
      let manager = ServiceManager.fromEnvironment()
      // As a child it ends at once by a signal, and when its parent ends.
      let interrupt = try untilStdinEnds ? STDIN_FILENO : signalDescriptor()
      let options = try http.options()
      let text = try textModel(interruptedBy: interrupt)
      let client = try coordinator.connect()
      defer { client.close() }
      try check(text, client)
      let host = options.host.contains(":") ? "[\(options.host)]" : options.host
      let isChild = untilStdinEnds
      let server = HTTPServer(
        FrontDoor(client: client, model: text, version: programVersion),
        options,
        logger: log.logger("trestle.http", default: .warning),
        for: manager
      ) { port in
        printError(
          "serving \(text.name) at http://\(host):\(port)/v1, the page at http://\(host):\(port)/"
        )
        manager.tell(status: "serving \(text.name) at http://\(host):\(port)/")
        manager.tellReady()
        // If it cannot be told, the parent has gone, whose end ends this process.
        if isChild { try? printOut("ready") }
      }
      do {
        try Waiter(interruptedBy: interrupt).wait(
          onInterrupt: {
            manager.tellStopping()
            server.stop()
          }
        ) { try await server.run() }
      } catch let failure as ListenFailure {
        throw CommandError(
          "cannot listen at \(host):\(options.port): \(failure.reason); choose another address with --http"
        )
      }
    }
  }

  private func textModel(interruptedBy interrupt: CInt) throws -> TextModel {
    let checkpoint = try Checkpoint.open(model.path(interruptedBy: interrupt))
    let fingerprint = try ModelContent.fingerprint(
      of: checkpoint,
      in: .program,
      interruptedBy: [interrupt]
    )
    let tokenizer = try checkpoint.tokenizer()
    return TextModel(
      name: http.modelName ?? checkpoint.name,
      aliases: [checkpoint.name],
      fingerprint: "\(fingerprint)",
      tokenizer: tokenizer,
      template: try template(of: checkpoint, for: tokenizer)
    )
  }

  /// A model without a template can serve completions; a template that was asked for must be usable.
  private func template(
    of checkpoint: Checkpoint,
    for tokenizer: Tokenizer
  ) throws -> Result<ChatTemplate, GemmaError> {
    guard let path = http.chatTemplate else {
      return Result { () throws(GemmaError) in try checkpoint.chatTemplate(for: tokenizer) }
    }
    guard let source = FileManager.default.contents(atPath: path) else {
      throw CommandError("--chat-template \(path): cannot be read")
    }
    do throws(GemmaError) {
      let text = String(decoding: source, as: UTF8.self)
      return .success(try ChatTemplate.parse(text, for: tokenizer))
    } catch {
      throw CommandError("--chat-template \(path): \(error.message)")
    }
  }

  /// Another model's tokenizer would make prompts that mean nothing.
  private func check(_ text: TextModel, _ client: CoordinatorClient) throws {
    let status = try Waiter().wait { try await client.status() }
    guard "\(status.fingerprint)" == text.fingerprint else {
      throw CommandError(
        "--model \(model) is not what the pipeline serves, \(status.model.printable): their fingerprints "
          + "differ; name the same files"
      )
    }
  }
}
