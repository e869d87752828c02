// A machine in the sense of `trestle keys`: a directory with its own keys.

import Foundation
import Testing

/// The directory whose keys a process uses.
struct Machine {
  let directory: String
  let publicKey: String

  private struct Shown: Decodable { var publicKey: String }

  /// Makes a machine's keys.
  init(_ name: String, in parent: String) async throws {
    directory = "\(parent)/\(name)"
    let shown = try await TrestleProcess.run(["keys", "--json", "--keys", directory])
    publicKey = try shown.document(Shown.self).publicKey
  }

  /// The secret key, which only this machine knows.
  var secret: String {
    get throws {
      let text = try String(contentsOfFile: "\(directory)/secret", encoding: .utf8)
      return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }
  }

  /// Allows the key of another machine.
  func allow(_ other: Machine, name: String) async throws {
    let outcome = try await TrestleProcess.run(
      ["keys", "allow", "--keys", directory, "--name", name, "--", other.publicKey]
    )
    try #require(outcome.status == 0, "\(outcome)")
  }

  /// Returns the options of a process on this machine that connects to a coordinator on another.
  func options(to coordinator: Machine) -> [String] {
    ["--keys", directory, "--server-key=\(coordinator.publicKey)"]
  }
}
