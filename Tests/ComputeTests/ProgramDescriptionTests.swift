// Programs as text: every op's operands and weights are in it.

import Compute
import Testing

@Suite struct `Program description` {
  private let program = TinyProgram().program

  @Test func `buffers show shape, rows and role`() {
    var tiny = TinyProgram()
    tiny.base.inputs = [TinyProgram.id("streams")]
    let lines = tiny.program.description.split(separator: "\n").map(String.init)
    #expect(lines[0] == "program: layers 0..<1, vocabulary 0..<10")
    #expect(lines.contains("  %streams: [2, all rows, 32] f32 input"))
    #expect(lines.contains("  %keys: [all rows, 8] f32"))
    #expect(lines.contains("  %logits: [wanted rows, 10] f32 output"))
    #expect(lines.count == 1 + program.buffers.count + program.caches.count + program.ops.count)
  }

  @Test func `caches show heads and how far a row sees`() {
    var program = program
    _ = program.add(Cache(layer: 5, kvHeadCount: 1, headDim: 16, window: nil))
    #expect(program.description.contains("\n  cache 0: [2 heads, positions, 4], window 8\n"))
    #expect(program.description.contains("\n  cache 5: [1 heads, positions, 16], full\n"))
  }

  @Test func `an op reads as an assignment with its weights behind`() {
    let lines = program.ops.map { program.describe($0) }
    #expect(lines[0] == "%embedding = embed() embed_tokens[10×32 f32]")
    #expect(
      lines[7] == "%keys, %values = projectKV(%normed) k_proj[8×32 f32] v_proj[8×32 f32] "
        + "k_norm[1×4 f32]"
    )
    #expect(lines[8] == "appendKV(%keys, %values) → cache 0")
    #expect(lines[10] == "%attended = attend(%queries) ← cache 0")
    #expect(
      lines[12] == "%activated, %normed = addNormed(%attention, %predictions, %laurelled) "
        + "post_attention_norm[1×32 f32] pre_feedforward_norm[1×32 f32]"
    )
    #expect(
      lines[16] == "%streams = injectPerLayerInput(%scaled, %perLayerInputs, %streams) "
        + "per_layer_gate[4×32 f32] per_layer_out[32×4 f32] post_per_layer_norm[1×32 f32]"
    )
  }

  @Test func `every op names itself as its case does`() {
    for op in program.ops {
      // `embed(Compute.Embed(…))`: the case's own name is before the bracket.
      #expect("\(op)".prefix { $0 != "(" } == op.name)
    }
    #expect(Set(program.ops.map(\.name)).count == 18)
  }

  /// A backend collects its weights with `Op.weights`: none may be missing there.
  @Test func `an op lists every weight it holds`() {
    for op in program.ops {
      let found = "\(op)".ranges(of: "WeightRef(").count
      #expect(op.weights.count == found, "\(op.name)")
    }
  }

  /// What an op reads and writes, it lists: nobody looks into its fields for it.
  @Test func `an op lists every buffer it holds`() {
    for op in program.ops {
      var held: Set<Int> = []
      for part in "\(op)".split(separator: "BufferID(index: ").dropFirst() {
        if let index = Int(part.prefix { $0.isNumber }) { held.insert(index) }
      }
      let (reads, writes) = op.operands
      #expect(Set((reads + writes).map(\.index)) == held, "\(op.name)")
    }
  }
}
