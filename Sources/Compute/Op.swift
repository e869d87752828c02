// The closed list of ops. A new case does not compile until every backend handles it or answers
// `.unsupported`.
//
// Grain: an op is as large as the largest thing a kernel will want to fuse. The feed-forward is one
// op, because skipping the zeros of a sparse gate crosses its three matrix products.

/// One operation of a program.
///
/// `Ops.swift` holds each case's operands and its mathematics.
package enum Op: Sendable, Hashable {
  case embed(Embed)
  case expandStreams(ExpandStreams)
  case perLayerInputs(PerLayerInputs)
  case altupPredict(AltUpPredict)
  case norm(Norm)
  case laurel(Laurel)
  case projectKV(ProjectKV)
  case appendKV(AppendKV)
  case projectQueries(ProjectQueries)
  case attend(Attend)
  case matmul(Matmul)
  case addNormed(AddNormed)
  case feedForward(FeedForward)
  case altupCorrect(AltUpCorrect)
  case injectPerLayerInput(InjectPerLayerInput)
  case keepWanted(KeepWanted)
  case mergeStreams(MergeStreams)
  case logits(Logits)
}
