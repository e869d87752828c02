// What the tests of model files share: files of given bytes, and the refusals that broken ones must meet.

package import ModelFiles
package import Testing

/// Expects a refusal of some kind, in one line that names all of `words`.
package func expectRefusal(
  _ code: ModelFilesError.Code,
  _ words: String...,
  sourceLocation: SourceLocation = #_sourceLocation,
  by body: () throws -> Void
) {
  do {
    try body()
    Issue.record("accepted; \(words) expected in a refusal", sourceLocation: sourceLocation)
  } catch let error as ModelFilesError {
    let text = error.description
    #expect(error.code == code, "\(text)", sourceLocation: sourceLocation)
    #expect(!text.contains("\n"), "more than a line: \(text)", sourceLocation: sourceLocation)
    for word in words {
      #expect(text.contains(word), "\(word) missing in: \(text)", sourceLocation: sourceLocation)
    }
  } catch {
    Issue.record("an error of another kind: \(error)", sourceLocation: sourceLocation)
  }
}

/// Calls the body with the path of a file of these bytes.
package func withTemporaryModel<Result>(
  _ bytes: [UInt8],
  _ body: (String) throws -> Result
) throws -> Result {
  try withTemporaryDirectory { directory in
    let path = "\(directory)/model.gguf"
    try bytes.write(to: path)
    return try body(path)
  }
}
