// `trestle shader-statistics`: what a Vulkan driver's compiler makes of the kernels, and what a model's steps
// ask of a GPU, for scripts/shader-statistics and scripts/project-780m.

import ArgumentParser
import Compute
import Gemma
import VulkanBackend

struct ShaderStatisticsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "shader-statistics",
    abstract: "Print what a Vulkan driver's compiler makes of each kernel, as JSON.",
    shouldDisplay: false
  )

  @Option(help: "The number of the Vulkan device, as `doctor` shows it. Default: the first GPU.")
  var device: Int?

  @Option(
    help: ArgumentHelp("Count what a step of this model asks of a GPU instead.", valueName: "path")
  )
  var model: ModelName?

  @Option(help: "With --model: the rows of each step; the last one's logits are wanted.")
  var rows: [Int] = [1]

  func validate() throws {
    guard let wrong = rows.first(where: { $0 < 1 }) else { return }
    throw ValidationError("--rows \(wrong): a step has at least one row.")
  }

  func run() throws {
    try reportingFailures {
      if let model {
        try printOut(try trestle.json(try outlines(Checkpoint.open(model.path()))))
      } else {
        try printOut(try trestle.json(try ShaderStatistics.all(deviceIndex: device)))
      }
    }
  }

  private func outlines(_ checkpoint: Checkpoint) throws -> [StepOutline] {
    let line = checkpoint.config.line
    let whole = ModelSlice(layers: 0..<line.layerCount, vocabulary: 0..<line.vocabularySize)
    return try StepOutline.steps(
      rows.map { (rows: $0, wantedRows: 1) },
      of: checkpoint.config.lower(whole, weights: checkpoint),
      weights: checkpoint,
      limits: ExecutableLimits(maxRows: rows.max() ?? 1, slots: 1, contextTokens: 1024),
      deviceIndex: device
    )
  }
}
