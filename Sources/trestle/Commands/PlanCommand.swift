// `trestle plan`: which device should hold which layers, how fast that is, and why.

import ArgumentParser
import Coordinator
import Foundation
import Gemma
import Launch

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Plan which device holds which layers, and show its speed and the reason.",
    discussion: """
      Measures the devices of this machine with the model's layers (the profiles are cached), or reads \
      profiles of other machines from files, and searches the fastest placement. That may have fewer \
      stages than there are devices. A simulation of the scheduler checks the prediction. Each line \
      says whether its numbers are measured, emulated or projected.

      Reading prompts and decoding answers may want different cuts: in Gemma 3n and Gemma 4 the last \
      layers own no keys and values, and a prompt's tokens end before them. By default the tokens of \
      answers alone count; --prompt-tokens and --answer-tokens plan for whole requests, whose phases are \
      taken one after the other, and --answer-tokens 1 for the time to the first token. --explain shows \
      what either phase would choose, and what the chosen placement costs it.
      """
  )

  enum Objective: String, ExpressibleByArgument, CaseIterable {
    case throughput
    case latency
  }

  @Option(help: ArgumentHelp(ModelName.help, valueName: "model"))
  var model: ModelName

  @OptionGroup var pipeline: PipelineOptions

  @Option(
    help: ArgumentHelp(
      "Streams decoded at once; memory is counted for as many sessions at least. Default: two per device, at most --slots.",
      valueName: "streams"
    )
  )
  var streams: Int?

  @Option(
    help: ArgumentHelp(
      "What to optimise: throughput of all streams, or latency of a single stream.",
      valueName: "objective"
    )
  )
  var objective = Objective.throughput

  @OptionGroup var request: RequestOptions

  @Option(
    help: ArgumentHelp(
      "Profiles of devices of other machines. They replace this machine's devices, or are added to those that --devices names.",
      valueName: "file"
    )
  )
  var profile: [String] = []

  @Option(
    help: ArgumentHelp(
      "The link between machines for which no profile has one: 1gbe, 2.5gbe, 10gbe, or the name of a link in a profile.",
      valueName: "name"
    )
  )
  var link: String?

  @Option(
    help: ArgumentHelp("Write the profiles to a file, for --profile.", valueName: "file")
  )
  var save: String?

  @Flag(help: "Measure the devices again, even if the cache has their profiles.")
  var measure = false

  @Flag(
    help: "Show the alternatives, how fast they would be, simulated too, and why not chosen."
  )
  var explain = false

  @Flag(help: "Print one JSON document.")
  var json = false

  func validate() throws {
    if let streams, !(1...256).contains(streams) {
      throw ValidationError("--streams \(streams) is outside 1...256.")
    }
    if let streams, objective == .latency, streams != 1 {
      throw ValidationError(
        "--streams \(streams): --objective latency is for one stream; leave --streams out."
      )
    }
    if let streams, pipeline.given.contains("--slots"), streams > pipeline.slots {
      throw ValidationError(
        "--streams \(streams): with --slots \(pipeline.slots) so many are served at once; raise --slots, or leave it out."
      )
    }
  }

  func run() throws {
    try reportingFailures {
      let checkpoint = try Checkpoint.open(model.path())
      let (costs, plan, reason) = try planned(checkpoint)
      if let save {
        let document = costs.document(model: checkpoint.name)
        let file = try OutputFile(save)
        try unsafe document.json().withUnsafeBytes { try unsafe file.write($0) }
        try file.finish()
      }
      let limits = limits(checkpoint)
      let planner = Planner(costs: costs, limits: limits.executable)
      let document = PlanDocument(
        model: checkpoint.name,
        plan: plan,
        phases: explain ? try planner.phases(of: plan.objective) : nil,
        costs: costs,
        reason: reason,
        lab: PlanSimulations(costs: costs, objective: plan.objective, limits: limits)
      )
      try printOut(json ? try trestle.json(document) : document.text(explains: explain))
    }
  }

  private func limits(_ checkpoint: Checkpoint) -> CoordinatorLimits {
    CoordinatorLimits(
      contextTokens: pipeline.context ?? min(checkpoint.config.contextTokens, 4096),
      slots: slots
    )
  }

  /// As many as there are streams: sessions that wait for a slot decode nothing.
  private var slots: Int { max(pipeline.slots, streams ?? 1) }

  private func planned(
    _ checkpoint: Checkpoint
  ) throws -> (costs: PipelineCosts, plan: Plan, reason: String) {
    var settings = pipeline.settings
    settings.request = request.size
    settings.slots = slots
    let local = try LocalPlanning(
      checkpoint,
      fingerprint: {
        try ModelContent.fingerprint(of: checkpoint, in: .program)
      },
      settings,
      in: .program,
      measuresAgain: measure
    )
    if profile.isEmpty, pipeline.split == nil {
      let workers = try WorkerPlan.resolve(pipeline.settings, among: .builtIn)
      let outcome = try local.best(goal(deviceCount: workers.count))
      return (outcome.costs, outcome.plan, outcome.reason)
    }
    let (here, obstacles) =
      profile.isEmpty || pipeline.devices != nil ? try local.profiles() : ([], [:])
    let documents = here + (try profile.map { try ProfileDocument.read($0) })
    let costs = try PipelineCosts(
      shape: local.shape,
      documents: documents,
      obstacles: obstacles,
      fallback: try link.map { try LinkProfile(named: $0, in: documents) }
    )
    let planner = Planner(costs: costs, limits: limits(checkpoint).executable)
    var plan = try planner.plan(goal(deviceCount: costs.devices.count))
    if let split = pipeline.split { try take(split, &plan, planner, costs) }
    return (costs, plan, plan.summary(costs))
  }

  private func goal(deviceCount: Int) -> PlanObjective {
    switch objective {
    case .throughput:
      .throughput(streams: streams ?? min(slots, 2 * deviceCount), request: request.size)
    case .latency: .latency(request: request.size)
    }
  }

  /// Replaces the best placement by a given split over all devices in their order.
  private func take(
    _ split: NumberList,
    _ plan: inout Plan,
    _ planner: Planner,
    _ costs: PipelineCosts
  ) throws {
    let placement = try Placement(
      split: split.values,
      logitsSplit: pipeline.logitsSplit?.values ?? [],
      line: costs.shape.line,
      workerCount: costs.devices.count
    )
    let stages = placement.stages.enumerated().map { StageSpan(device: $0, slice: $1) }
    guard let option = planner.evaluate(stages, for: plan.objective) else {
      let obstacle = stages.lazy.compactMap { costs.obstacle(to: $0) }.first
      throw CommandError(
        "split \(split): \(obstacle ?? "it does not fit into the devices' memory")"
      )
    }
    plan.chosen = option
  }
}

extension LinkProfile {
  /// Returns the link with a name, for machines for which no profile has one.
  init(named name: String, in documents: [ProfileDocument]) throws {
    if let known = documents.flatMap(\.links).first(where: { $0.name == name }) {
      self = known
      machines = []
      return
    }
    // Of 1538 bytes on the cable, 1448 are a TCP segment's data (IPv4 with timestamps). The latency
    // in one direction, through the network stacks of two kernels and a switch, is 100 µs at a
    // gigabit and less on faster cards.
    let rates = ["1gbe": (1e9, 100.0), "2.5gbe": (2.5e9, 80.0), "10gbe": (10e9, 50.0)]
    guard let (bitsPerSecond, latency) = rates[name] else {
      let names = (rates.keys + documents.flatMap(\.links).map(\.name)).sorted()
      throw CommandError("--link \(name): unknown link; use \(names.joined(separator: ", "))")
    }
    self.init(
      name: name,
      kind: .projected,
      derivation: "the cable's rate, 1448 of 1538 bytes; latency of two kernels and a switch",
      machines: [],
      latencyMicroseconds: latency,
      bytesPerSecond: bitsPerSecond / 8 * 1448 / 1538
    )
  }
}
