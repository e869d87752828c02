// The command line of npu-fake.

internal import NPUFake

/// What npu-fake is asked to do.
struct Options {
  var faults: [FakeFault] = []
  /// The library that is loaded before those of the command.
  var library: String?
  /// Whether to say at the end what was done.
  var tells = false
  var command: [String] = []

  static let usage = """
    usage: npu-fake [--fault TEXT ...] [--preload PATH] [--statistics] -- COMMAND [ARGUMENT ...]

    Runs a command that finds an NPU which is simulated.

      --fault TEXT     what goes wrong: KIND, KIND@FIRST, KIND@FIRST+ or KIND@FIRSTxTIMES, with KIND one of
                       \(FakeFault.Kind.allCases.map(\.rawValue).joined(separator: ", "))
      --preload PATH   libtrestle-npu-preload.so, if it is not beside npu-fake
      --statistics     tells at the end, on stderr, what the NPU has done

    """

  /// - Throws: `OptionError` that says what is wrong.
  init(_ arguments: [String]) throws(OptionError) {
    var rest = arguments[...]
    while let argument = rest.popFirst(), argument != "--" {
      switch argument {
      case "--fault":
        guard let text = rest.popFirst(), let fault = FakeFault(parsing: text) else {
          throw OptionError(message: "--fault needs one of the faults below")
        }
        faults.append(fault)
      case "--preload":
        guard let path = rest.popFirst() else {
          throw OptionError(message: "--preload needs a path")
        }
        library = path
      case "--statistics": tells = true
      default: throw OptionError(message: "\(argument) is no option; a command comes after --")
      }
    }
    command = Array(rest)
    guard !command.isEmpty else { throw OptionError(message: "a command is missing") }
  }
}

/// What is wrong with a command line.
struct OptionError: Error {
  var message: String
}
