// Each invariant of a program, broken once: the refusal names the op and what is wrong.

import Compute
import Testing

/// A way to break the tiny program, and what the refusal must say.
private struct Fault: Sendable, CustomTestStringConvertible {
  /// Part of the message, or all of it.
  var message: String
  /// The op or end of the program it must name.
  var place: String
  var edit: @Sendable (inout TinyProgram) -> Void

  init(
    _ message: String,
    in place: String,
    _ edit: @escaping @Sendable (inout TinyProgram) -> Void
  ) {
    self.message = message
    self.place = place
    self.edit = edit
  }

  var testDescription: String { "\(place): \(message)" }
}

private func id(_ name: String) -> BufferID { TinyProgram.id(name) }

@Suite struct `Program validation` {
  /// Returns why a program is refused; nil if it is not.
  private func refusal(_ program: Program) -> ComputeError? {
    do {
      try program.validate()
      return nil
    } catch {
      return error
    }
  }

  private func expect(_ fault: Fault) {
    var tiny = TinyProgram()
    fault.edit(&tiny)
    guard let error = refusal(tiny.program) else {
      Issue.record("the broken program is accepted")
      return
    }
    #expect(error.code == .invalidProgram)
    #expect(error.message.contains(fault.message))
    #expect(error.context == fault.place)
  }

  @Test func `a good program is accepted`() {
    #expect(refusal(TinyProgram().program) == nil)
    #expect(refusal(Program(layers: 0..<1)) == nil)
  }

  @Test func `logits are computed once`() {
    var program = TinyProgram().program
    #expect(program.vocabulary == 0..<10)
    program.ops += program.ops.suffix(1)
    #expect(refusal(program)?.message.contains("2 ops compute logits") == true)
    program.ops.removeLast(2)
    #expect(program.vocabulary.isEmpty)
  }

  @Test func `an op whose result is needed cannot be left out`() {
    let program = TinyProgram().program
    // What these write, something wrote before them or nothing reads.
    let spared = ["op 1 keepWanted", "op 14 addNormed", "op 16 injectPerLayerInput"]
    for (index, op) in program.ops.enumerated() {
      var shorter = program
      shorter.ops.remove(at: index)
      let isRefused = refusal(shorter)?.message.contains("before it is written") == true
      #expect(isRefused != spared.contains("op \(index) \(op.name)"), "op \(index) \(op.name)")
    }
  }

  // MARK: Buffers, caches and ends

  @Test(arguments: [
    Fault("buffer 2 (streams) is 2 × 0", in: "") { $0.change("streams") { $0.width = 0 } },
    Fault("buffer 2 (streams) is 0 × 32", in: "") { $0.change("streams") { $0.planes = 0 } },
    Fault("no buffer 99", in: "input") { $0.base.inputs = [BufferID(index: 99)] },
    Fault("no buffer -1", in: "output") { $0.base.outputs = [BufferID(index: -1)] },
    Fault("no buffer 18", in: "op 13 (feedForward)") { $0.feedForward.input = BufferID(index: 18) },
    Fault("spare is read before it is written", in: "output") {
      $0.base.outputs = [$0.base.add(Buffer(name: "spare", width: 1, rows: .all))]
    },
    Fault("no cache 1", in: "op 8 (appendKV)") { $0.append.cache = CacheID(index: 1) },
    Fault("no cache -1", in: "op 10 (attend)") { $0.attend.cache = CacheID(index: -1) },
    Fault("cache of layer 7 is read before it is written", in: "op 10 (attend)") {
      $0.attend.cache = $0.base.add(Cache(layer: 7, kvHeadCount: 2, headDim: 4, window: nil))
    },
  ])
  fileprivate func `buffers, caches and ends must exist and be filled`(_ fault: Fault) {
    expect(fault)
  }

  @Test func `an input is filled before the first op`() {
    var tiny = TinyProgram()
    tiny.base.inputs = [id("streams")]
    var program = tiny.program
    program.ops.remove(at: 2)
    #expect(refusal(program) == nil)
  }

  // MARK: The front of a stage

  @Test(arguments: [
    Fault("embedding is 32 wide, 16 expected", in: "op 0 (embed)") { $0.embed.table.columns = 16 },
    Fault("blocks of q4_K do not divide 32", in: "op 0 (embed)") { $0.embed.table.type = .q4_K },
    Fault("embedding has 2 planes, 1 expected", in: "op 0 (embed)") {
      $0.change("embedding") { $0.planes = 2 }
    },
    Fault("embedding.wanted must hold all rows", in: "op 17 (keepWanted)") {
      $0.keep.input = id("embedding.wanted")
    },
    Fault("kept holds all rows, wanted are written", in: "op 17 (keepWanted)") {
      $0.change("kept") { $0.rows = .all }
    },
    Fault("altup_projections.0 is [31, 32], [32, 32] expected", in: "op 2 (expandStreams)") {
      $0.expand.projections[0].rows = 1..<32
    },
    Fault("streams has 2 planes, 3 expected", in: "op 2 (expandStreams)") {
      $0.expand.projections.append($0.expand.projections[0])
    },
    Fault("columns 4..<12 of a table of 8", in: "op 3 (perLayerInputs)") {
      $0.perLayer.tableColumns = 4..<12
    },
    Fault("columns -4..<4 of a table of 8", in: "op 3 (perLayerInputs)") {
      $0.perLayer.tableColumns = -4..<4
    },
    Fault("8 columns are not layers of 3", in: "op 3 (perLayerInputs)") { $0.perLayer.width = 3 },
    Fault("8 columns are not layers of 0", in: "op 3 (perLayerInputs)") { $0.perLayer.width = 0 },
    Fault("per_layer_projection is [8, 32], [4, 32] expected", in: "op 3 (perLayerInputs)") {
      $0.perLayer.tableColumns = 0..<4
    },
    Fault("per_layer_norm is [1, 4], [1, 8] expected", in: "op 3 (perLayerInputs)") {
      $0.perLayer.width = 8
    },
  ])
  fileprivate func `embedding, streams and per-layer inputs must fit`(_ fault: Fault) {
    expect(fault)
  }

  // MARK: Attention

  @Test(arguments: [
    Fault("no stream 2 to be active", in: "op 4 (altupPredict)") { $0.predict.active = 2 },
    Fault("prediction_coefs is [3, 2], [4, 2] expected", in: "op 4 (altupPredict)") {
      $0.predict.coefficients.rows = 0..<3
    },
    Fault("router is [3, 32], [2, 32] expected", in: "op 4 (altupPredict)") {
      $0.predict.router.weight.rows = 0..<3
    },
    Fault("predictions has no plane 2", in: "op 5 (norm)") {
      $0.norm.input = Plane(id("predictions"), 2)
    },
    Fault("input_norm is [1, 31], [1, 32] expected", in: "op 5 (norm)") {
      $0.norm.norm.weight?.columns = 31
    },
    Fault("laurel_left is [3, 31], [any, 32] expected", in: "op 6 (laurel)") {
      $0.laurel.left.columns = 31
    },
    Fault("laurel_right is [32, 3], [32, 2] expected", in: "op 6 (laurel)") {
      $0.laurel.left.rows = 0..<2
    },
    Fault("head dim 5 is not even", in: "op 7 (projectKV)") { $0.projectKV.headDim = 5 },
    Fault("head dim 0 is not even", in: "op 9 (projectQueries)") {
      $0.projectQueries.headDim = 0
    },
    Fault("14 query rows are not heads of 4", in: "op 9 (projectQueries)") {
      $0.projectQueries.weight.rows = 0..<14
    },
    Fault("queries is 16 wide, 12 expected", in: "op 9 (projectQueries)") {
      $0.projectQueries.weight.rows = 0..<12
    },
    Fault("6 key rows are not heads of 4", in: "op 7 (projectKV)") {
      $0.projectKV.keyWeight.rows = 0..<6
    },
    Fault("v_proj is [4, 32], [8, 32] expected", in: "op 7 (projectKV)") {
      $0.projectKV.valueWeight?.rows = 0..<4
    },
    Fault("keys holds wanted rows, all are written", in: "op 7 (projectKV)") {
      $0.change("keys") { $0.rows = .wanted }
    },
    Fault("keys is 8 wide, 4 expected", in: "op 8 (appendKV)") {
      $0.base.caches[0].kvHeadCount = 1
    },
    Fault("3 pairs of a head of 4 are rotated", in: "op 7 (projectKV)") {
      $0.projectKV.rope.rotatedPairs = 3
    },
    Fault("-1 pairs of a head of 4 are rotated", in: "op 9 (projectQueries)") {
      $0.projectQueries.rope.rotatedPairs = -1
    },
    Fault("3 heads do not share 2 KV heads evenly", in: "op 10 (attend)") {
      $0.attend.headCount = 3
    },
    Fault("0 heads do not share 2 KV heads evenly", in: "op 10 (attend)") {
      $0.attend.headCount = 0
    },
    Fault("queries is 16 wide, 8 expected", in: "op 10 (attend)") { $0.attend.headCount = 2 },
    Fault("o_proj is [32, 12], [any, 16] expected", in: "op 11 (matmul)") {
      $0.matmul.weight.columns = 12
    },
  ])
  fileprivate func `prediction, projections and attention must fit`(_ fault: Fault) {
    expect(fault)
  }

  // MARK: The rest of a layer and of a stage

  @Test(arguments: [
    Fault("layer_scalar is [1, 2], [1, 1] expected", in: "op 12 (addNormed)") {
      $0.add.outputScale = WeightRef(name: "layer_scalar", rows: 0..<1, columns: 2, type: .f32)
    },
    Fault("layer_scalar is [2, 1], [1, 1] expected", in: "op 16 (injectPerLayerInput)") {
      $0.inject.outputScale = WeightRef(name: "layer_scalar", rows: 0..<2, columns: 1, type: .f32)
    },
    Fault("residual perLayerInputs has another shape than attention", in: "op 12 (addNormed)") {
      $0.add.residuals.append(Plane(id("perLayerInputs")))
    },
    Fault("residual embedding.wanted has another shape", in: "op 12 (addNormed)") {
      $0.add.residuals[0] = Plane(id("embedding.wanted"))
    },
    Fault("predictions has no plane 7", in: "op 12 (addNormed)") {
      $0.add.residuals[0].index = 7
    },
    Fault("activated holds wanted rows, all are written", in: "op 12 (addNormed)") {
      $0.change("activated") { $0.rows = .wanted }
    },
    Fault("perLayerInputs is 8 wide, 32 expected", in: "op 12 (addNormed)") {
      $0.add.next?.output = id("perLayerInputs")
    },
    Fault("up_proj is [24, 32], [23, 32] expected", in: "op 13 (feedForward)") {
      $0.feedForward.gate.rows = 0..<23
    },
    Fault("down_proj is [32, 23], [32, 24] expected", in: "op 13 (feedForward)") {
      $0.feedForward.down.columns = 23
    },
    Fault("no stream -1 to be active", in: "op 15 (altupCorrect)") { $0.correct.active = -1 },
    Fault("embedding.wanted has other rows than the predictions", in: "op 15 (altupCorrect)") {
      $0.correct.activated = id("embedding.wanted")
    },
    Fault("correction_coefs is [2, 4], [2, 2] expected", in: "op 15 (altupCorrect)") {
      $0.correct.coefficients.columns = 4
    },
    Fault("output_scale is [1, 31], [1, 32] expected", in: "op 15 (altupCorrect)") {
      $0.correct.outputScale?.columns = 31
    },
    Fault("columns 5..<9 of perLayerInputs, which is 8 wide", in: "op 16 (injectPerLayerInput)") {
      $0.inject.columns = 5..<9
    },
    Fault("per_layer_gate is [4, 32], [3, 32] expected", in: "op 16 (injectPerLayerInput)") {
      $0.inject.columns = 4..<7
    },
    Fault("embedding.wanted hold different rows", in: "op 16 (injectPerLayerInput)") {
      $0.inject.input = id("embedding.wanted")
    },
    Fault("kept has 2 planes, 1 expected", in: "op 18 (mergeStreams)") {
      $0.merge.projections = []
    },
    Fault("altup_unembed.0 is [32, 31], [32, 32] expected", in: "op 18 (mergeStreams)") {
      $0.merge.projections[0].columns = 31
    },
    Fault("logits is 10 wide, 9 expected", in: "op 19 (logits)") { $0.logits.weight.rows = 1..<10 },
    Fault("logits holds all rows, wanted are written", in: "op 19 (logits)") {
      $0.change("logits") { $0.rows = .all }
    },
  ])
  fileprivate func `feed-forward, correction and logits must fit`(_ fault: Fault) {
    expect(fault)
  }
}
