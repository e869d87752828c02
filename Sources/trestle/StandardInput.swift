// Text from stdin.

import Foundation

/// Reads all of stdin as UTF-8.
///
/// - Throws: `CommandError` if it is no valid UTF-8.
func readStandardInput() throws -> String {
  let bytes = try FileHandle.standardInput.readToEnd() ?? Data()
  guard let text = String(bytes: bytes, encoding: .utf8) else {
    throw CommandError("the text on stdin is not valid UTF-8")
  }
  return text
}
