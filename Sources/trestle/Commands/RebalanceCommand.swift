// `trestle rebalance` and `trestle drain`: layers move between workers while requests run.

import ArgumentParser
import Client
import Compute
import Gemma
import Platform
import Wire

struct RebalanceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rebalance",
    abstract: "Move layers between the running workers; no request is lost or changed.",
    discussion: """
      The new placement is prepared while the old one runs. Between two tokens the keys and values \
      of the live sessions move from worker to worker, and generation goes on.

        trestle rebalance --split 12,8,10   layers of each worker, as in `status`
        trestle rebalance --split 18,12,0   the last worker stands by
        trestle rebalance --auto            makes the slowest stage fast
        trestle rebalance --split 18,0 --logits-split 1,3
                                            the second has 3/4 of the logits

      Workers that joined later (`trestle work`) come after those that hold layers.
      """
  )

  @Option(
    help: ArgumentHelp(
      "Layers of each worker, for example 12,8,10; a worker with 0 stands by.",
      valueName: "layers"
    )
  )
  var split: NumberList?

  @Option(
    help: ArgumentHelp(
      "With --split: proportions of the output matrix, from the worker with the last layer on; the workers after it may have 0 layers. Default: the worker with the last layer has all of it.",
      valueName: "parts"
    )
  )
  var logitsSplit: NumberList?

  @Flag(help: "Choose the split by the measured speed of each worker.")
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
        "--logits-split \(logitsSplit): this option needs --split, which says which worker has the last layer."
      )
    }
  }

  func run() throws {
    try reportingFailures {
      let client = try coordinator.connect()
      defer { client.close() }
      let (split, logitsSplit) = (split?.values ?? [], logitsSplit?.values ?? [])
      let moved = try Waiter().wait {
        try await client.rebalance(split: split, logitsSplit: logitsSplit)
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
      `trestle status` shows the workers' names. A worker that was lost, and whose layers others have, is \
      no longer expected afterwards.
      """
  )

  @Argument(help: "The worker's name.")
  var worker: String

  @Flag(help: "Print one JSON document.")
  var json = false

  @OptionGroup var coordinator: ClientOptions

  func run() throws {
    try reportingFailures {
      let (client, worker) = (try coordinator.connect(), worker)
      defer { client.close() }
      let status = try Waiter().wait { try await client.status() }
      let moved = try Waiter().wait { try await client.drain(worker) }
      if !json, status.replacedWorkers.contains(where: { $0.name == worker }) {
        try printOut("\(worker.printable), which was lost, is no longer expected")
      } else {
        try show(moved, client, json: json)
      }
    }
  }
}

private func show(_ moved: Rebalanced, _ client: CoordinatorClient, json: Bool) throws {
  let document = MoveDocument(moved)
  guard !json else {
    try printOut(try trestle.json(document))
    return
  }
  let workers = try Waiter().wait { try await client.status() }.workers
  let line = ModelLine(covering: workers.map(\.slice))
  let layers = workers.map { "\($0.name.printable) \(line.text($0.slice))" }.joined(separator: ", ")
  try printOut("epoch \(moved.epoch): \(layers)")
  try printOut(
    "\(moved.layersMoved) layers and \(describe(bytes: moved.kvBytesMoved)) of keys and values moved, "
      + "pause \(decimal(document.pauseMs, 1)) ms"
  )
}
