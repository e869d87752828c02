// `trestle rebalance` and `trestle drain`: layers move between workers while requests run.

import ArgumentParser
import Compute
import Gemma
import Launch
import Wire

struct RebalanceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rebalance",
    abstract: "Move layers between the running workers; no request is lost or changed.",
    discussion: """
      The new placement is prepared beside the one that runs. Between two tokens the keys and values
      of the live sessions move from worker to worker, and generation goes on.

        trestle rebalance --split 12,8,10     layers a worker, in the order `status` shows them
        trestle rebalance --split 18,12,0     the last one stands by
        trestle rebalance --auto              such that the slowest stage is as fast as can be
        trestle rebalance --split 18,0 --logits-split 1,3
                                              three quarters of the logits on the second worker

      Workers that joined later (`trestle work`) come behind those that hold layers.
      """
  )

  @Option(
    help: ArgumentHelp(
      "Layers a worker, for example 12,8,10; 0 lets one stand by.",
      valueName: "layers"
    )
  )
  var split: NumberList?

  @Option(
    help: ArgumentHelp(
      "With --split: proportions of the output matrix, from the worker with the last layer on; those behind it may have 0 layers. Default: all with the last layer.",
      valueName: "parts"
    )
  )
  var logitsSplit: NumberList?

  @Flag(help: "Choose the split from how fast each worker has been.")
  var auto = false

  @Flag(help: "Print one JSON document.")
  var json = false

  @OptionGroup var coordinator: ClientOptions

  func validate() throws {
    guard auto != (split != nil) else {
      throw ValidationError("Give either --split, for example --split 12,8,10, or --auto.")
    }
    if let logitsSplit, split == nil {
      throw ValidationError(
        "--logits-split \(logitsSplit): needs --split, which says who holds the last layer."
      )
    }
  }

  func run() throws {
    try reportingFailures {
      let client = try coordinator.connect()
      let moved = try client.move { request in
        .rebalance(
          Rebalance(
            request: request,
            split: split?.values ?? [],
            logitsSplit: logitsSplit?.values ?? []
          )
        )
      }
      try show(moved, client, json: json)
    }
  }
}

struct DrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drain",
    abstract: "Give a worker's layers to the others and let it end; no request is lost.",
    discussion: """
      `trestle status` shows the workers' names.
      """
  )

  @Argument(help: "The worker's name.")
  var worker: String

  @Flag(help: "Print one JSON document.")
  var json = false

  @OptionGroup var coordinator: ClientOptions

  func run() throws {
    try reportingFailures {
      let client = try coordinator.connect()
      let moved = try client.move { .drain(Drain(request: $0, worker: worker)) }
      try show(moved, client, json: json)
    }
  }
}

extension Client {
  /// Asks for a move and waits until it is done.
  ///
  /// - Throws: `CommandError` with the coordinator's reason if the layers stay where they are.
  fileprivate func move(_ ask: (UInt64) -> Message) throws -> Rebalanced {
    let request = newRequest()
    try send(ask(request))
    while let answer = try receive() {
      switch answer.message {
      case .rebalanced(let moved) where moved.request == request: return moved
      case .requestFailed(let failure) where failure.request == request:
        throw CommandError(failure.message)
      default: continue
      }
    }
    throw Interrupted()
  }
}

/// What `rebalance --json` and `drain --json` print.
private struct MoveDocument: Encodable {
  var epoch: UInt32
  var layersMoved: Int
  var kvBytesMoved: UInt64
  var pauseMs: Double
}

private func show(_ moved: Rebalanced, _ client: Client, json: Bool) throws {
  let pause = Double(moved.pauseMicroseconds) / 1000
  if json {
    try printOut(
      try trestle.json(
        MoveDocument(
          epoch: moved.epoch,
          layersMoved: moved.layersMoved,
          kvBytesMoved: moved.kvBytesMoved,
          pauseMs: pause
        )
      )
    )
    return
  }
  let workers = try client.status().workers
  let line = ModelLine(covering: workers.map(\.slice))
  let layers = workers.map { "\($0.name.printable) \(line.text($0.slice))" }.joined(separator: ", ")
  try printOut("epoch \(moved.epoch): \(layers)")
  try printOut(
    "\(moved.layersMoved) layers and \(describe(bytes: moved.kvBytesMoved)) of keys and values moved, "
      + "pause \(decimal(pause, 1)) ms"
  )
}
