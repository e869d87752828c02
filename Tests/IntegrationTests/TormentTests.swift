// A short run of scripts/torment: workers that answer garbage and are killed, under live streams.

import Foundation
import Testing

extension Integration {
  @Suite struct `Torment` {
    @Test func `workers that answer garbage or die in a recovery change no token`() throws {
      let kinds = [
        "noise", "vocabulary", "out-of-place", "wrong-size", "not-finite", "hand-off-fails",
        "killed again while it prepares",
      ]
      let program = URL(filePath: TrestleProcess.program)
      let impostor = program.deletingLastPathComponent().appending(path: "HostileWorker").path
      let (status, text) = try runScript(
        "torment",
        ["kill", "--times", "\(kinds.count)", "--only", kinds.joined(separator: ",")]
          + ["--alone", "--streams", "3", "--tokens", "100"]
          + ["--binary", program.path, "--impostor", impostor]
      )
      #expect(status == 0, "\(text)")
      // Each kind occurred once.
      for kind in kinds { #expect(text.contains("| \(kind) | 1 |"), "\(text)") }
    }
  }
}
