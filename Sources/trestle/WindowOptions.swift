// The windows into which commands cut a text.

import ArgumentParser

/// `--windows`.
struct WindowOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Use the first windows of the text only, so many.", valueName: "count")
  )
  var windows: Int?

  func validate() throws {
    if let windows, windows < 1 {
      throw ValidationError("--windows \(windows): give at least 1.")
    }
  }
}

/// Refuses windows that are too short to have halves.
func validateWindow(_ context: Int?) throws {
  if let context, context < 4 {
    throw ValidationError("--context \(context): a window needs at least 4 tokens.")
  }
}
