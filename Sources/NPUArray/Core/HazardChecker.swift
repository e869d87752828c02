// Finds what a program does that the core would not wait for, on every path through it.
//
// The core issues a bundle a cycle whatever is under way. So a program is followed bundle by bundle with what is on
// its way: results that have not landed, ports that are taken in coming cycles, branches whose delay slots run.
// Where two paths meet with the same of these, one is followed.

/// What is wrong with the schedule of a program.
package struct Hazard: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Rule: Sendable, Hashable {
    /// A register is read before a result has landed in it.
    case latency
    /// Two results land in one register in one cycle.
    case collision
    /// Two instructions use one port or unit in one cycle.
    case port
    /// Two instructions of a bundle use one pointer.
    case pointer
    /// A branch in a delay slot, or to where no bundle is.
    case branch
    /// A loop whose end is too near to what sets it up, or that something leaves.
    case loop
    /// A lock and an access, or two locks, too near to each other.
    case lock
    /// The program runs over its end.
    case end
    /// An instruction of which nobody knows when it reads and writes.
    case unknown
  }

  package var rule: Rule
  package var message: String
  /// The bundle and the line.
  package var place: String

  package var description: String { "\(place): \(message)" }
}

/// Checks programs.
package struct HazardChecker {
  private struct Pending: Hashable {
    var register: Register
    /// The cycle at whose end it lands; 0 is that of the bundle that is issued.
    var cycle: Int
    var bypass: Timing.Bypass?
    /// The bundle that writes it.
    var source: Int
  }

  private struct Booking: Hashable {
    var unit: Timing.Unit
    var cycle: Int
    var source: Int
  }

  /// Where a branch leads: to a bundle, back to the caller, or nowhere that can be seen.
  private enum Target: Hashable {
    case bundle(Int)
    case caller
    case unseen
  }

  private struct Branch: Hashable {
    var targets: [Target]
    /// Whether the next bundle may follow as well.
    var isConditional: Bool
    var slotsLeft: Int
  }

  /// What is on its way before a bundle.
  private struct State: Hashable {
    var bundle: Int
    var pending: Set<Pending> = []
    var bookings: Set<Booking> = []
    var branch: Branch?
    /// Where `ret` leads.
    var callers: [Int] = []
    /// Bundles since the last of each kind, up to the largest distance that matters.
    var since: [Kind: Int] = [:]
  }

  private enum Kind: Hashable, CaseIterable {
    case lock, access, lateStore, partStore, loopSetup
  }

  private static let delaySlots = 5
  /// Bundles from a write to `ls`, `le` or `lc` to the last one of the loop.
  private static let loopDistance = 8
  /// So long something can matter.
  private static let horizon = 12
  private static let mostCallers = 8
  private static let mostStates = 200_000

  private let program: CoreProgram
  private let timings: [[(instruction: Instruction, timing: Timing)]]
  /// First bundles of loops by their last ones.
  private let loops: [Int: Int]
  private var found: [Hazard] = []

  /// Returns what is wrong with a program that begins at its first bundle.
  ///
  /// - Parameter program: The program.
  /// - Returns: Each fault once, in the order of bundles; none if the schedule is right.
  package static func hazards(in program: CoreProgram) -> [Hazard] {
    do throws(Hazard) {
      var checker = try HazardChecker(program)
      checker.follow()
      var seen: Set<Hazard> = []
      return checker.found.filter { seen.insert($0).inserted }
    } catch {
      return [error]
    }
  }

  /// The index of no bundle.
  private static let nowhere = -1

  private init(_ program: CoreProgram) throws(Hazard) {
    self.program = program
    var timings: [[(Instruction, Timing)]] = []
    var (starts, ends): ([Int], [Int]) = ([], [])
    var odd: [Int] = []
    for (index, bundle) in program.bundles.enumerated() {
      var each: [(Instruction, Timing)] = []
      for slot in Slot.allCases {
        guard let instruction = bundle[slot] else { continue }
        do throws(NPUError) {
          each.append((instruction, try instruction.timing()))
        } catch {
          throw Hazard(rule: .unknown, message: error.message, place: program.place(index))
        }
        let isLoop = instruction["D"].map { [.ls, .le].contains($0.kind) } ?? false
        guard instruction.mnemonic == "movxm", let value = instruction.immediate else {
          if isLoop { odd.append(index) }
          continue
        }
        let target = program.index(at: value) ?? Self.nowhere
        if isLoop, target == Self.nowhere { odd.append(index) }
        if instruction["D"]?.kind == .ls { starts.append(target) }
        if instruction["D"]?.kind == .le { ends.append(target) }
      }
      timings.append(each)
    }
    self.timings = timings
    loops = Dictionary(zip(ends, starts), uniquingKeysWith: { $1 })
    for index in odd {
      report(.loop, "ls and le must be set by movxm, to where a bundle begins", at: index)
    }
  }

  private mutating func report(_ rule: Hazard.Rule, _ message: String, at bundle: Int) {
    found.append(Hazard(rule: rule, message: message, place: program.place(bundle)))
  }

  // MARK: Paths

  private mutating func follow() {
    var seen: Set<State> = []
    var waiting = [State(bundle: 0)]
    while let state = waiting.popLast() {
      guard seen.insert(state).inserted else { continue }
      guard seen.count < Self.mostStates else {
        report(.unknown, "there are too many paths to follow them all", at: state.bundle)
        return
      }
      guard program.bundles.indices.contains(state.bundle) else {
        report(.end, "the program runs over its end", at: max(0, program.bundles.count - 1))
        continue
      }
      waiting += issue(state)
    }
  }

  /// Checks a bundle, and returns what may come after it.
  private mutating func issue(_ state: State) -> [State] {
    let index = state.bundle
    var next = state
    checkPointers(index)
    for (instruction, timing) in timings[index] {
      checkReads(instruction, timing, state)
      checkDistances(instruction, timing, state)
    }
    for (_, timing) in timings[index] { book(timing, index, &next) }
    let ends = timings[index].contains { $0.instruction.mnemonic == "done" }
    if let branch = branch(at: index) {
      if state.branch != nil { report(.branch, "a branch in a delay slot of another", at: index) }
      next.branch = branch
      if timings[index].contains(where: { $0.instruction.mnemonic == "jl" }) {
        next.callers.append(index + 1 + Self.delaySlots)
        guard next.callers.count <= Self.mostCallers else {
          report(.branch, "calls within calls do not end", at: index)
          return []
        }
      }
    }
    advance(&next)
    return ends ? [] : successors(of: index, next, justBegan: branch(at: index) != nil)
  }

  /// Lets a cycle pass.
  private func advance(_ state: inout State) {
    state.pending = Set(
      state.pending.lazy.filter { $0.cycle > 0 }.map { pending in
        var pending = pending
        pending.cycle -= 1
        return pending
      }
    )
    state.bookings = Set(
      state.bookings.lazy.filter { $0.cycle > 0 }.map { booking in
        var booking = booking
        booking.cycle -= 1
        return booking
      }
    )
    for kind in Kind.allCases {
      guard let distance = state.since[kind] else { continue }
      state.since[kind] = distance < Self.horizon ? distance + 1 : nil
    }
  }

  private mutating func successors(of index: Int, _ state: State, justBegan: Bool) -> [State] {
    var next = state
    next.bundle = index + 1
    guard var branch = state.branch else {
      guard let start = loops[index] else { return [next] }
      checkLoop(from: start, to: index, state)
      var again = next
      again.bundle = start
      return [next, again]
    }
    if !justBegan { branch.slotsLeft -= 1 }
    guard branch.slotsLeft == 0 else {
      next.branch = branch
      return [next]
    }
    next.branch = nil
    var all = branch.isConditional ? [next] : []
    for target in branch.targets {
      var taken = next
      switch target {
      case .bundle(let place): taken.bundle = place
      case .caller:
        guard let caller = taken.callers.popLast() else { continue }
        taken.bundle = caller
      case .unseen: continue
      }
      all.append(taken)
    }
    return all
  }

  private mutating func branch(at index: Int) -> Branch? {
    for (instruction, _) in timings[index] {
      let isConditional = ["jz", "jnz", "jnzd"].contains(instruction.mnemonic)
      guard isConditional || ["j", "jl", "ret"].contains(instruction.mnemonic) else { continue }
      var targets: [Target] = []
      if instruction.mnemonic == "ret" {
        targets = [.caller]
      } else if let address = instruction.immediate {
        if let target = program.index(at: address) {
          targets = [.bundle(target)]
        } else {
          report(.branch, "no bundle is at \(address)", at: index)
        }
      } else if let pointer = instruction["P"] {
        // A register leads wherever a constant for it does.
        targets = constants(for: pointer).map { .bundle(program.index(at: $0) ?? Self.nowhere) }
        if targets.isEmpty { targets = [.unseen] }
      }
      return Branch(targets: targets, isConditional: isConditional, slotsLeft: Self.delaySlots)
    }
    return nil
  }

  private func constants(for register: Register) -> [Int] {
    timings.joined().compactMap { instruction, _ in
      guard instruction.mnemonic == "movxm", instruction["D"] == register else { return nil }
      return instruction.immediate
    }
  }

  // MARK: Rules

  private mutating func checkReads(_ instruction: Instruction, _ timing: Timing, _ state: State) {
    for read in timing.reads where !instruction.isOld(read.letter) {
      let cycle = read.stage - 1
      let late = state.pending.filter { pending in
        let isBypassed =
          pending.cycle == cycle && pending.bypass != nil && pending.bypass == read.bypass
        return read.registers.contains(pending.register) && pending.cycle >= cycle && !isBypassed
      }
      // Of a register in parts one is told.
      guard
        let pending = late.min(by: { ($0.source, "\($0.register)") < ($1.source, "\($1.register)") }
        )
      else { continue }
      report(
        .latency,
        "\(instruction.mnemonic) reads \(pending.register) \(pending.cycle - cycle + 1) cycles before the result "
          + "of \(program.place(pending.source)) is there (~ if the old value is wanted)",
        at: state.bundle
      )
    }
  }

  private mutating func book(_ timing: Timing, _ index: Int, _ state: inout State) {
    for write in timing.writes {
      for register in write.registers {
        let own = Pending(
          register: register,
          cycle: write.stage - 1,
          bypass: write.bypass,
          source: index
        )
        if let other = state.pending.first(where: {
          $0.register == register && $0.cycle == own.cycle
        }) {
          report(
            .collision,
            "\(register) is written by \(program.place(other.source)), too, in one cycle",
            at: index
          )
        }
        state.pending.insert(own)
      }
    }
    if timing.units.contains(where: { $0.unit == .locks }) { state.since[.lock] = 0 }
    switch timing.memory {
    case .load?, .store?: state.since[.access] = 0
    case .lateStore?: state.since[.lateStore] = 0
    case .partStore?: state.since[.partStore] = 0
    case nil: break
    }
    if timing.writes.contains(where: {
      $0.registers.contains { [.ls, .le, .lc].contains($0.kind) }
    }) {
      state.since[.loopSetup] = 0
    }
    for (unit, stage) in timing.units {
      let own = Booking(unit: unit, cycle: stage - 1, source: index)
      if let other = state.bookings.first(where: { $0.unit == unit && $0.cycle == own.cycle }) {
        report(.port, "\(unit.rawValue) is taken by \(program.place(other.source))", at: index)
      }
      // One unit of a bundle may serve one instruction of several cycles.
      state.bookings.insert(own)
    }
  }

  private mutating func checkPointers(_ index: Int) {
    var used: Set<Register> = []
    for (instruction, _) in timings[index] where instruction.form.tokens.contains(.text("[")) {
      for letter in ["P", "M", "J", "E"] as [Character] {
        guard let register = instruction[letter], !used.insert(register).inserted else { continue }
        report(.pointer, "\(register) is used in two slots", at: index)
      }
    }
  }

  private mutating func checkLoop(from start: Int, to end: Int, _ state: State) {
    guard start <= end, start >= 0 else {
      report(.loop, "the loop ends before it begins", at: end)
      return
    }
    // The state is that behind the bundle: one more has passed.
    if let distance = state.since[.loopSetup], distance - 1 < Self.loopDistance {
      report(
        .loop,
        "the loop was set up \(distance - 1) bundles before its last one; \(Self.loopDistance) are needed",
        at: end
      )
    }
    for index in start...end {
      for (instruction, timing) in timings[index] {
        if ["j", "jl", "jz", "jnz", "jnzd", "ret"].contains(instruction.mnemonic) {
          report(.loop, "\(instruction.mnemonic) within a loop without branches", at: index)
        }
        if index == end, timing.memory == .partStore {
          report(
            .loop,
            "\(instruction.mnemonic) in the last bundle of a loop may be lost",
            at: index
          )
        }
      }
    }
  }

  private mutating func checkDistances(_ instruction: Instruction, _ timing: Timing, _ state: State)
  {
    func near(_ kind: Kind, _ distance: Int) -> Int? {
      state.since[kind].flatMap { $0 < distance ? $0 : nil }
    }
    let isLock = timing.units.contains { $0.unit == .locks }
    if isLock {
      for (kind, distance, what) in [
        (Kind.lock, 4, "another lock"), (.access, 4, "an access to memory"),
        (.lateStore, 6, "a store behind a shift"), (.partStore, 10, "a store of part of a word"),
      ] {
        guard let actual = near(kind, distance) else { continue }
        report(
          .lock,
          "\(what) was \(actual) bundles before; \(distance) are needed",
          at: state.bundle
        )
      }
    } else if timing.memory != nil, let actual = near(.lock, 4) {
      report(
        .lock,
        "a lock was \(actual) bundles before this access; 4 are needed",
        at: state.bundle
      )
    }
  }
}
