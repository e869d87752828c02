// A program's ops in the order in which the device runs them: phase by phase, with barriers between.

package import Compute

/// Ops recorded in phases.
package struct CommandBuffer {
  /// The program with its ops in the order they are run in.
  package let recorded: Program
  /// The ops' places in the program itself, in the order they are run in.
  package let order: [Int]
  /// How often the device waits for all that was recorded before.
  package let barrierCount: Int

  package init(_ program: Program) {
    var planner = PhasePlanner()
    var phases: [[Int]] = []
    for (index, op) in program.ops.enumerated() {
      let (reads, writes) = op.regions(in: program)
      // No thread of a GPU knows what another has done before a barrier.
      let phase = planner.phase(wholeReads: reads, writes: writes, split: .other)
      while phases.count <= phase { phases.append([]) }
      phases[phase].append(index)
    }
    // Last first: nothing in a phase may depend on anything else in it.
    order = phases.flatMap { $0.reversed() }
    barrierCount = max(0, phases.count - 1)
    var recorded = program
    recorded.ops = order.map { program.ops[$0] }
    self.recorded = recorded
  }
}
