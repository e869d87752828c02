// What mutations of designs that work are made with.
//
// What is changed is the product of bytes: its source, its design, its bytes, or its control code. A change that
// nothing can refuse, such as another stride, must at least show in the result.

import TestSupport
import Testing

@testable import NPUArray

private let (shim, memory, core) = (Tile(0, 0), Tile(0, 1), Tile(0, 2))
private let (ofShim, ofMemory) = (RegisterMap.of(.shim), RegisterMap.of(.memory))
private let ofCore = RegisterMap.of(.core)

typealias Change<Value> = (inout Value) throws -> Void

/// A change, and what must be said of it.
struct Mutation {
  enum Part: CaseIterable { case assembler, hazards, compiler, formats, simulator, result }

  let part: Part
  /// What the error must contain, or for `result` what is told of it.
  let words: String
  /// What comes of it.
  let attempt: () throws -> String

  init(_ part: Part, _ words: String, _ attempt: @escaping () throws -> String) {
    (self.part, self.words, self.attempt) = (part, words, attempt)
  }

  /// What is said.
  var outcome: String {
    do { return try attempt() } catch { return "\(error)" }
  }
}

/// What a change is about is not there.
struct NothingToChange: Error { var what: String }

// MARK: Sources and designs

enum Product {
  static func design(_ side: Int = 1) throws -> Design {
    MatrixProduct.design(side: side, kernel: try NPUKernels.source("gemm_int8"))
  }

  /// The kernel with one text in the place of another, which it has once.
  static func kernel(_ old: String, _ new: String) throws -> String {
    let source = try NPUKernels.source("gemm_int8")
    guard source.ranges(of: old).count == 1, old != new else { throw NothingToChange(what: old) }
    return source.replacing(old, with: new)
  }

  /// What the compiler says of a changed design.
  static func changed(
    _ words: String,
    part: Mutation.Part = .compiler,
    side: Int = 1,
    _ change: @escaping Change<Design>
  ) -> Mutation {
    Mutation(part, words) {
      var design = try design(side)
      try change(&design)
      _ = try design.compiled()
      return "it was compiled"
    }
  }

  /// What the compiler says of a changed kernel.
  static func edited(_ part: Mutation.Part) -> (String, String, String) -> Mutation {
    { words, old, new in
      changed(words, part: part) { $0.programs[0].source = try kernel(old, new) }
    }
  }

  /// A stream from a channel of one tile to one of another.
  static func stream(_ from: Tile, _ source: Int, _ to: Tile, _ sink: Int) -> DesignStream {
    DesignStream(
      ChannelPlace(tile: from, direction: .outOfMemory, channel: source),
      [ChannelPlace(tile: to, direction: .intoMemory, channel: sink)]
    )
  }
}

extension Design {
  /// Changes a buffer wherever the design names it.
  mutating func change(
    _ name: String,
    of tile: Tile,
    _ change: Change<DesignBuffer>
  ) throws {
    func apply(_ buffers: inout [DesignBuffer]) throws {
      let own = buffers.indices.filter { buffers[$0].name == name && buffers[$0].tile == tile }
      for index in own { try change(&buffers[index]) }
    }
    for index in transfers.indices { try apply(&transfers[index].buffers) }
    for index in programs.indices {
      try apply(&programs[index].fills)
      try apply(&programs[index].drains)
    }
  }

  /// Changes the transfer of a channel.
  mutating func transfer(
    _ tile: Tile,
    _ direction: Direction,
    _ channel: Int,
    _ change: Change<DesignTransfer>
  ) throws {
    let place = ChannelPlace(tile: tile, direction: direction, channel: channel)
    guard let index = transfers.firstIndex(where: { $0.place == place }) else {
      throw NothingToChange(what: "\(place)")
    }
    try change(&transfers[index])
  }
}

// MARK: A product that runs

/// A product on one core, all of which can be changed before it runs: rings come round in it.
struct Bench {
  var commands: [ConfigurationCommand]
  var operations: [ControlOperation]
  var data: ProductData

  /// Cycles that cores may lose to banks; those that one loses are a third of it.
  private static let mostStalls = 500

  private static let right = Result {
    let product = try MatrixProduct(side: 1, kernel: NPUKernels.source("gemm_int8"))
    let shape = try ProductShape(rows: 16, depth: 192, columns: 128, side: 1)
    return Bench(
      commands: try DeviceImage.commands(in: product.image),
      operations: try product.operations(for: shape),
      data: try ProductData(shape, seed: 7)
    )
  }

  /// What comes of a change.
  static func changed(
    _ words: String,
    part: Mutation.Part = .simulator,
    _ change: @escaping Change<Bench>
  ) -> Mutation {
    Mutation(part, words) {
      var bench = try right.get()
      try change(&bench)
      return try bench.run()
    }
  }

  /// Configures an array, does the call, and tells what has come of it.
  private mutating func run() throws -> String {
    let array = SimulatedArray()
    try array.configure(DeviceImage.words(of: commands))
    let report = try array.call(ControlCode.words(of: operations), &data.arguments)
    let wrong = data.wrongRows()
    if !wrong.isEmpty { return "rows that are wrong: \(wrong.count)" }
    let (marks, all) = (data.marks, data.shape.markWords)
    if marks != all { return "\(marks) marks of \(all)" }
    let stalls = report.activity.bankStalls
    return stalls < Self.mostStalls ? "all is right" : "\(stalls) cycles are lost to banks"
  }

  /// Compiles a changed design.
  mutating func compile(_ change: Change<Design>) throws {
    var design = try Product.design()
    try change(&design)
    let compiled = try design.compiled()
    commands = compiled.commands
    // The call begins with the number of steps, which may have another place now.
    let place = compiled.areas[DesignArea(core, "parameters", words: 8)] ?? 0
    operations[0] = .write(address: core.address(4 * UInt32(place)), value: 3)
  }

  /// Writes another value by the last command about a register, or leaves that command out.
  mutating func set(_ tile: Tile, _ offset: UInt32, _ value: UInt32?) throws {
    let address = tile.address(offset)
    guard let index = commands.lastIndex(where: { $0.address == address }) else {
      throw NothingToChange(what: "\(tile), \(offset)")
    }
    commands.remove(at: index)
    if let value { commands.insert(.write(address: address, value: value), at: index) }
  }

  /// Changes words that are written as one block.
  mutating func words(_ tile: Tile, _ offset: UInt32, _ change: Change<[UInt32]>) throws {
    let address = tile.address(offset)
    guard let index = commands.lastIndex(where: { $0.address == address }),
      case .block(_, var words) = commands[index]
    else { throw NothingToChange(what: "\(tile), \(offset)") }
    try change(&words)
    guard commands[index] != .block(address: address, words: words) else {
      throw NothingToChange(what: "\(tile), \(offset)")
    }
    commands[index] = .block(address: address, words: words)
  }

  /// Changes a descriptor.
  mutating func descriptor(_ tile: Tile, _ index: Int, _ change: Change<BufferDescriptor>) throws {
    try words(tile, RegisterMap.of(tile.kind).descriptor(index)) { words in
      var value = try BufferDescriptor(words: words, in: tile.kind)
      try change(&value)
      words = try value.words(in: tile.kind)
    }
  }

  /// Where a switch has the register of a port.
  static func master(_ tile: Tile, _ side: Port.Side, _ number: Int = 0) -> UInt32 {
    let index = SwitchPorts.of(tile.kind).masters.firstIndex(of: Port(side, number)) ?? 0
    return RegisterMap.of(tile.kind).masters + 4 * UInt32(index)
  }

  /// Puts others into the place of the first operation about a register.
  mutating func replace(
    _ tile: Tile,
    _ offset: UInt32,
    _ change: (ControlOperation) throws -> [ControlOperation]
  ) throws {
    let address = tile.address(offset)
    guard let index = operations.firstIndex(where: { $0.address == address }) else {
      throw NothingToChange(what: "\(tile), \(offset)")
    }
    let new = try change(operations[index])
    guard new != [operations[index]] else { throw NothingToChange(what: "\(operations[index])") }
    operations.replaceSubrange(index...index, with: new)
  }

  /// Changes a descriptor that the call writes.
  mutating func called(_ tile: Tile, _ index: Int, _ change: Change<BufferDescriptor>) throws {
    try replace(tile, RegisterMap.of(tile.kind).descriptor(index)) { operation in
      guard case .block(let address, let words) = operation else { return [operation] }
      var value = try BufferDescriptor(words: words, in: tile.kind)
      try change(&value)
      return [.block(address: address, words: try value.words(in: tile.kind))]
    }
  }

  /// Changes what the patch of a shim's descriptor says.
  mutating func patch(
    _ descriptor: Int,
    address: UInt32 = 0,
    argument: Int? = nil,
    offset: UInt32 = 0
  ) throws {
    try replace(shim, ofShim.descriptor(descriptor) + 4) { old in
      guard case .patch(let place, let own, let from) = old else { return [old] }
      return [.patch(address: place + address, argument: argument ?? own, offset: from + offset)]
    }
  }

  /// Adds a wait for a token into memory.
  mutating func wait(_ column: Int, _ channel: Int) {
    operations.append(
      .wait(.intoMemory, column: column, row: 0, channel: channel, columns: 1, rows: 1)
    )
  }
}

extension ConfigurationCommand {
  fileprivate var address: UInt32 {
    switch self {
    case .write(let own, _), .maskedWrite(let own, _, _), .block(let own, _), .poll(let own, _, _):
      own
    }
  }
}

extension ControlOperation {
  fileprivate var address: UInt32? {
    switch self {
    case .write(let own, _), .maskedWrite(let own, _, _), .block(let own, _), .patch(let own, _, _):
      own
    case .wait: nil
    }
  }
}

/// Makes each mutation, and expects what must be said of it.
func check(_ mutations: [Mutation]) {
  for mutation in mutations {
    let outcome = mutation.outcome
    #expect(outcome.contains(mutation.words), "\(mutation.part), \(mutation.words): \(outcome)")
  }
}
