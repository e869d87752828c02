// A short run of scripts/torment: workers that answer garbage, and are killed meanwhile, under live
// streams.

import Foundation
import TestSupport
import Testing

extension Integration {
  @Suite struct `Torment` {
    /// Runs a script of the project with the programs of this build.
    private func run(_ name: String, _ arguments: [String]) throws -> (status: Int32, text: String)
    {
      let script = Process()
      script.executableURL = Goldens.checkout.appending(path: "scripts/\(name)")
      let program = URL(filePath: TrestleProcess.program)
      let impostor = program.deletingLastPathComponent().appending(path: "HostileWorker").path
      script.arguments = arguments + ["--binary", program.path, "--impostor", impostor]
      let output = Pipe()
      script.standardOutput = output
      script.standardError = output
      try script.run()
      let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      script.waitUntilExit()
      return (script.terminationStatus, text)
    }

    @Test func `workers that answer garbage or die in a recovery change no token`() throws {
      let kinds = [
        "noise", "vocabulary", "out-of-place", "wrong-size", "hand-off-fails",
        "killed again while it prepares",
      ]
      let (status, text) = try run(
        "torment",
        ["kill", "--times", "\(kinds.count)", "--only", kinds.joined(separator: ",")]
          + ["--alone", "--streams", "3", "--tokens", "100"]
      )
      #expect(status == 0, "\(text)")
      // Each came once.
      for kind in kinds { #expect(text.contains("| \(kind) | 1 |"), "\(text)") }
    }
  }
}
