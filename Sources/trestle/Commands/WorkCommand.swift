// `trestle work`: one worker process.

import ArgumentParser
import CLinux
import Client
import Compute
import Coordinator
import Gemma
import Glibc
import Launch
import Logging
import Platform
import Wire
import Worker

struct WorkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "work",
    abstract: "Run one worker: it owns a device and holds some of the layers.",
    discussion: """
      `trestle up` starts its workers itself. Use this command on other machines or under another \
      supervisor, with `trestle coordinate`.

      The machine needs no copy of the model. Without --model the worker pulls the weights of its \
      layers from the coordinator, checks each piece by its digest, and stores them in the directory \
      of --cache. The next start uses them again: an interrupted pull resumes where it stopped, and \
      damaged pieces are noticed and pulled again.
      """
  )

  @Option(
    help: ArgumentHelp(
      "The same model as the coordinator's. Default: pull the weights that are needed from the coordinator.",
      valueName: "model"
    )
  )
  var model: ModelName?

  @Option(
    name: .customLong("cache"),
    help: ArgumentHelp(
      "Where to store pulled weights. Default: trestle/models in $XDG_CACHE_HOME or ~/.cache.",
      valueName: "directory"
    )
  )
  var modelCache: String?

  @Option(
    help: ArgumentHelp(
      "The most MiB to pull per second, to leave room on the network. Default: no limit.",
      valueName: "rate"
    )
  )
  var pullRate: Double?

  @Option(
    help: ArgumentHelp(
      "The device to compute with: cpu, vulkan (the first GPU), vulkan:1 (the Vulkan device with this number, as `doctor` lists them), npu or reference.",
      valueName: "device"
    )
  )
  var device: String

  @Flag(help: "Simulate npu where there is none. It is very slow.")
  var emulate = false

  @Option(help: ArgumentHelp("The coordinator's endpoint.", valueName: "endpoint"))
  var coordinator: String?

  @Option(
    help: ArgumentHelp(
      "The place to take in the pipeline, as `status` shows it. Default: the first free one.",
      valueName: "name"
    )
  )
  var name = ""

  @Option(
    help: ArgumentHelp(
      "The endpoint at which this worker receives steps. Default: a socket beside the coordinator's.",
      valueName: "endpoint"
    )
  )
  var listen: String?

  @Option(help: ArgumentHelp("Threads to compute with. Default: all CPUs.", valueName: "threads"))
  var threads: Int?

  @Option(help: ArgumentHelp("CPUs to pin the threads to, for example 0,1.", valueName: "cpus"))
  var pin: NumberList?

  @OptionGroup var cache: CacheOptions

  @Flag(help: "Run all tokens of a prompt through all layers; give it to all workers or none.")
  var allLayers = false

  @Flag(
    help: ArgumentHelp(
      "Tell with each step how large the inputs of products were, for `calibrate`; give it to all workers or none."
    )
  )
  var observeInputs = false

  @OptionGroup var security: PeerSecurityOptions

  @Flag(help: ArgumentHelp("End when descriptor 3 reaches its end.", visibility: .private))
  var lifeline = false

  @OptionGroup var log: LogOptions

  func validate() throws {
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads \(threads) is outside 1...1024.")
    }
    if let pullRate, !(pullRate >= 0.01 && pullRate.isFinite) {
      throw ValidationError("--pull-rate \(pullRate): give 0.01 or more.")
    }
    if model != nil, modelCache != nil || pullRate != nil {
      throw ValidationError(
        "--cache and --pull-rate cannot be used with --model, which needs no pulling."
      )
    }
  }

  func run() throws {
    try reportingFailures {
      let manager = ServiceManager.fromEnvironment()
      let stop = try signalDescriptor()
      // `up` starts this process as /proc/self/exe; without this call, ps and top would show it as
      // "exe".
      unsafe clinux_set_name("trestle")
      let coordinator = try Endpoint(coordinator ?? EndpointOptions.standard)
      let listen = try listenEndpoint(coordinator)
      let security = try security.peer(of: coordinator)
      let kind = try DeviceRegistry.builtIn.kinds(named: [device], emulates: emulate)[0]
      let threads = threads ?? AvailableCPUs.own.usableCount
      let options = WorkerOptions(
        name: name,
        coordinator: coordinator,
        listen: listen,
        lifeline: lifeline ? 3 : nil,
        passesAllLayers: allLayers,
        observesInputs: observeInputs,
        security: security
      )
      // The model and the device are opened before waiting for the coordinator, so that their
      // errors are reported at once.
      let local = try model.map { try openLocal($0.path(interruptedBy: stop), stop) }
      let backend = try kind.makeBackend(
        BackendSettings(threads: threads, cpus: pin?.values, cacheType: cache.type)
      )
      let logger = log.logger("trestle.worker", default: .info)
      if backend.device.isEmulated, !lifeline {
        printError("\(device) is an emulation here; its speed says nothing of a device")
      }
      manager.tell(status: "waiting for the coordinator at \(coordinator)")
      guard try awaitCoordinator(coordinator, stop) else { return }
      do {
        let worker = try WorkerLoop(
          options,
          model: local ?? .pulled(pull(from: coordinator, security, logger, stop)),
          backend: backend,
          logger: logger
        )
        try worker.run(untilReadable: stop, for: manager)
      } catch let error as WorkerError where error.code == .unreachable {
        throw CommandError("\(error)\(keyAdvice(security, coordinator))")
      } catch var error as WorkerError where error.code == .refused {
        if let local { error.context = local.checkpoint.path }
        throw error
      } catch let error as WorkerError where error.code == .stopped {
        return
      } catch  where Self.isScarcity(error) {
        // The exit status tells the supervisor that the system lacked something, which does not
        // count as a failure of the worker.
        printError("error: \(error)")
        throw ExitCode(WorkerCommand.scarceStatus)
      }
    }
  }

  /// Returns the model of this machine, and reads it from end to end if its digests are not cached.
  private func openLocal(_ path: String, _ stop: CInt) throws -> WorkerModel {
    let checkpoint = try Checkpoint.open(path)
    let fingerprint = try ModelContent.fingerprint(
      of: checkpoint,
      in: .program,
      interruptedBy: [stop] + lifelines,
      throwing: ExitCode.success
    )
    return .local(checkpoint, fingerprint: fingerprint)
  }

  /// Whether an error was caused by a shortage of the system, such as memory or descriptors.
  private static func isScarcity(_ error: any Error) -> Bool {
    switch error {
    case let error as any ScarcityError: error.isScarcity
    case let error as WorkerError: error.underlying.map(isScarcity) ?? false
    default: false
    }
  }

  /// Returns the coordinator's model after pulling its headers.
  private func pull(
    from coordinator: Endpoint,
    _ security: Security,
    _ logger: Logger,
    _ stop: CInt
  ) throws -> PulledModel {
    try PulledModel(
      from: coordinator,
      security: security,
      cacheDirectory: modelCache ?? UserCache.directory("models"),
      bytesPerSecond: pullRate.map { $0 * 1024 * 1024 },
      logger: logger
    ) {
      let ready = try poll(sockets: [], descriptors: [stop] + lifelines, timeout: .zero)
      if !ready.isEmpty { throw WorkerError(.stopped, "was asked to stop") }
    }
  }

  /// Waits until the coordinator listens.
  ///
  /// Only then does the directory for the worker's own socket exist.
  ///
  /// - Returns: False if the worker was asked to stop before.
  private func awaitCoordinator(_ coordinator: Endpoint, _ stop: CInt) throws -> Bool {
    let patience = Duration.seconds(30)
    let began = ContinuousClock.now
    let deadline = began + patience
    var isTold = lifeline
    while try !coordinator.isListening() {
      guard ContinuousClock.now < deadline else {
        throw CommandError(
          "no coordinator has listened at \(coordinator) for \(patience); start one there, or name its --coordinator endpoint"
        )
      }
      if !isTold, ContinuousClock.now > began + .seconds(1) {
        isTold = true
        printError("waiting for a coordinator at \(coordinator), for \(patience)")
      }
      let wait = Duration.milliseconds(50)
      let ready = try poll(sockets: [], descriptors: [stop] + lifelines, timeout: wait)
      if !ready.isEmpty { return false }
    }
    return true
  }

  /// Descriptors at whose end this worker ends, too.
  private var lifelines: [CInt] { lifeline ? [3] : [] }

  /// Returns the endpoint of the worker's own socket, by default in the directory that the
  /// coordinator made for workers.
  private func listenEndpoint(_ coordinator: Endpoint) throws -> Endpoint {
    if let listen {
      let endpoint = try Endpoint(listen)
      if case .tcp = endpoint.kind {
        guard coordinator.socketPath == nil else {
          throw CommandError(
            "--listen \(listen): the coordinator is at \(coordinator), so the worker must listen at an ipc endpoint, too; leave --listen out"
          )
        }
        guard !endpoint.isWildcard else {
          throw CommandError(
            "--listen \(listen): name an address at which the other machines reach this one"
          )
        }
      }
      return endpoint
    }
    guard let directory = EndpointClaim.workersDirectory(of: coordinator) else {
      throw CommandError(
        "--coordinator \(coordinator): a tcp coordinator needs --listen with an address of this machine, for example tcp://ADDRESS:*"
      )
    }
    return try Endpoint("ipc://\(directory)/\(getpid())")
  }
}
