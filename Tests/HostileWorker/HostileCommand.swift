// A worker for tests: it joins a coordinator, computes its layers truly, and misbehaves from the
// moment a line comes on stdin. It ends when it is refused, or when stdin does.

import ArgumentParser
import CPUBackend
import Gemma
import Wire

@main struct HostileCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "HostileWorker",
    abstract: "Join a pipeline as a worker, and misbehave from the first line on stdin on.",
    discussion: "Behaviours: \(Behaviour.allCases.map(\.rawValue).joined(separator: ", "))."
  )

  @Option(help: "The same model as the coordinator's.")
  var model: String

  @Option(help: "The coordinator's ipc endpoint.")
  var coordinator: String

  @Option(help: "What it calls itself.")
  var name: String

  @Option(help: "How it misbehaves.")
  var behaviour: Behaviour

  @Option(help: "Repeats what is random about it.")
  var seed: UInt64 = 1

  func run() throws {
    let coordinator = try Endpoint(coordinator)
    guard let directory = EndpointClaim.workersDirectory(of: coordinator) else {
      throw ValidationError("\(coordinator) is no ipc endpoint.")
    }
    let impostor = try Impostor(
      name: name,
      coordinator: coordinator,
      directory: directory,
      checkpoint: Checkpoint.open(model),
      backend: CPU(threads: 1, pinnedTo: nil),
      liar: Liar(behaviour, seed: seed)
    )
    try impostor.run()
  }
}
