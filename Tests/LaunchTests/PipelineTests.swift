// Pipelines that are put together and not started.

import Compute
import Coordinator
import Foundation
import Gemma
import Logging
import Platform
import Testing
import TestSupport
import Wire

@testable import Launch

@Suite struct `Pipelines` {
  private func planned(
    in directory: String,
    _ change: (inout PipelineSettings) -> Void = { _ in }
  ) throws -> Pipeline {
    var settings = PipelineSettings()
    settings.devices = ["cpu", "reference"]
    settings.threads = [1, 1]
    settings.contextTokens = 32
    change(&settings)
    let never = try Mailbox<Void>()
    return try Pipeline(
      model: Goldens.checkpoint("gemma3-random-a").path,
      settings,
      in: Surroundings(in: directory).context,
      workersAreHere: false,
      interruptedBy: never.descriptor
    )
  }

  @Test func `its machine waits for the workers that were planned`() throws {
    try withTemporaryDirectory { directory in
      let pipeline = try planned(in: directory) { $0.slots = 3 }
      #expect(pipeline.limits.contextTokens == 32 && pipeline.limits.slots == 3)
      #expect(try pipeline.machine().missingWorkers == ["cpu-0", "reference-0"])
    }
  }

  @Test func `workers are started with what was chosen for them`() throws {
    try withTemporaryDirectory { directory in
      let pipeline = try planned(in: directory) {
        $0.cacheType = .f16
        $0.passesAllLayers = true
      }
      let commands = pipeline.workerCommands(
        connection: ["--coordinator", "ipc:///run/front"],
        logLevel: .warning
      )
      #expect(commands.map(\.name) == ["cpu-0", "reference-0"])
      let arguments = try #require(commands.first).arguments
      #expect(
        arguments.prefix(8) == [
          "trestle", "work", "--model", pipeline.checkpoint.path, "--device", "cpu", "--name",
          "cpu-0",
        ]
      )
      let text = arguments.joined(separator: " ")
      #expect(text.contains("--threads 1 --lifeline --log-level warning"))
      #expect(text.contains("--coordinator ipc:///run/front --kv-cache f16 --all-layers"))
    }
  }

  @Test func `a context that the model was not made for is refused`() throws {
    try withTemporaryDirectory { directory in
      let error = try #require(throws: LaunchError.self) {
        _ = try planned(in: directory) { $0.contextTokens = 1 << 22 }
      }
      #expect(error.code == .settings)
      #expect(error.message.hasPrefix("--context 4194304: this model supports at most "))
    }
  }

  @Test func `workers of a tcp endpoint need its port`() throws {
    let security = CoordinatorSecurity(.insecure, ["--insecure"])
    let options = try security.workerOptions(Endpoint("tcp://0.0.0.0:4400"))
    #expect(
      options == [
        "--coordinator", "tcp://127.0.0.1:4400", "--insecure", "--listen", "tcp://127.0.0.1:*",
      ]
    )
    #expect(throws: LaunchError.self) { try security.workerOptions(Endpoint("tcp://0.0.0.0:*")) }
  }

  @Test func `reading a model ends when the user says so`() throws {
    try withTemporaryDirectory { directory in
      let stop = try Mailbox<Void>()
      stop.post(())
      #expect(throws: Interrupted.self) {
        _ = try Pipeline(
          model: Goldens.checkpoint("gemma3-random-a").path,
          PipelineSettings(),
          in: Surroundings(in: directory).context,
          interruptedBy: stop.descriptor
        )
      }
    }
  }
}
