// Keys of a model directory that change what a model computes or answers and that are not
// supported. A key with any value other than the neutral one is refused with its name. The keys are
// those that transformers 5.24 reads: models/gemma3, gemma3n and gemma4, and
// generation/configuration_utils.py.

internal import ModelFiles

extension HuggingFaceKeys {
  // The generation config's other settings (temperature, top_k, repetition_penalty, lengths) are
  // given by each request instead.
  private static let generationLists = [
    "begin_suppress_tokens", "bad_words_ids", "force_words_ids",
    "sequence_bias", "forced_bos_token_id", "forced_eos_token_id", "stop_strings", "constraints",
  ]

  /// Refuses models with settings that are not supported, because ignoring them would silently give
  /// wrong text.
  func refuseUnsupported() throws(GemmaError) {
    for object in [top, text] {
      if try object.bool("is_encoder_decoder") == true { throw refusal("is_encoder_decoder true") }
      if try object.bool("is_causal") == false { throw refusal("is_causal false") }
      for name in try object.strings("architectures") ?? []
      where name.hasSuffix("Classification") || name.hasSuffix("QuestionAnswering") {
        throw refusal("architectures \(name): the model is made to classify, not to write")
      }
      let share = try object.double("partial_rotary_factor") ?? 1
      guard share == 1 else { throw refusal("partial_rotary_factor \(share)") }
    }
    guard let generation else { return }
    for key in HuggingFaceKeys.generationLists {
      switch generation.value(key) {
      case nil: continue
      case .array(let values)? where values.isEmpty: continue
      case .object(let fields)? where fields.isEmpty: continue
      case let value?:
        throw GemmaError(
          .unsupported,
          "\(key) \(value.kind): constraints on answers are not supported; remove the key to"
            + " generate without them",
          context: generation.place
        )
      }
    }
    let guidance = try generation.double("guidance_scale") ?? 1
    guard guidance == 1 else {
      throw GemmaError(
        .unsupported,
        "guidance_scale \(guidance) is not supported; remove the key to generate without it",
        context: generation.place
      )
    }
  }
}
