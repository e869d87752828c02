// The machine that a grammar is at run time: stacks of frames, shared as a graph, and for each
// stack that was met the stack that each byte leads to.
//
// A stack is a set of frames; a frame is a place in the grammar and the stack below it, which goes
// on when the place is done. So a stack stands for all the ways in which the bytes so far can be
// read, and its memory is bounded: frames of one place are merged, with the union of what is below
// them. Equal stacks are one, so a state is an index and a transition is made once. Nothing here is
// made before a byte asks for it.

/// A place in the grammar, and what comes after it.
struct Frame: Hashable {
  /// The node; `Frame.end` where the grammar ends.
  var node: Int32
  /// Of a literal the bytes, of a sequence the children that are done; of a repetition how often it
  /// must still come.
  var progress: Int32
  /// Of a repetition how often it may still come; -1 for ever.
  var left: Int32
  /// The stack below.
  var below: Int32

  static let end: Int32 = -1

  // Two words instead of four: hashing is most of what making a transition takes.
  func hash(into hasher: inout Hasher) {
    hasher.combine(UInt64(UInt32(bitPattern: node)) << 32 | UInt64(UInt32(bitPattern: below)))
    hasher.combine(UInt64(UInt32(bitPattern: progress)) << 32 | UInt64(UInt32(bitPattern: left)))
  }

  /// Whether two stand at one place.
  func isAtPlace(of other: Frame) -> Bool {
    node == other.node && progress == other.progress && left == other.left
  }

  /// By place, never by index, so that what is dropped at a limit follows from the bytes alone.
  static func precedes(_ a: Frame, _ b: Frame) -> Bool {
    (a.node, a.progress, a.left) < (b.node, b.progress, b.left)
  }
}

/// A grammar's states and transitions, as far as they have been met.
///
/// It only grows; `AutomatonStore` replaces it when it has grown too large. All calls are made
/// under the store's lock.
// Safe: rows are made and freed here, have 256 entries, and are indexed by bytes.
@safe final class Automaton {
  typealias Row = UnsafeMutablePointer<Int32>

  /// The stack that nothing can continue.
  static let dead: Int32 = 0
  /// The stack at the end of the grammar.
  static let finished: Int32 = 1

  let table: RuleTable
  /// Frames of all stacks.
  private var frames: [Frame] = []
  /// Where the frames of each stack are in `frames`.
  private var starts: [Int32] = [0, 0]
  /// How many frames lie on each other in each stack.
  private var depths: [Int32] = [0]
  private var singles: [Frame: Int32] = [:]
  private var several: [[Frame]: Int32] = [:]
  private var unions: [UInt64: Int32] = [:]
  /// For each stack its transitions, 256 stacks; nil until they are asked for.
  ///
  /// It moves when it grows.
  private(set) var rows = UnsafeMutablePointer<Row?>.allocate(capacity: 64)
  private var rowCapacity = 64
  private var accepting: [Bool] = [false]
  private var rowCount = 0
  /// For each stack what plain characters do; see `Automaton+Plain.swift`.
  var plainSteps: [Int32: PlainStep] = [:]
  /// Masks of a stack, by the vocabulary's number.
  var masks: [MaskKey: [UInt8]] = [:]

  // Scratch of `makeRow`.
  private var visited: Set<Frame> = []
  private var work: [Frame] = []
  private var edges: [Edge] = []
  private var buckets = [[Int32]](repeating: [], count: 256)

  private struct Edge {
    var set: ByteSet
    var stack: Int32
  }

  init(_ table: RuleTable) {
    self.table = table
    // As many as the capacity.
    unsafe rows.initialize(repeating: nil, count: rowCapacity)
    let end = stack(of: [Frame(node: Frame.end, progress: 0, left: 0, below: Automaton.dead)])
    precondition(end == Automaton.finished, "the end is stack \(end)")
  }

  deinit {
    // Each row was allocated by `makeRow` with 256 entries, and is known here only.
    for stack in 0..<rowCapacity { unsafe rows[stack]?.deallocate() }
    unsafe rows.deallocate()
  }

  /// The state before the first byte.
  var initial: Int32 { stack(of: [frame(table.start, below: Automaton.finished)]) }

  /// What it holds, about, in bytes.
  var byteCount: Int {
    rowCount * 1024 + frames.count * 64 + starts.count * 64 + (masks.first?.value.count ?? 0)
      * masks.count
  }

  // MARK: Stacks

  private func frames(of stack: Int32) -> ArraySlice<Frame> {
    frames[Int(starts[Int(stack)])..<Int(starts[Int(stack) + 1])]
  }

  /// A frame at the beginning of a node.
  private func frame(_ node: Int32, below: Int32) -> Frame {
    if case .repeated(_, let min, let max) = table.nodes[Int(node)] {
      return Frame(node: node, progress: min, left: max ?? -1, below: below)
    }
    return Frame(node: node, progress: 0, left: 0, below: below)
  }

  /// The stack of these frames.
  ///
  /// - Precondition: They are in order, and no two are at one place.
  private func stack(of list: [Frame]) -> Int32 {
    if list.isEmpty { return Automaton.dead }
    if list.count == 1 {
      if let stack = singles[list[0]] { return stack }
    } else if let stack = several[list] {
      return stack
    }
    let stack = Int32(starts.count - 1)
    frames += list
    starts.append(Int32(frames.count))
    var depth: Int32 = 0
    for frame in list { depth = max(depth, depths[Int(frame.below)]) }
    depths.append(depth + 1)
    growRows(for: Int(stack))
    accepting.append(false)
    if list.count == 1 { singles[list[0]] = stack } else { several[list] = stack }
    return stack
  }

  /// The stack that continues as either does.
  private func union(_ a: Int32, _ b: Int32) -> Int32 {
    if a == b || b == Automaton.dead { return a }
    if a == Automaton.dead { return b }
    let key = UInt64(UInt32(min(a, b))) << 32 | UInt64(UInt32(max(a, b)))
    if let known = unions[key] { return known }
    let result = stack(of: merged(Array(frames(of: a)) + Array(frames(of: b))))
    unions[key] = result
    return result
  }

  /// Frames in order, with those of one place as one.
  private func merged(_ list: [Frame]) -> [Frame] {
    let sorted = list.sorted(by: Frame.precedes)
    var result: [Frame] = []
    var index = 0
    while index < sorted.count, result.count < GrammarLimits.stateFrames {
      var frame = sorted[index]
      var end = index + 1
      while end < sorted.count, sorted[end].isAtPlace(of: frame) { end += 1 }
      // All at once: one by one would make a stack for each of them.
      if end - index == 2 {
        frame.below = union(frame.below, sorted[index + 1].below)
      } else if end - index > 2 {
        let below = Set(sorted[index..<end].map(\.below))
        if below.count > 1 { frame.below = stack(of: merged(below.flatMap { frames(of: $0) })) }
      }
      result.append(frame)
      index = end
    }
    return result
  }

  /// Takes over a stack of another automaton of the same rules.
  ///
  /// - Complexity: O(n) in its frames.
  func adopt(_ stack: Int32, from other: Automaton) -> Int32 {
    var known: [Int32: Int32] = [Automaton.dead: Automaton.dead]
    return adopt(stack, from: other, &known)
  }

  // As deep as a stack, which is bounded.
  private func adopt(_ stack: Int32, from other: Automaton, _ known: inout [Int32: Int32]) -> Int32
  {
    if let mine = known[stack] { return mine }
    var list: [Frame] = []
    for var frame in other.frames(of: stack) {
      frame.below = adopt(frame.below, from: other, &known)
      list.append(frame)
    }
    let mine = self.stack(of: list)
    known[stack] = mine
    return mine
  }

  // MARK: Transitions

  /// The stacks that bytes lead to.
  @inline(__always)
  func row(_ stack: Int32) -> Row {
    // A row lives as long as the automaton.
    if let row = unsafe rows[Int(stack)] { return unsafe row }
    return unsafe makeRow(stack)
  }

  /// The stack behind a byte.
  func next(_ stack: Int32, _ byte: UInt8) -> Int32 {
    // A row has an entry for each byte.
    unsafe row(stack)[Int(byte)]
  }

  /// Whether the grammar may end here.
  func isAccepting(_ stack: Int32) -> Bool {
    _ = unsafe row(stack)
    return accepting[Int(stack)]
  }

  private func growRows(for stack: Int) {
    guard stack >= rowCapacity else { return }
    let capacity = 2 * rowCapacity
    // The old entries are moved, the new ones are nil, and nobody keeps the old pointer over this.
    let grown = UnsafeMutablePointer<Row?>.allocate(capacity: capacity)
    unsafe grown.moveInitialize(from: rows, count: rowCapacity)
    unsafe (grown + rowCapacity).initialize(repeating: nil, count: capacity - rowCapacity)
    unsafe rows.deallocate()
    unsafe rows = grown
    rowCapacity = capacity
  }

  func makeRow(_ stack: Int32) -> Row {
    expand(stack)
    let row = Row.allocate(capacity: 256)
    unsafe row.initialize(repeating: Automaton.dead, count: 256)
    if edges.count == 1 {
      let next = edges[0].stack
      // ByteSet's members are below 256.
      edges[0].set.forEach { unsafe row[$0] = next }
    } else {
      unsafe fill(row: row)
    }
    unsafe rows[Int(stack)] = row
    rowCount += 1
    return unsafe row
  }

  /// Gives each byte the union of the stacks of all edges that have it.
  private func fill(row: Row) {
    for (index, edge) in edges.enumerated() {
      edge.set.forEach { buckets[$0].append(Int32(index)) }
    }
    var last: [Int32] = []
    var lastStack = Automaton.dead
    var known: [[Int32]: Int32] = [:]
    for byte in 0..<256 where !buckets[byte].isEmpty {
      let bucket = buckets[byte]
      buckets[byte].removeAll(keepingCapacity: true)
      if bucket != last {
        last = bucket
        if let stack = known[bucket] {
          lastStack = stack
        } else {
          lastStack = join(bucket)
          known[bucket] = lastStack
        }
      }
      // The loop's bytes are below 256.
      unsafe row[byte] = lastStack
    }
  }

  private func join(_ bucket: [Int32]) -> Int32 {
    if bucket.count == 1 { return edges[Int(bucket[0])].stack }
    if bucket.count == 2 { return union(edges[Int(bucket[0])].stack, edges[Int(bucket[1])].stack) }
    var list: [Frame] = []
    for index in bucket { list += frames(of: edges[Int(index)].stack) }
    return stack(of: merged(list))
  }

  /// Finds which bytes can follow a stack, and what each leaves: `edges`, and whether it may end.
  private func expand(_ stack: Int32) {
    edges.removeAll(keepingCapacity: true)
    visited.removeAll(keepingCapacity: true)
    work.removeAll(keepingCapacity: true)
    work.append(contentsOf: frames(of: stack).reversed())
    var steps = 0
    while let frame = work.popLast() {
      if work.count + visited.count > 1, !visited.insert(frame).inserted { continue }
      steps += 1
      if steps > GrammarLimits.closureSteps { break }
      if frame.node == Frame.end { accepting[Int(stack)] = true } else { expand(frame) }
    }
  }

  private func expand(_ frame: Frame) {
    switch table.nodes[Int(frame.node)] {
    case .literal(let bytes):
      let done = frame.progress + 1
      let next = Int(done) == bytes.count ? frame.below : single(frame, progress: done)
      edges.append(Edge(set: ByteSet(CollectionOfOne(bytes[Int(frame.progress)])), stack: next))
    case .bytes(let set): edges.append(Edge(set: set, stack: frame.below))
    case .sequence(let children):
      guard !children.isEmpty else { return pop(frame) }
      let done = Int(frame.progress) + 1
      // Before its last child a sequence is that child: equal places become equal stacks.
      let rest =
        switch children.count - done {
        case 0: frame.below
        case 1: stack(of: [self.frame(children[done], below: frame.below)])
        default: single(frame, progress: Int32(done))
        }
      work.append(self.frame(children[done - 1], below: rest))
    case .alternatives(let children):
      // What could not be completed within the limit is no alternative; one of them always can.
      let room = Int32(GrammarLimits.stackFrames) - depths[Int(frame.below)]
      for child in children.reversed() where table.need[Int(child)] <= room {
        work.append(self.frame(child, below: frame.below))
      }
    case .repeated(let child, _, _): repeatAgain(frame, child)
    case .call(let rule): work.append(self.frame(table.bodies[Int(rule)], below: frame.below))
    }
  }

  private func repeatAgain(_ frame: Frame, _ child: Int32) {
    if frame.progress == 0 { pop(frame) }
    guard frame.left != 0 else { return }
    let room = Int32(GrammarLimits.stackFrames) - depths[Int(frame.below)]
    guard frame.progress > 0 || table.need[Int(child)] + 1 <= room else { return }
    var rest = frame
    rest.progress = max(0, frame.progress - 1)
    if frame.left > 0 { rest.left -= 1 }
    let below = rest.left == 0 ? frame.below : stack(of: [rest])
    work.append(self.frame(child, below: below))
  }

  private func single(_ frame: Frame, progress: Int32) -> Int32 {
    var frame = frame
    frame.progress = progress
    return stack(of: [frame])
  }

  /// Goes on below a frame that is done.
  private func pop(_ frame: Frame) { work.append(contentsOf: frames(of: frame.below).reversed()) }
}
