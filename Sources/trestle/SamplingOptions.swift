// The options of sampling.

import ArgumentParser
import Wire

/// `--seed`: a number, or -1 for a random one.
struct Seed: ExpressibleByArgument {
  /// Nil for a random seed.
  var value: UInt64?

  init?(argument: String) {
    if argument == "-1" { return }
    guard let value = UInt64(argument) else { return nil }
    self.value = value
  }
}

/// How tokens are sampled.
struct SamplingOptions: ParsableArguments {
  // With `.unconditional`, "--seed -1" is parsed as a value. Otherwise -1 would be reported as a
  // missing value.

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The temperature; 0 always takes the most likely token.",
      valueName: "temperature"
    )
  )
  var temperature: Float = 1

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Sample from the K most likely tokens; 0 for all.", valueName: "k")
  )
  var topK = 64

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Sample from the most likely tokens that together reach this probability.",
      valueName: "p"
    )
  )
  var topP: Float = 0.95

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Drop tokens whose probability is less than this share of the most likely one's.",
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
      "The seed of the random numbers; the same seed gives the same text. Default, and -1: another seed each time.",
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
