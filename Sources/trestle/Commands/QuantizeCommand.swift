// `trestle quantize`: a smaller file of the same model.

import ArgumentParser
import CPUBackend
import Compute
import Foundation
import Gemma
import Launch
import ModelFiles
import Platform
import Quantization
import Wire

struct QuantizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quantize",
    abstract: "Write a smaller file of a model.",
    discussion: """
      SOURCE is a GGUF file or a directory in Hugging Face layout, OUT a GGUF file that llama.cpp and \
      programs built on it read as well.

      The recipe hybrid-q4 measures: it quantises each kind of matrix in each part of the model alone, \
      runs a text, and looks at what that does to the next token's distribution. Then it gives every tensor \
      the type with which the whole loses least for the bytes it may have. --type gives all matrices one \
      type, but for small ones that llama-quantize leaves alone, too. Norms and AltUp's coefficients stay f32 \
      in both.

      With importance data (`trestle calibrate`) errors are put where they cost least. A report of what was \
      measured and chosen is written beside the file.

      EXAMPLE:
        trestle calibrate gemma-3n-e2b/ --output importance.gguf
        trestle quantize gemma-3n-e2b/ out.gguf --importance importance.gguf
      """
  )

  @Argument(help: ArgumentHelp(ModelName.help, valueName: "source"))
  var source: ModelName

  @Argument(help: ArgumentHelp("The .gguf file to write.", valueName: "out.gguf"))
  var output: String

  @Option(
    help: ArgumentHelp(
      "The type of all matrices. Rows that a type's blocks do not divide get the next higher one.",
      valueName: "type"
    )
  )
  var type: TensorType?

  @Option(help: ArgumentHelp("How types are chosen: hybrid-q4. Default.", valueName: "recipe"))
  var recipe: Recipe?

  @Option(
    help: ArgumentHelp(
      "With a recipe: the bits that a weight takes on average, in the matrices that are quantised. Default: \(Self.defaultBits).",
      valueName: "bits"
    )
  )
  var bitsPerWeight: Double?

  @Option(
    help: ArgumentHelp(
      "With a recipe: the most bytes that the file may have, for example 180M or 3.5G (powers of 1000).",
      valueName: "bytes"
    )
  )
  var size: ByteSize?

  @Option(
    name: .customLong("for"),
    help: ArgumentHelp(
      "With a recipe: only types that this device runs at full speed, cpu, vulkan or npu; what an npu rounds itself counts as damage, too. Default: any type.",
      valueName: "device"
    )
  )
  var target: HybridRecipe.Target?

  @Option(
    help: ArgumentHelp(
      "Importance data of this model, from `trestle calibrate` or llama-imatrix.",
      valueName: "file"
    )
  )
  var importance: String?

  @Option(
    help: ArgumentHelp(
      "With a recipe: a text file in UTF-8 to measure on. Default: the text that comes with the program.",
      valueName: "file"
    )
  )
  var text: String?

  @Option(
    help: ArgumentHelp(
      "With a recipe: how many tokens of the text are run for each group of weights, about. More are slower and more exact. Default: \(defaultProbeTokens).",
      valueName: "tokens"
    )
  )
  var probeTokens: Int?

  @Flag(help: "Take a source that is quantised already; the errors of both add up.")
  var allowRequantize = false

  @Option(
    help: ArgumentHelp(
      "Where the report goes; a table is written beside it, with .txt in the place of .json. Default: OUT with .quantization.json in the place of .gguf.",
      valueName: "file.json"
    )
  )
  var report: String?

  @Option(help: ArgumentHelp("Threads to use. Default: all CPUs.", valueName: "threads"))
  var threads: Int?

  @Flag(help: "Print the report as one JSON document.")
  var json = false

  /// The recipes there are.
  enum Recipe: String, ExpressibleByArgument, CaseIterable {
    case hybridQ4 = "hybrid-q4"
  }

  static let defaultBits = 4.8
  static let defaultProbeTokens = 256

  func validate() throws {
    if let type {
      guard recipe == nil, bitsPerWeight == nil, size == nil, target == nil, text == nil,
        probeTokens == nil
      else {
        throw ValidationError(
          "--type \(type.rawValue): this option cannot be used with those of a recipe (--recipe, --bits-per-weight, --size, --for, --text, --probe-tokens)."
        )
      }
    }
    if bitsPerWeight != nil, size != nil {
      throw ValidationError("--bits-per-weight and --size say the same; give one of them.")
    }
    if let bitsPerWeight, !(bitsPerWeight > 1 && bitsPerWeight <= 32) {
      throw ValidationError("--bits-per-weight \(bitsPerWeight): give more than 1 and at most 32.")
    }
    // With the most, the activations of one variant of an E2B take 400 MB.
    if let probeTokens, !(16...8192).contains(probeTokens) {
      throw ValidationError("--probe-tokens \(probeTokens) is outside 16...8192.")
    }
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads \(threads) is outside 1...1024.")
    }
    if report == "" { throw ValidationError("--report: give the name of a file.") }
    guard output.hasSuffix(".gguf") else {
      throw ValidationError(
        "\(output): give a file name that ends in .gguf, by which programs know it."
      )
    }
  }

  func run() throws {
    try reportingFailures {
      let interrupt = try signalDescriptor()
      let run = try QuantizationRun(self, interruptedBy: interrupt)
      let report = try run.perform()
      for warning in report.warnings { printError(warning) }
      if json {
        try printOut(trestle.json(report))
      } else {
        try printOut(report.summary)
      }
    }
  }
}

extension TensorType: ExpressibleByArgument {
  public init?(argument: String) {
    // ggml writes names of types in upper case, and so do file names.
    guard
      let type = Self.allCases.first(where: { $0.rawValue.lowercased() == argument.lowercased() })
    else { return nil }
    self = type
  }
}
extension HybridRecipe.Target: ExpressibleByArgument {}

/// A number of bytes such as `180M`.
struct ByteSize: ExpressibleByArgument {
  var byteCount: Int

  init?(argument: String) {
    let units: [Character: Double] = ["K": 1e3, "M": 1e6, "G": 1e9]
    let unit = argument.last.flatMap { units[Character($0.uppercased())] }
    let digits = unit == nil ? Substring(argument) : argument.dropLast()
    guard let number = Double(digits), number > 0, number * (unit ?? 1) < 1e15 else { return nil }
    byteCount = Int(number * (unit ?? 1))
  }
}
