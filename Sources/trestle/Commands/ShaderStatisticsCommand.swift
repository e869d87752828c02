// `trestle shader-statistics`: what a Vulkan driver's compiler makes of the kernels, for
// scripts/shader-statistics.

import ArgumentParser
import VulkanBackend

struct ShaderStatisticsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "shader-statistics",
    abstract: "Print what a Vulkan driver's compiler makes of each kernel, as JSON.",
    shouldDisplay: false
  )

  @Option(help: "The number of the Vulkan device, as `doctor` shows it. Default: the first GPU.")
  var device: Int?

  func run() throws {
    try reportingFailures {
      try printOut(try trestle.json(try ShaderStatistics.all(deviceIndex: device)))
    }
  }
}
