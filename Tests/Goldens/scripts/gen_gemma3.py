#!/usr/bin/env python3
"""Makes gemma3-random-a and -b: small random Gemma 3 text checkpoints and what the reference says about them.

The reference is transformers' Gemma3ForCausalLM: CPU, f32, eager attention, weights exactly those stored (rounded to
bf16 first). forward() below is an independent float64 re-implementation; its ablation switches measure how far each
mistake would show in the logits, so that a golden which cannot see a mistake is noticed here.

usage: gen_gemma3.py [DIRECTORY]      (default: the directory above this script; needs torch, transformers, safetensors)
"""
import json, math, os, shutil, sys
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

torch.set_num_threads(1)
ROOT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
PATTERN = 6  # every sixth layer attends in full
NEW_TOKENS = 32

SPECS = {
    # Flat, with the newer spelling of rope and layer_types.
    "a": dict(layers=14, vocab=256, hidden=64, inter=128, heads=4, kv=2, dim=16, window=8, scalar=16, factor=1.0,
              nested=False, seed=41, lengths=[1, 2, 7, 8, 9, 24, 61]),
    # Nested, with the older spelling, most defaults left out, positions of the full layers divided by 8, and
    # query_pre_attn_scalar (20 = hidden / heads) unlike head_dim; heads x head_dim unlike hidden.
    "b": dict(layers=13, vocab=384, hidden=80, inter=96, heads=4, kv=2, dim=32, window=12, scalar=20, factor=8.0,
              nested=True, seed=42, lengths=[1, 5, 12, 13, 64]),
}


def make_config(s):
    full = {"rope_type": "linear", "factor": s["factor"]} if s["factor"] != 1 else {"rope_type": "default"}
    return Gemma3TextConfig(
        vocab_size=s["vocab"], hidden_size=s["hidden"], intermediate_size=s["inter"], num_hidden_layers=s["layers"],
        num_attention_heads=s["heads"], num_key_value_heads=s["kv"], head_dim=s["dim"], sliding_window=s["window"],
        query_pre_attn_scalar=s["scalar"], max_position_embeddings=1024, bos_token_id=2, eos_token_id=1,
        pad_token_id=0, attn_implementation="eager",
        rope_parameters={"full_attention": {**full, "rope_theta": 1e6},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}})


def initialise(model, s):
    """Random weights that stay conditioned: branches add little (gains of the post norms), save in the last layers,
    where they are strong, so that greedy text does not just echo its input. Norm gains are stored as gain - 1."""
    generator = torch.Generator().manual_seed(s["seed"])
    normal = lambda p, std: p.copy_(torch.randn(p.shape, generator=generator) * std)
    gain = lambda p, low, high: p.copy_(torch.rand(p.shape, generator=generator) * (high - low) + low - 1)
    last = [f"layers.{i}." for i in range(s["layers"] - 4, s["layers"])]
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name == "lm_head.weight": continue
            if name == "model.norm.weight": gain(p, 2.0, 6.0)
            elif "post_" in name and any(l in name for l in last): gain(p, 1.5, 3.0)
            elif "post_" in name: gain(p, 0.1, 0.4)
            elif "q_norm" in name or "k_norm" in name: gain(p, 0.9, 1.7)
            elif "norm" in name: gain(p, 0.5, 1.5)
            elif "embed_tokens" in name: normal(p, s["hidden"] ** -0.5)
            elif p.dim() == 2: normal(p, p.shape[1] ** -0.5)
            else: raise RuntimeError(name)
            p.copy_(p.to(torch.bfloat16).float())
        model.tie_weights()
    return generator


def forward(s, sd, ids, ab=()):
    """Logits [tokens, vocab] and the hidden states after each layer, in float64."""
    w = {k.removeprefix("model."): v.double() for k, v in sd.items()}
    T, H, KV, D, d = len(ids), s["heads"], s["kv"], s["dim"], s["hidden"]

    def rms(x, g, name=None):
        if name in ab: return x
        return x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).pow(-0.5) * (g + (0 if "no_one_plus" in ab else 1))

    scale = float(torch.tensor(d ** 0.5).bfloat16()) if "embed_scale_bf16" in ab else 1.0 if "no_embed_scale" in ab else d ** 0.5
    h = w["embed_tokens.weight"][ids] * scale
    at = torch.arange(T); causal = at[None] <= at[:, None]
    window = causal & (at[None] > at[:, None] - s["window"] - (1 if "window_plus1" in ab else 0))

    def rope(x, full):
        theta = 1e6 if full != ("rope_swap" in ab) else 1e4
        p = at.double() / (s["factor"] if full != ("scale_on_sliding" in ab) and "no_rope_scaling" not in ab else 1)
        f = p[:, None] / theta ** (torch.arange(0, D, 2).double() / D); c, n = f.cos()[:, None], f.sin()[:, None]
        if "rope_interleaved" in ab:
            x1, x2 = x[..., ::2], x[..., 1::2]; return torch.stack((x1 * c - x2 * n, x2 * c + x1 * n), -1).flatten(-2)
        x1, x2 = x[..., :D // 2], x[..., D // 2:]
        return torch.cat((x1 * c - x2 * n, x2 * c + x1 * n), -1)

    states = []
    for i in range(s["layers"]):
        g = {k.removeprefix(f"layers.{i}."): v for k, v in w.items() if k.startswith(f"layers.{i}.")}
        full = (i + 1) % PATTERN == 0
        x = rms(h, g["input_layernorm.weight"])
        q = rope(rms(F.linear(x, g["self_attn.q_proj.weight"]).view(T, H, D), g["self_attn.q_norm.weight"], "no_q_norm"), full)
        k = rope(rms(F.linear(x, g["self_attn.k_proj.weight"]).view(T, KV, D), g["self_attn.k_norm.weight"], "no_k_norm"), full)
        v = F.linear(x, g["self_attn.v_proj.weight"]).view(T, KV, D)
        if "norm_v" in ab: v = v * (v.pow(2).mean(-1, keepdim=True) + 1e-6).pow(-0.5)
        spread = (lambda z: z.repeat(1, H // KV, 1)) if "gqa_tiled" in ab else (lambda z: z.repeat_interleave(H // KV, 1))
        scalar = D if "attn_scale_head_dim" in ab else 1 if "no_attn_scale" in ab else s["scalar"]
        score = torch.einsum("qhd,khd->hqk", q, spread(k)) * scalar ** -0.5
        mask = causal if full or "no_sliding" in ab else window
        a = torch.einsum("hqk,khd->qhd", score.masked_fill(~mask, -math.inf).softmax(-1), spread(v)).reshape(T, H * D)
        h = h + rms(F.linear(a, g["self_attn.o_proj.weight"]), g["post_attention_layernorm.weight"], "no_post_attention_norm")
        x = rms(h, g["pre_feedforward_layernorm.weight"], "no_pre_feedforward_norm")
        act = F.gelu(F.linear(x, g["mlp.gate_proj.weight"]), approximate="none" if "gelu_erf" in ab else "tanh")
        h = h + rms(F.linear(act * F.linear(x, g["mlp.up_proj.weight"]), g["mlp.down_proj.weight"]),
                    g["post_feedforward_layernorm.weight"], "no_post_feedforward_norm")
        states.append(h)
    final = rms(h, w["norm.weight"], "no_final_norm")
    return F.linear(final, w["embed_tokens.weight"]), states


ABLATIONS = ["no_one_plus", "embed_scale_bf16", "no_embed_scale", "window_plus1", "no_sliding", "rope_swap",
             "scale_on_sliding", "no_rope_scaling", "rope_interleaved", "no_q_norm", "no_k_norm", "norm_v", "gqa_tiled",
             "attn_scale_head_dim", "no_attn_scale", "no_post_attention_norm", "no_pre_feedforward_norm",
             "no_post_feedforward_norm", "gelu_erf", "no_final_norm"]
# What cannot show, by the numbers of the checkpoint: sqrt(64) is exact in bf16; a scales no positions and its scalar
# is its head_dim.
INVISIBLE = {"a": {"embed_scale_bf16", "scale_on_sliding", "no_rope_scaling", "attn_scale_head_dim"}, "b": set()}


def save_checkpoint(model, config, s, generator, out):
    weights = {k: v.detach().to(torch.bfloat16).contiguous().clone()
               for k, v in model.state_dict().items() if k != "lm_head.weight"}
    fields = {k: v for k, v in config.to_dict().items() if not k.startswith("_")}
    if not s["nested"]:
        fields.update(architectures=["Gemma3ForCausalLM"], model_type="gemma3_text", dtype="bfloat16")
    else:
        # As the published 4b to 27b: a text_config that names only what is unlike the defaults.
        keep = ("head_dim", "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers",
                "num_key_value_heads", "query_pre_attn_scalar", "sliding_window", "vocab_size")
        text = {k: fields[k] for k in keep}
        text.update(model_type="gemma3_text", rope_scaling={"factor": s["factor"], "rope_type": "linear"})
        fields = {"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 300, "bos_token_id": 2,
                  "eoi_token_index": 301, "eos_token_id": [1, 106], "image_token_index": 302, "initializer_range": 0.02,
                  "mm_tokens_per_image": 256, "model_type": "gemma3", "text_config": text, "torch_dtype": "bfloat16",
                  "vision_config": {"hidden_size": 1152, "image_size": 896, "model_type": "siglip_vision_model",
                                    "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": False}}
        weights = {"language_model." + k: v for k, v in weights.items()}
        noise = lambda *shape: torch.randn(*shape, generator=generator).to(torch.bfloat16)
        weights["vision_tower.vision_model.embeddings.patch_embedding.weight"] = noise(4, 3, 4, 4)
        weights["vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight"] = noise(8, 8)
        weights["multi_modal_projector.mm_input_projection_weight"] = noise(8, s["hidden"])
    json.dump(fields, open(f"{out}/config.json", "w"), indent=1)
    save_file(weights, f"{out}/model.safetensors", metadata={"format": "pt"})


def reload(out, s):
    """The model made again from the files alone: what is stored must say the same."""
    fields = json.load(open(f"{out}/config.json")); fields = fields.get("text_config", fields)
    model = Gemma3ForCausalLM(Gemma3TextConfig(**fields, attn_implementation="eager")).float().eval()
    weights = {k.removeprefix("language_model."): v.float() for k, v in load_file(f"{out}/model.safetensors").items()
               if "vision" not in k and "multi_modal" not in k}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights(); return model


def raw(path, tensor):
    values = tensor.detach().float().contiguous().numpy().astype("<f4"); values.tofile(path); return list(values.shape)


def make(name, s):
    out = f"{ROOT}/gemma3-random-{name}"; shutil.rmtree(out, ignore_errors=True); os.makedirs(out + "/golden")
    config = make_config(s); model = Gemma3ForCausalLM(config).float().eval()
    assert [t == "full_attention" for t in config.layer_types] == [(i + 1) % PATTERN == 0 for i in range(s["layers"])]
    generator = initialise(model, s); save_checkpoint(model, config, s, generator, out)
    draw = torch.Generator().manual_seed(s["seed"] + 1); again = reload(out, s); sd = model.state_dict()

    def tokens(count):
        ids = torch.randint(3, s["vocab"], (1, count), generator=draw); ids[0, 0] = 2; return ids

    cases = []
    for count in s["lengths"]:
        ids = tokens(count); logits = model(input_ids=ids, use_cache=False).logits[0]
        assert torch.equal(logits, again(input_ids=ids, use_cache=False).logits[0]), "the stored checkpoint differs"
        whole = model.generate(ids, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None, pad_token_id=0)[0]
        steps = model(input_ids=whole[None], use_cache=False).logits[0][count - 1:-1]; greedy = whole[count:].tolist()
        assert steps.argmax(-1).tolist() == greedy, "greedy with and without cache differ"
        top = steps.topk(2, -1).values; margins = top[:, 0] - top[:, 1]
        exact, _ = forward(s, sd, ids[0]); file = f"len{count}.logits.f32"
        cases.append(dict(
            name=f"len{count}", ids=ids[0].tolist(), logits=file, shape=raw(f"{out}/golden/{file}", logits),
            greedy=greedy, greedy_min_margin=margins.min().item(), greedy_margins=[round(m, 5) for m in margins.tolist()],
            logit_std=logits.std().item(), logit_absmax=logits.abs().max().item(),
            hf32_vs_f64_maxabs=(logits.double() - exact).abs().max().item(), argmax=logits.argmax(-1).tolist(),
            unique_greedy=len(set(greedy))))

    ids = tokens(6); after, before = [], []
    hooks = [l.register_forward_hook(lambda _, __, o: after.append((o[0] if isinstance(o, tuple) else o)[0].clone()))
             for l in model.model.layers]
    hooks.append(model.model.layers[0].register_forward_pre_hook(
        lambda _, i, k: before.append((i[0] if i else k["hidden_states"])[0].clone()), with_kwargs=True))
    final = model.model(input_ids=ids, use_cache=False).last_hidden_state[0]
    for hook in hooks: hook.remove()
    logits = model(input_ids=ids, use_cache=False).logits[0]; _, states = forward(s, sd, ids[0])
    layer_error = [(a.double() - b).abs().max().item() for a, b in zip(after, states, strict=True)]
    g = f"{out}/golden/layers"
    layers = dict(
        ids=ids[0].tolist(),
        input_streams=dict(file="layers.input.f32", shape=raw(f"{g}.input.f32", before[0]), axes="token,hidden"),
        after_each_layer=dict(file="layers.hidden.f32", shape=raw(f"{g}.hidden.f32", torch.stack(after)), axes="layer,token,hidden"),
        final_normed=dict(file="layers.final.f32", shape=raw(f"{g}.final.f32", final)),
        logits=dict(file="layers.logits.f32", shape=raw(f"{g}.logits.f32", logits)))

    ids = torch.tensor(cases[-1]["ids"]); base, _ = forward(s, sd, ids); ablations = {}
    for ab in ABLATIONS:
        difference = (forward(s, sd, ids, {ab})[0] - base).abs()
        ablations[ab] = dict(maxabs=difference.max().item(), mean=difference.mean().item())
        assert (ablations[ab]["maxabs"] < 1e-6) == (ab in INVISIBLE[name]), (name, ab, ablations[ab])
        assert ab in INVISIBLE[name] or ablations[ab]["maxabs"] > 1e-2, (name, ab, "hides below the tolerance")
    import transformers
    json.dump(dict(
        model=f"gemma3-random-{name}", reference="transformers Gemma3ForCausalLM f32 CPU eager, weights exactly those stored",
        torch=torch.__version__, transformers=transformers.__version__, cases=cases, layers=layers,
        ablation_logit_diff=ablations, layer_err_hf32_vs_f64=layer_error), open(f"{out}/golden/golden.json", "w"), indent=1)
    size = sum(os.path.getsize(os.path.join(r, f)) for r, _, fs in os.walk(out) for f in fs)
    print(f"gemma3-random-{name}: {sum(p.numel() for p in model.parameters())} parameters, {size} bytes")
    for c in cases:
        print("  {name}: std {logit_std:.2f} max {logit_absmax:.2f} f32-f64 {hf32_vs_f64_maxabs:.1e} margin {greedy_min_margin:.3g} distinct {unique_greedy}".format(**c))
    print(f"  layer error {max(layer_error):.1e};", "  ".join(f"{k} {v['maxabs']:.2g}" for k, v in ablations.items()))


if __name__ == "__main__":
    with torch.no_grad():
        for name, spec in SPECS.items(): make(name, spec)
