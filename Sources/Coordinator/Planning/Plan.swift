// A planned placement: its predicted speed, what limits it, and its alternatives.

/// What limits the speed of a placement.
package enum PlanLimit: Sendable, Hashable {
  /// A stage that is always busy.
  case stage(Int)
  /// The link to a stage, which always sends.
  case link(to: Int)
  /// The latency of a micro-batch through all stages: there are too few streams to hide it.
  case latency
  /// The memory bandwidth of a machine, which its devices share.
  case sharedMemory(machine: Int)
}

/// A placement and its predicted speed.
package struct PlanOption: Sendable, Hashable {
  package var stages: [StageSpan]
  /// How many micro-batches of decoding streams are in flight, and the rows of the largest one.
  package var microBatches: Int
  package var rows: Int
  /// The time in which each stream gets one token.
  package var cycleMicroseconds: Double
  package var tokensPerSecond: Double
  /// The time of a step with `rows` rows, by stage.
  package var stageMicroseconds: [Double]
  /// The share of a cycle in which the stage computes, by stage.
  package var busy: [Double]
  /// The time that a micro-batch spends on links, between stages and to and from the coordinator.
  package var linkMicroseconds: Double
  /// What limits it while all streams decode.
  package var limit: PlanLimit
  /// How fast it reads prompts.
  package var prompts: PromptPrediction
  /// What the objective asks to be short (`PlanObjective.microseconds`).
  package var microseconds: Double
}

/// The chosen placement and its alternatives.
package struct Plan: Sendable {
  /// Another placement.
  package struct Alternative: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
      /// The best placement with this number of stages.
      case best(stageCount: Int)
      /// The same number of layers on each device, with the devices in the given order.
      case evenSplit
    }

    package var kind: Kind
    /// The evaluated placement; nil if it does not fit into memory.
    package var option: PlanOption?
  }

  package var objective: PlanObjective
  package var chosen: PlanOption
  package var alternatives: [Alternative]
}

/// The best placements for either phase alone.
///
/// Where the last layers own no keys and values, prompts end before them, and the two phases want
/// different cuts.
package struct PlanPhases: Sendable, Hashable {
  package var prompts: PlanOption
  package var answers: PlanOption
}

extension [PlanOption] {
  /// The fastest option, the first one of equals; nil if there is none.
  ///
  /// Where only prompts count, the one that decodes fastest is taken of those that read them as fast.
  var fastest: PlanOption? {
    reduce(nil) { best, option in
      guard let best else { return option.microseconds < .infinity ? option : nil }
      let isFaster =
        (option.microseconds, option.cycleMicroseconds)
        < (best.microseconds, best.cycleMicroseconds)
      return isFaster ? option : best
    }
  }
}
