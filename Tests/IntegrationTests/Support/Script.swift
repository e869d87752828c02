// Runs the project's own scripts in a test.

import Foundation
import TestSupport

/// Runs a script of the project to its end; returns its exit status and its output.
func runScript(
  _ name: String,
  _ arguments: [String] = [],
  environment: [String: String] = [:]
) throws -> (status: Int32, text: String) {
  let script = Process()
  script.executableURL = Goldens.checkout.appending(path: "scripts/\(name)")
  script.arguments = arguments
  script.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
  let output = Pipe()
  script.standardOutput = output
  script.standardError = output
  try script.run()
  let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  script.waitUntilExit()
  return (script.terminationStatus, text)
}
