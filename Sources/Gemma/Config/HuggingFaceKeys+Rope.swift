// What a config.json says about rotary position embeddings: `rope_parameters` of transformers 5, or the
// fields of version 4.
// Source: modeling_rope_utils.py, transformers 5.24.

internal import ModelFiles

extension HuggingFaceKeys {
  /// The rope of an attention kind, whatever the width of its heads.
  struct Rope {
    var theta: Float
    var positionScale: Float = 1
    /// The share of a head's pairs that are rotated.
    var rotatedShare = 1.0

    func parameters(headDim: Int) -> LayerRecord.RopeParameters {
      LayerRecord.RopeParameters(
        theta: theta,
        positionScale: positionScale,
        rotatedPairs: rotatedShare == 1 ? nil : Int(rotatedShare * Double(headDim) / 2)
      )
    }
  }

  /// Reads the ropes of the two attention kinds.
  func ropes() throws(GemmaError) -> (full: Rope, sliding: Rope) {
    let full = try rope(
      "full_attention",
      theta: try text.double("rope_theta") ?? 1_000_000,
      rotatedShare: architecture.rotatedShareOfFullAttention,
      legacyScaling: try text.object("rope_scaling")
    )
    try refuseFlatRope(theta: full.theta)
    let sliding = try rope(
      "sliding_attention",
      theta: try text.double("rope_local_base_freq") ?? 10_000,
      legacyScaling: nil
    )
    return (full, sliding)
  }

  /// Reads the RoPE of one attention kind from `rope_parameters` (transformers 5), or from the
  /// fields of version 4.
  ///
  /// `rope_scaling` applies to full attention only, and its keys are added to those of
  /// `rope_parameters` (`Gemma3TextConfig.convert_rope_params_to_dict`).
  private func rope(
    _ kind: String,
    theta: Double,
    rotatedShare: Double = 1,
    legacyScaling: JSONObject?
  ) throws(GemmaError) -> Rope {
    let own = try text.object("rope_parameters")?.object(kind)
    let parameters = JSONObject(
      fields: (own?.fields ?? [:]).merging(legacyScaling?.fields ?? [:]) { $1 },
      place: legacyScaling?.place ?? own?.place ?? text.place
    )
    // Before version 4.43 the key was `type`.
    let (type, oldType) = (try parameters.string("rope_type"), try parameters.string("type"))
    if let type, let oldType, type != oldType {
      throw refusal("RoPE of \(kind): rope_type is \(type), but type is \(oldType)")
    }
    let name = type ?? oldType ?? (own == nil && rotatedShare != 1 ? "proportional" : "default")
    let theta = Float(try parameters.double("rope_theta") ?? theta)
    let share =
      try parameters.double("partial_rotary_factor") ?? (own == nil ? rotatedShare : 1)
    if name == "proportional", architecture == .gemma4 {
      guard (0...1).contains(share) else {
        throw GemmaError(
          .config,
          "partial_rotary_factor \(share) of \(kind) is outside 0...1",
          context: parameters.place
        )
      }
      let scale = Float(1 / (try parameters.double("factor") ?? 1))
      return Rope(theta: theta, positionScale: scale, rotatedShare: share)
    }
    guard share == 1 || !["default", "linear"].contains(name) else {
      throw refusal(
        "partial_rotary_factor \(share) of \(kind), whose rope_type is \(name): only Gemma 4's"
          + " proportional may rotate a part of a head"
      )
    }
    switch name {
    case "default":
      return Rope(theta: theta)
    case "linear":
      guard let factor = try parameters.double("factor") else {
        throw GemmaError(.config, "rope_type linear without a factor", context: parameters.place)
      }
      return Rope(theta: theta, positionScale: Float(1 / factor))
    case let type:
      throw refusal(
        "rope_type \(type); only default, linear and Gemma 4's proportional are supported"
      )
    }
  }

  /// Refuses parameters beside those of the attention kinds.
  ///
  /// Transformers ignores them, but the author of the file must have meant something by them.
  private func refuseFlatRope(theta: Float) throws(GemmaError) {
    guard let parameters = try text.object("rope_parameters") else { return }
    for (key, value) in parameters.fields.sorted(by: { $0.key < $1.key }) {
      switch (key, value) {
      case ("full_attention", _), ("sliding_attention", _), (_, .null): continue
      case ("rope_type", .string("default")), ("type", .string("default")): continue
      case ("rope_theta", .integer(let number)) where Float(number) == theta: continue
      case ("rope_theta", .double(let number)) where Float(number) == theta: continue
      default:
        throw refusal(
          "rope_parameters.\(key) \(value.kind); it must be inside full_attention and sliding_attention"
        )
      }
    }
  }
}
