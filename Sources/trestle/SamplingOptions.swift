// Options that say how tokens are drawn.

import ArgumentParser
import Wire

/// `--seed`: a number, or -1 for any.
struct Seed: ExpressibleByArgument {
  /// Nil for any.
  var value: UInt64?

  init?(argument: String) {
    if argument == "-1" { return }
    guard let value = UInt64(argument) else { return nil }
    self.value = value
  }
}

/// How tokens are drawn.
struct SamplingOptions: ParsableArguments {
  // `.unconditional`: "--seed -1" is a value that is explained, not one that is missing.

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("0 always takes the likeliest token.", valueName: "temperature")
  )
  var temperature: Float = 1

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Draw from the K likeliest tokens; 0 for all.", valueName: "k")
  )
  var topK = 64

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Draw from the likeliest tokens that together reach this probability.",
      valueName: "p"
    )
  )
  var topP: Float = 0.95

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Drop tokens less likely than this share of the likeliest.",
      valueName: "share"
    )
  )
  var minP: Float = 0

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Make recent tokens less likely; 1 is off.", valueName: "factor")
  )
  var repeatPenalty: Float = 1

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Seed of the random draws; the same seed gives the same text, -1 another each time (as without).",
      valueName: "seed"
    )
  )
  var seed: Seed?

  func validate() throws {
    guard temperature >= 0, temperature.isFinite else {
      throw ValidationError("--temperature \(temperature): give 0 or more.")
    }
    guard topK >= 0 else { throw ValidationError("--top-k \(topK): give 0 or more.") }
    guard topP > 0, topP <= 1 else {
      throw ValidationError("--top-p \(topP): give more than 0 and at most 1.")
    }
    guard minP >= 0, minP <= 1 else {
      throw ValidationError("--min-p \(minP): give 0 to 1.")
    }
    guard repeatPenalty > 0, repeatPenalty.isFinite else {
      throw ValidationError("--repeat-penalty \(repeatPenalty): give more than 0.")
    }
  }

  var sampling: Sampling {
    Sampling(
      temperature: temperature,
      topK: topK,
      topP: topP,
      minP: minP,
      repeatPenalty: repeatPenalty,
      repeatWindow: 64,
      seed: seed?.value ?? UInt64.random(in: .min ... .max)
    )
  }
}
