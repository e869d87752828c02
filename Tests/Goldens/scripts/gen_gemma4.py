#!/usr/bin/env python3
"""Golden outputs for a Gemma 4 (text) engine.  Reference = transformers Gemma4ForCausalLM, CPU, fp32, eager attention, weights rounded to
the stored dtype first and upcast.  Writes gemma4-{a,b,c}/ (checkpoint + golden/) and gemma4-a-assistant/ (MTP drafter of gemma4-a).
forward() is an independent float64 re-implementation with ablation switches: it measures conditioning and what each mistake would show.
usage: gen_gemma4.py [OUTPUT_DIRECTORY [NAME…]]      made with transformers 5.24, torch 2.13, one thread"""
import json, math, os, shutil, sys
import numpy as np, torch
import torch.nn.functional as F
torch.set_num_threads(1)
from safetensors.torch import save_file
import transformers
from transformers import Gemma4AssistantConfig, Gemma4AssistantForCausalLM, Gemma4Config, Gemma4ForCausalLM, Gemma4ForConditionalGeneration, Gemma4TextConfig
transformers.logging.set_verbosity_error()
ROOT = os.path.dirname(os.path.abspath(__file__))
FULL, SLIDE = "full_attention", "sliding_attention"

# ------------------------------------------------------------------ reference with ablation switches
def frequencies(c, t, D, ab=()):
    p = c["rope"][t if "rope_swap" not in ab else {FULL: SLIDE, SLIDE: FULL}[t]]; th = p["rope_theta"]; i = np.arange(D // 2)
    part = p.get("partial_rotary_factor", 1.0) if p["rope_type"] == "proportional" else 1.0
    if "partial_everywhere" in ab: part = 0.25
    if "no_partial" in ab: part = 1.0
    r = int(part * D // 2); over = 2 * r if "exponent_over_rotated" in ab and r < D // 2 else D
    return torch.tensor(np.where(i < r, th ** (-2.0 * i / over), 0.0)), r
def forward(c, sd, ids, ab=(), dt=torch.float64):
    """c: plain dict of the text config (see plain()); sd: tensors named model.…; returns logits, e, states after each layer, normed state, pli, store, attention outputs."""
    w = {k[6:] if k.startswith("model.") else k: v.to(dt) for k, v in sd.items()}
    eps, d, P, H, L, S, types = c["eps"], c["d"], c["P"], c["H"], c["L"], c["S"], c["types"]; first = L - S
    def rms(x, g=None, n=None):
        if n in ab: return x if g is None else x * g
        y = x * (x.pow(2).mean(-1, keepdim=True) + eps).pow(-0.5); return y if g is None else y * (1 + g if "one_plus_w" in ab else g)
    gelu = (lambda x: F.gelu(x)) if "gelu_erf" in ab else (lambda x: F.gelu(x, approximate="tanh"))
    ids = ids.view(-1); T = len(ids)
    e = F.embedding(ids, w["embed_tokens.weight"]) * (float(torch.tensor(d ** 0.5).bfloat16()) if "embed_scale_bf16" in ab else 1.0 if "no_embed_scale" in ab else d ** 0.5)
    pli = None
    if P:
        tok = (F.embedding(ids, w["embed_tokens_per_layer.weight"]) * (1.0 if "no_ple_scale" in ab else P ** 0.5)).view(T, L, P)
        ctx = rms((F.linear(e, w["per_layer_model_projection.weight"]) * d ** -0.5).view(T, L, P), w["per_layer_projection_norm.weight"])
        pli = (ctx * (0 if "no_ple_ctx" in ab else 1) + tok * (0 if "no_ple_token" in ab else 1)) * (1.0 if "no_ple_rsqrt2" in ab else 2 ** -0.5)
        if "ple_layout_transposed" in ab: pli = pli.reshape(T, P, L).transpose(1, 2)
    i = torch.arange(T); causal = i[None] <= i[:, None]; W = c["W"] + (1 if "window_plus1" in ab else -1 if "window_minus1" in ab else 0)
    swa = causal if "no_sliding" in ab else causal & (i[None] > i[:, None] - W)
    h, store, states, attn = e, {}, [], []
    for l in range(L):
        g = {k[len(f"layers.{l}."):]: v for k, v in w.items() if k.startswith(f"layers.{l}.")}; t = types[l]; D, KV = c["D"][l], c["K"][l]
        inv, r = frequencies(c, t, D, ab)
        def rope(x):
            f = i[:, None].to(dt) * inv[None]; cs, sn = f.cos()[:, None], f.sin()[:, None]
            if "rope_interleaved" in ab:
                x1, x2 = x[..., ::2], x[..., 1::2]; return torch.stack((x1 * cs - x2 * sn, x2 * cs + x1 * sn), -1).flatten(-2)
            if "rotated_first" in ab and r < D // 2:                         # pairs (i, i+r) of the first 2r values instead of (i, i+D/2)
                x1, x2, x3 = x[..., :r], x[..., r:2 * r], x[..., 2 * r:]; cs, sn = cs[..., :r], sn[..., :r]
                return torch.cat((x1 * cs - x2 * sn, x2 * cs + x1 * sn, x3), -1)
            x1, x2 = x[..., :D // 2], x[..., D // 2:]
            return torch.cat((x1 * cs - x2 * sn, x2 * cs + x1 * sn), -1)
        x = rms(h, g["input_layernorm.weight"])
        q = rope(rms(F.linear(x, g["self_attn.q_proj.weight"]).view(T, H, D), g["self_attn.q_norm.weight"], "no_q_norm"))
        share = l >= first and not ("no_kv_sharing" in ab and "self_attn.k_proj.weight" in g)
        if share: k, v = store[t]
        else:
            kr = F.linear(x, g["self_attn.k_proj.weight"]).view(T, KV, D); kn = rms(kr, g["self_attn.k_norm.weight"], "no_k_norm"); k = rope(kn)
            equal = c["k_eq_v"] and t == FULL
            vr = F.linear(x, g["self_attn.v_proj.weight"]).view(T, KV, D) if not equal else kn if "v_from_normed_k" in ab else k if "v_from_rotated_k" in ab else kr
            v = rms(vr, None, "no_v_norm")
            if l < first and not ("kv_share_first" in ab and t in store): store[t] = (k, v)
        rep = (lambda z: z.repeat(1, H // KV, 1)) if "gqa_tiled" in ab else (lambda z: z.repeat_interleave(H // KV, 1))
        s = torch.einsum("qhd,khd->hqk", q, rep(k)) * (D ** -0.5 if "attn_scale" in ab else 1.0)
        mask = causal if t == FULL or ("shared_unwindowed" in ab and l >= first) else swa
        s = s.masked_fill(~mask, -math.inf).softmax(-1)
        a = F.linear(torch.einsum("hqk,khd->qhd", s, rep(v)).reshape(T, H * D), g["self_attn.o_proj.weight"]); attn.append(a)
        h = h + rms(a, g["post_attention_layernorm.weight"], "no_post_norms")
        n = rms(h, g["pre_feedforward_layernorm.weight"])
        f = F.linear(gelu(F.linear(n, g["mlp.gate_proj.weight"])) * F.linear(n, g["mlp.up_proj.weight"]), g["mlp.down_proj.weight"])
        if "single_wide" in ab: I = c["I"]; f = F.linear((gelu(F.linear(n, g["mlp.gate_proj.weight"])) * F.linear(n, g["mlp.up_proj.weight"]))[:, :I], g["mlp.down_proj.weight"][:, :I])
        h = h + rms(f, g["post_feedforward_layernorm.weight"], "no_post_norms")
        if "scalar_before_ple" in ab: h = h * g["layer_scalar"]
        if P and "no_ple" not in ab:
            y = rms(h, g["pre_feedforward_layernorm.weight"]) if "ple_normed_input" in ab else h
            y = rms(F.linear(gelu(F.linear(y, g["per_layer_input_gate.weight"])) * pli[:, l], g["per_layer_projection.weight"]), g["post_per_layer_input_norm.weight"])
            h = h + y * (g["layer_scalar"] if "scalar_on_branch" in ab else 1)
        if not {"no_layer_scalar", "scalar_before_ple", "scalar_on_branch"} & set(ab): h = h * g["layer_scalar"]
        states.append(h)
    x = rms(h, w["norm.weight"], "no_final_norm"); lg = F.linear(x, w["embed_tokens.weight"]); cap = c["cap"]
    if cap and "no_softcap" not in ab: lg = cap * torch.tanh(lg / cap)
    return lg, e, states, x, pli, store, attn
ABL = ["attn_scale", "no_partial", "exponent_over_rotated", "rotated_first", "partial_everywhere", "rope_swap", "rope_interleaved", "no_sliding", "window_plus1", "window_minus1", "shared_unwindowed",
  "no_kv_sharing", "kv_share_first", "gqa_tiled", "no_q_norm", "no_k_norm", "no_v_norm", "v_from_normed_k", "v_from_rotated_k", "no_post_norms", "single_wide", "no_ple", "no_ple_token", "no_ple_ctx", "no_ple_scale",
  "no_ple_rsqrt2", "ple_layout_transposed", "ple_normed_input", "no_layer_scalar", "scalar_before_ple", "scalar_on_branch", "one_plus_w", "gelu_erf", "no_embed_scale", "embed_scale_bf16", "no_softcap", "no_final_norm"]
def plain(c):
    L = c.num_hidden_layers
    return dict(eps=c.rms_norm_eps, d=c.hidden_size, P=c.hidden_size_per_layer_input, H=c.num_attention_heads, L=L, S=c.num_kv_shared_layers, types=list(c.layer_types), W=c.sliding_window, I=c.intermediate_size,
        D=[c.per_layer_config[l].head_dim for l in range(L)], K=[c.per_layer_config[l].num_key_value_heads for l in range(L)], k_eq_v=c.attention_k_eq_v, rope=c.rope_parameters, cap=c.final_logit_softcapping)

# ------------------------------------------------------------------ random checkpoints
SPECS = {
  "a": dict(like="E2B", vocab=512, hidden=64, inter=96, L=12, S=4, heads=4, kv=1, hd=16, ghd=32, ple=8, win=8, types=([SLIDE] * 3 + [FULL]) * 3, wide=True, dtype="float32",
            layout="nested", form="global", audio=True, kv_in_file=True, shards=1, seed=41, lens=[1, 2, 7, 8, 9, 24, 61]),
  "b": dict(like="E4B", vocab=768, hidden=96, inter=160, L=12, S=4, heads=8, kv=2, hd=32, ghd=64, ple=16, win=12, dtype="bfloat16",
            layout="flat", form="per_layer", shards=3, seed=42, lens=[1, 11, 12, 13, 64]),
  "c": dict(like="31B", vocab=1024, hidden=128, inter=192, L=12, S=0, heads=8, kv=4, gkv=2, hd=16, ghd=32, ple=0, win=16, k_eq_v=True, dtype="bfloat16",
            layout="nested", form="global", audio=False, shards=2, seed=43, lens=[1, 15, 16, 17, 90]),
}
def make_cfg(s):
    kw = dict(vocab_size=s["vocab"], vocab_size_per_layer_input=s["vocab"], hidden_size=s["hidden"], intermediate_size=s["inter"], num_hidden_layers=s["L"], num_attention_heads=s["heads"], num_key_value_heads=s["kv"],
        head_dim=s["hd"], global_head_dim=s["ghd"], hidden_size_per_layer_input=s["ple"], num_kv_shared_layers=s["S"], sliding_window=s["win"], use_double_wide_mlp=s.get("wide", False), attention_k_eq_v=s.get("k_eq_v", False),
        num_global_key_value_heads=s.get("gkv"), layer_types=list(s["types"]) if "types" in s else None, max_position_embeddings=1024, final_logit_softcapping=s.get("cap", 30.0), rope_parameters=s.get("rope"),
        bos_token_id=2, eos_token_id=1, pad_token_id=0, attn_implementation="eager")
    c = Gemma4TextConfig(**kw); c._attn_implementation = "eager"; return c
def rand_init(m, s):
    L = s["L"]; g = torch.Generator().manual_seed(s["seed"]); N = lambda p, sd: p.copy_(torch.randn(p.shape, generator=g) * sd); U = lambda p, a, b: p.copy_(torch.rand(p.shape, generator=g) * (b - a) + a)
    last = tuple(f"layers.{k}." for k in range(L - 3, L))
    with torch.no_grad():
        for n, p in list(m.named_parameters()) + [(n, b) for n, b in m.named_buffers() if n.endswith("layer_scalar")]:
            if n == "lm_head.weight": continue
            if n == "model.norm.weight": U(p, 2.0, 6.0)                      # final norm: large, so the softcap bites
            elif n.endswith("layer_scalar"): U(p, 0.5, 1.4)
            elif any(k in n for k in last) and n.split(".")[-2] in ("post_attention_layernorm", "post_feedforward_layernorm"): U(p, 0.6, 1.8)   # last layers strong: greedy text does not just echo its input
            elif "post_attention_layernorm" in n or "post_feedforward_layernorm" in n: U(p, 0.15, 0.6)
            elif "post_per_layer_input_norm" in n: U(p, 0.1, 0.4)
            elif "q_norm" in n or "k_norm" in n: U(p, 0.4, 0.9)
            elif "norm" in n: U(p, 0.5, 1.5)
            elif "embed_tokens_per_layer" in n: N(p, s["ple"] ** -0.5)
            elif "embed_tokens" in n: N(p, s["hidden"] ** -0.5)
            elif p.dim() == 2: N(p, p.shape[1] ** -0.5)
            else: raise RuntimeError(n)
            p.copy_(p.to(getattr(torch, s["dtype"])).float())               # exactly representable in the stored dtype
        m.tie_weights()
    return g
def raw(path, t):
    a = t.detach().float().contiguous().numpy().astype("<f4"); a.tofile(path); return list(a.shape)
def cleaned(c): return json.loads(json.dumps({k: v for k, v in c.to_dict().items() if not k.startswith("_")}))
def save_tensors(out, tensors, shards):
    names = sorted(tensors)
    if shards == 1: save_file({k: tensors[k].contiguous() for k in names}, f"{out}/model.safetensors", metadata={"format": "pt"}); return
    wm, size = {}, 0
    for i, cut in enumerate(np.array_split(np.array(names, dtype=object), shards)):
        fn = f"model-{i+1:05d}-of-{shards:05d}.safetensors"; save_file({k: tensors[k].contiguous() for k in cut}, f"{out}/{fn}", metadata={"format": "pt"})
        for k in cut: wm[k] = fn; size += tensors[k].numel() * tensors[k].element_size()
    json.dump({"metadata": {"total_size": size}, "weight_map": wm}, open(f"{out}/model.safetensors.index.json", "w"), indent=1)
def text_config(c, s):
    """Two published forms of the full layers' shapes: "global" (global_head_dim, num_global_key_value_heads) and "per_layer" (per_layer_config)."""
    j = cleaned(c); j["dtype"] = s["dtype"]
    if s["form"] == "global": j.pop("per_layer_config"); j["global_head_dim"] = s["ghd"]; j["num_global_key_value_heads"] = s.get("gkv")
    else: assert "per_layer_config" in j
    if s.get("types_absent"): j["layer_types"] = None
    return j
def save_ckpt(m, c, s, g, out):
    dt = getattr(torch, s["dtype"]); own = {k: v.detach().to(dt).clone() for k, v in m.state_dict().items() if k != "lm_head.weight"}; extra = {}
    R = lambda *sh: (torch.randn(*sh, generator=g) * (sh[-1] ** -0.5)).to(dt)
    if s.get("kv_in_file"):                                                  # published files hold K/V tensors of the shared layers too: unused, using them is wrong and shows
        for l in range(s["L"] - s["S"], s["L"]):
            p, lc = f"model.layers.{l}.self_attn.", c.per_layer_config[l]; n = lc.num_key_value_heads * lc.head_dim
            extra[p + "k_proj.weight"], extra[p + "v_proj.weight"], extra[p + "k_norm.weight"] = R(n, s["hidden"]), R(n, s["hidden"]), (torch.rand(lc.head_dim, generator=g) + .5).to(dt)
    if s["layout"] == "flat":
        j = text_config(c, s); j.update(architectures=["Gemma4ForCausalLM"], model_type="gemma4_text"); json.dump(j, open(f"{out}/config.json", "w"), indent=1)
        save_tensors(out, {**own, **extra}, s["shards"]); return extra
    # nested: model.language_model.*, and the whole (tiny) vision and audio towers to be skipped, with their 0-dimensional clip scalars
    vis = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=8, patch_size=4, position_embedding_size=12, pooling_kernel_size=3, use_clipped_linears=s["audio"])
    aud = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, subsampling_conv_channels=[8, 4], output_proj_dims=16) if s["audio"] else None
    v = s["vocab"]; full = Gemma4Config(text_config=c, vision_config=vis, audio_config=aud, image_token_id=v - 1, video_token_id=v - 2, audio_token_id=v - 3, boi_token_id=v - 4, eoi_token_id=v - 5, boa_token_id=v - 6, eoa_token_index=v - 7)
    torch.manual_seed(s["seed"]); big = Gemma4ForConditionalGeneration(full)
    other = {k: t.detach().to(dt).clone() for k, t in big.state_dict().items() if "language_model" not in k and k != "lm_head.weight"}
    tensors = {k.replace("model.", "model.language_model.", 1): t for k, t in {**own, **extra}.items()}
    missing = {k for k in big.state_dict() if k != "lm_head.weight"} - set(tensors) - set(other); assert not missing, missing
    j = cleaned(full); j["text_config"] = text_config(c, s); j.update(architectures=["Gemma4ForConditionalGeneration"], model_type="gemma4", dtype=s["dtype"])
    json.dump(j, open(f"{out}/config.json", "w"), indent=1); save_tensors(out, {**tensors, **other}, s["shards"]); return extra
def reload(out, s):
    cls = Gemma4ForCausalLM if s["layout"] == "flat" else Gemma4ForConditionalGeneration
    return cls.from_pretrained(out, dtype=torch.float32, attn_implementation="eager").eval()

def build(name, s, root):
    out = f"{root}/gemma4-{name}"; shutil.rmtree(out, ignore_errors=True); os.makedirs(out + "/golden")
    c = make_cfg(s); m = Gemma4ForCausalLM(c).float().eval(); g = rand_init(m, s); extra = save_ckpt(m, c, s, g, out); pc = plain(c); L, T0 = s["L"], s["win"] + 3
    full = {**m.state_dict(), **extra}; own = dict(m.state_dict()); ig = torch.Generator().manual_seed(s["seed"] + 1000); cases = []
    prompt = lambda T: torch.cat((torch.tensor([2]), torch.randint(3, s["vocab"], (T - 1,), generator=ig)))[None]
    with torch.no_grad():
        again = reload(out, s)
        for T in s["lens"]:
            ids = prompt(T); lg = m(input_ids=ids, use_cache=False).logits[0]
            away = (again(input_ids=ids, use_cache=False).logits[0] - lg).abs().max().item(); assert away < 1e-3, f"the files do not give the same model: {away}"
            gen = m.generate(ids, max_new_tokens=32, do_sample=False, eos_token_id=None, pad_token_id=0)[0]
            fl = m(input_ids=gen[None], use_cache=False).logits[0]; cont = gen[T:].tolist()
            assert fl[T - 1:-1].argmax(-1).tolist() == cont, "cache vs no-cache greedy differ"
            top = fl[T - 1:-1].topk(2, -1).values; marg = top[:, 0] - top[:, 1]; ref = forward(pc, own, ids)[0]
            one = m(input_ids=ids, use_cache=True, logits_to_keep=1).logits[0, -1]                    # skips the prompt in the shared layers
            f = f"len{T}.logits.f32"; sh = raw(f"{out}/golden/{f}", lg)
            cases.append(dict(name=f"len{T}", ids=ids[0].tolist(), logits=f, shape=sh, greedy=cont, greedy_min_margin=marg.min().item(), greedy_margins=[round(x, 5) for x in marg.tolist()],
                near_ties=[k for k, x in enumerate(marg.tolist()) if x < 2e-3], logit_std=lg.std().item(), logit_absmax=lg.abs().max().item(), hf32_vs_f64_maxabs=(lg.double() - ref).abs().max().item(),
                last_token_only_maxabs=(one - lg[-1]).abs().max().item(), argmax=lg.argmax(-1).tolist(), unique_greedy=len(set(cont))))
        # layer dumps for one input a little longer than the window
        ids = prompt(T0); rec, att, pre = [], [], []
        hk = [l.register_forward_hook(lambda mod, i, o: rec.append(o[0].clone())) for l in m.model.layers] + [l.self_attn.register_forward_hook(lambda mod, i, o: att.append(o[0][0].clone())) for l in m.model.layers]
        hk.append(m.model.layers[0].register_forward_pre_hook(lambda mod, i: pre.append(i[0][0].clone())))
        o = m.model(input_ids=ids, use_cache=False, return_shared_kv_states=True)
        for h in hk: h.remove()
        lg = m(input_ids=ids, use_cache=False).logits[0]; _, e, st, x, pli, store, at = forward(pc, own, ids)
        err = [(a.double() - b).abs().max().item() for a, b in zip(rec, st)]; dump = lambda f, t, axes: dict(file=f"layers.{f}.f32", shape=raw(f"{out}/golden/layers.{f}.f32", t), axes=axes)
        layers = dict(ids=ids[0].tolist(), input=dump("input", pre[0], "token,hidden"), after_each_layer=dump("hidden", torch.stack(rec), "layer,token,hidden"), attention_output=dump("attn", torch.stack(att), "layer,token,hidden (after o_proj, before post_attention_layernorm)"))
        if s["ple"]:
            pl = m.model.project_per_layer_inputs(m.model.embed_tokens(ids), m.model.get_per_layer_inputs(ids))[0]; layers["per_layer_inputs"] = dump("pli", pl, "token,layer,dim"); assert (pl.double() - pli).abs().max() < 1e-5
        layers.update(final_normed=dump("final", o.last_hidden_state[0], "token,hidden"), logits=dump("logits", lg, "token,vocabulary"))
        modes = c.kv_sharing_modes; layers["store"] = {}
        for l in [l for l in range(L) if modes[l] == "store"]:
            t = c.layer_types[l]; k, v = o.shared_kv_states[t]; layers["store"][t] = dict(layer=l, k=dump(f"k{l}", k[0].transpose(0, 1), "token,kv_head,head_dim (after k_norm and rope)"), v=dump(f"v{l}", v[0].transpose(0, 1), "token,kv_head,head_dim (after the weightless norm)"))
            assert (k[0].transpose(0, 1).double() - store[t][0]).abs().max() < 1e-4 and (v[0].transpose(0, 1).double() - store[t][1]).abs().max() < 1e-4
        # ablations on the longest input in float64
        ids = torch.tensor(cases[-1]["ids"]); base = forward(pc, full, ids)[0]; abl = {}
        skip = {k for k in ABL if (k.startswith("v_from") and not c.attention_k_eq_v) or ("ple" in k and not s["ple"]) or (k == "scalar_on_branch" and not s["ple"]) or (k == "no_kv_sharing" and not extra)
            or (k in ("kv_share_first", "shared_unwindowed") and not s["S"]) or (k == "single_wide" and not s.get("wide")) or (k == "gqa_tiled" and s["kv"] == 1)}
        for ab in ABL:
            if ab in skip: continue
            dlt = (forward(pc, full, ids, {ab})[0] - base).abs(); abl[ab] = dict(maxabs=dlt.max().item(), mean=dlt.mean().item())
        pert = dict(full); e = pert["model.embed_tokens.weight"].double(); nz = torch.Generator().manual_seed(5)
        pert["model.embed_tokens.weight"] = e * (1 + 1e-7 * torch.randn(e.shape, generator=nz).double()); amp = (forward(pc, pert, ids)[0] - base).abs().max().item()
    first = L - s["S"]
    j = dict(model=f"gemma4-{name}", like=s["like"], reference="transformers Gemma4ForCausalLM fp32 CPU eager, weights exactly those stored", transformers=transformers.__version__, torch=torch.__version__,
        layer_plan=[dict(type=c.layer_types[l], head_dim=pc["D"][l], kv_heads=pc["K"][l], width=m.model.layers[l].mlp.intermediate_size, kv_of=l if l < first else max(k for k in range(first) if c.layer_types[k] == c.layer_types[l])) for l in range(L)],
        cases=cases, layers=layers, ablation_logit_diff=abl, embed_rel_noise_1e7_logit_diff=amp, layer_err_hf32_vs_f64=err)
    json.dump(j, open(f"{out}/golden/golden.json", "w"), indent=1)
    size = sum(os.path.getsize(f"{p}/{f}") for p, _, fs in os.walk(out) for f in fs)
    print(f"== gemma4-{name} params {sum(p.numel() for p in m.parameters())} bytes {size}")
    for k in cases: print("  ", k["name"], "std %.2f max %.2f err32 %.1e last-only %.1e margin %.3g ties %s uniq %d" % (k["logit_std"], k["logit_absmax"], k["hf32_vs_f64_maxabs"], k["last_token_only_maxabs"], k["greedy_min_margin"], k["near_ties"], k["unique_greedy"]))
    print("   rms by layer", [round(x.pow(2).mean().sqrt().item(), 2) for x in rec], "layer err max %.1e amp %.1e" % (max(err), amp))
    print("   ablations:", "  ".join(f"{k}={v['maxabs']:.2g}/{v['mean']:.2g}" for k, v in abl.items()), flush=True)
    return m, c

# ------------------------------------------------------------------ MTP drafter of gemma4-a
def draft(c, w, x, pos, kv, window):
    """One drafting pass for rows x [T, 2d] at positions pos [T] over the target's store caches kv {type: (k, v) [tokens, kv_head, D]}; row t sees cached tokens j < pos[t], in sliding layers the last `window` of them."""
    rms = lambda x, g: x * (x.pow(2).mean(-1, keepdim=True) + c["eps"]).pow(-0.5) * g
    h = F.linear(x, w["pre_projection.weight"]); H = c["H"]
    for l in range(c["L"]):
        g = {k[len(f"model.layers.{l}."):]: v for k, v in w.items() if k.startswith(f"model.layers.{l}.")}; t, D = c["types"][l], c["D"][l]; k, v = kv[t]
        f = pos[:, None].to(x.dtype) * frequencies(c, t, D)[0].to(x.dtype)[None]; cs, sn = f.cos()[:, None], f.sin()[:, None]
        q = rms(F.linear(rms(h, g["input_layernorm.weight"]), g["self_attn.q_proj.weight"]).view(-1, H, D), g["self_attn.q_norm.weight"]); a, b = q[..., :D // 2], q[..., D // 2:]
        q = torch.cat((a * cs - b * sn, b * cs + a * sn), -1); j = torch.arange(len(k)); rep = lambda z: z.repeat_interleave(H // z.shape[1], 1)
        ok = (j[None] < pos[:, None]) & ((j[None] >= pos[:, None] - window) if t == SLIDE else True)
        s = torch.einsum("qhd,khd->hqk", q, rep(k)).masked_fill(~ok, -math.inf).softmax(-1)
        h = h + rms(F.linear(torch.einsum("hqk,khd->qhd", s, rep(v)).flatten(1), g["self_attn.o_proj.weight"]), g["post_attention_layernorm.weight"])
        n = rms(h, g["pre_feedforward_layernorm.weight"]); n = F.linear(F.gelu(F.linear(n, g["mlp.gate_proj.weight"]), approximate="tanh") * F.linear(n, g["mlp.up_proj.weight"]), g["mlp.down_proj.weight"])
        h = (h + rms(n, g["post_feedforward_layernorm.weight"])) * g["layer_scalar"]
    z = rms(h, w["model.norm.weight"])
    return F.linear(z, w["model.embed_tokens.weight"]), F.linear(z, w["post_projection.weight"]), F.linear(z, w["masked_embedding.centroids.weight"])
def masked(logits, centroids, order, top):
    """The ordered-embedding head: only the tokens of the `top` best centroids, all others one below the smallest of these."""
    picked = order.view(centroids.shape[-1], -1)[centroids.topk(top, -1).indices].flatten(1); chosen = logits.gather(1, picked)
    return torch.full_like(logits, 0).add(chosen.min(-1, keepdim=True).values - 1.0).scatter(1, picked, chosen)
def assistant(m, c, root, steps=260, drafts=5):
    """The drafter is trained a little on the target's own greedy texts, so that some drafts are accepted and some are not."""
    out = f"{root}/gemma4-a-assistant"; shutil.rmtree(out, ignore_errors=True); os.makedirs(out + "/golden"); V, d, W = c.vocab_size, c.hidden_size, c.sliding_window
    tc = Gemma4TextConfig(vocab_size=V, vocab_size_per_layer_input=0, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=1, head_dim=16, global_head_dim=32, hidden_size_per_layer_input=0,
        num_kv_shared_layers=4, sliding_window=W, layer_types=[SLIDE] * 3 + [FULL], max_position_embeddings=1024, bos_token_id=2, eos_token_id=1, pad_token_id=0)
    ac = Gemma4AssistantConfig(text_config=tc, backbone_hidden_size=d, use_ordered_embeddings=True, num_centroids=32, centroid_intermediate_top_k=4); torch.manual_seed(7)
    a = Gemma4AssistantForCausalLM(ac).float().eval(); a.set_attn_implementation("eager"); g = torch.Generator().manual_seed(51); order = torch.randperm(V, generator=g); cluster = torch.empty(V, dtype=torch.long); cluster[order] = torch.arange(V) // (V // 32)
    w = {k: v.detach().clone() for k, v in a.state_dict().items() if k != "lm_head.weight"}; w["masked_embedding.token_ordering"] = order
    for k, v in w.items():
        if k.endswith("layer_scalar"): v.copy_(torch.rand(1, generator=g) * .6 + .7)
        elif k.endswith("model.norm.weight"): v.copy_(torch.rand(v.shape, generator=g) + 1.5)
        elif "norm" in k: v.copy_(torch.rand(v.shape, generator=g) * .8 + .4)
        elif v.is_floating_point(): v.copy_(torch.randn(v.shape, generator=g) * v.shape[-1] ** -0.5)
    pc = plain(tc); learn = {k: v.requires_grad_() for k, v in w.items() if v.is_floating_point() and not k.endswith("layer_scalar")}
    golden = json.load(open(f"{root}/gemma4-a/golden/golden.json"))["cases"]; E = m.model.embed_tokens
    def look(ids):                                                           # the target on a text without a cache: normed states, store caches, next tokens
        with torch.no_grad():
            o = m.model(input_ids=ids[None], use_cache=False, return_shared_kv_states=True); lg = m.lm_head(o.last_hidden_state)[0]
            return o.last_hidden_state[0], {t: (k[0].transpose(0, 1), v[0].transpose(0, 1)) for t, (k, v) in o.shared_kv_states.items()}, lg.argmax(-1)
    texts = [torch.tensor(k["ids"] + k["greedy"]) for k in golden]
    with torch.no_grad(): texts += [m.generate(torch.cat((torch.tensor([2]), torch.randint(3, V, (5,), generator=g)))[None], max_new_tokens=40, do_sample=False, eos_token_id=None, pad_token_id=0)[0] for _ in range(12)]
    data = [(t, *look(t)[:2]) for t in texts]; opt = torch.optim.Adam(learn.values(), lr=4e-3)
    for step in range(steps):
        t, y, kv = data[step % len(data)]; n = len(t); p = torch.arange(1, n - 3); state, loss = y[p - 1], 0
        for k in range(3):
            lg, state, ce = draft(pc, w, torch.cat((E(t[p + k]), state), -1), p, kv, W + 1); want = t[p + k + 1]
            loss = loss + F.cross_entropy(lg, want) + F.cross_entropy(ce, cluster[want])
        opt.zero_grad(); loss.backward(); opt.step()
        for q in opt.param_groups: q["lr"] = 4e-3 * (1 - step / steps)
    w = {k: v.detach() for k, v in w.items()}; a.load_state_dict({**w, "lm_head.weight": w["model.embed_tokens.weight"]}); a.tie_weights()
    j = cleaned(ac); j.update(architectures=["Gemma4AssistantForCausalLM"], dtype="float32"); j["text_config"].pop("per_layer_config"); j["text_config"].update(global_head_dim=32, num_global_key_value_heads=None, dtype="float32")
    json.dump(j, open(f"{out}/config.json", "w"), indent=1); save_tensors(out, {k: v.clone() for k, v in w.items()}, 1)
    a = Gemma4AssistantForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager").eval()
    w64 = {k: v.double() if v.is_floating_point() else v for k, v in w.items()}; cases, worst = [], 0.0
    def drafting(text, n, window=None):                                      # text ends with the pending token; window None: transformers' module itself
        y, kv, _ = look(text[:-1]); state, tok, rows = y[-1:], text[-1:], []
        for _ in range(n):
            x = torch.cat((E(tok), state), -1).detach(); pos = torch.tensor([len(text) - 1])
            if window is None:
                with torch.no_grad(): o = a(inputs_embeds=x[None], position_ids=pos[None], attention_mask=None, shared_kv_states={t: (k.transpose(0, 1)[None], v.transpose(0, 1)[None]) for t, (k, v) in kv.items()}, use_cache=False); lg, state = o.logits[0], o.last_hidden_state[0]
            else:
                full, state, ce = draft(pc, w64, x.double(), pos, {t: (k.double(), v.double()) for t, (k, v) in kv.items()}, window); lg, state = masked(full, ce, order, 4), state.float(); rows_full = full
            tok = lg.argmax(-1); rows.append((tok.item(), lg[0], state[0], None if window is None else rows_full[0]))
        return y[-1], kv, rows
    for k in golden:
        text = torch.tensor(k["ids"] + k["greedy"][:1]); y, kv, r = drafting(text, drafts); r64 = drafting(text, drafts, W + 1)[2]; lc = drafting(text, drafts, W - 1)[2]
        worst = max(worst, max((x[1].double() - z[1]).abs().max().item() for x, z in zip(r, r64))); assert [x[0] for x in r] == [x[0] for x in r64]
        nm = k["name"]; top = torch.stack([x[1] for x in r]).topk(2, -1).values
        rounds, at = [], 1
        truth = k["greedy"]
        while at < len(truth):
            dr = [x[0] for x in drafting(torch.tensor(k["ids"] + truth[:at]), min(drafts, len(truth) - at))[2]]; ok = next((i for i, (p, q) in enumerate(zip(dr, truth[at:])) if p != q), len(dr))
            rounds.append(dict(text_length=len(k["ids"]) + at, drafts=dr, accepted=ok)); at += ok + 1
        with torch.no_grad():
            a.generation_config.num_assistant_tokens = drafts
            assisted = m.generate(torch.tensor([k["ids"]]), assistant_model=a, max_new_tokens=32, do_sample=False, eos_token_id=None, pad_token_id=0)[0, len(k["ids"]):].tolist()
        case = dict(name=nm, ids=k["ids"], pending=k["greedy"][0], position=len(k["ids"]), target_state=dict(file=f"{nm}.y.f32", shape=raw(f"{out}/golden/{nm}.y.f32", y)),
            drafts=[x[0] for x in r], margins=[round(x, 5) for x in (top[:, 0] - top[:, 1]).tolist()], drafts_position_window=[x[0] for x in lc], drafts_full_head_first=r64[0][3].argmax().item(),
            logits=dict(file=f"{nm}.logits.f32", shape=raw(f"{out}/golden/{nm}.logits.f32", torch.stack([x[1] for x in r])), axes="draft,vocabulary (masked head)"),
            states=dict(file=f"{nm}.states.f32", shape=raw(f"{out}/golden/{nm}.states.f32", torch.stack([x[2] for x in r])), axes="draft,hidden of the target (after post_projection)"), rounds=rounds, transformers_assisted_equals_greedy=assisted == truth)
        for t, (kk, vv) in kv.items(): case["k_" + t] = dict(file=f"{nm}.k_{t[:4]}.f32", shape=raw(f"{out}/golden/{nm}.k_{t[:4]}.f32", kk)); case["v_" + t] = dict(file=f"{nm}.v_{t[:4]}.f32", shape=raw(f"{out}/golden/{nm}.v_{t[:4]}.f32", vv))
        cases.append(case)
    json.dump(dict(model="gemma4-a-assistant", target="gemma4-a", reference="transformers Gemma4AssistantForCausalLM fp32 CPU eager on caches of the accepted text alone", window_of_reference=W + 1, window_of_drafts_position_window=W - 1, drafts_a_round=drafts, hf32_vs_f64_maxabs=worst, cases=cases), open(f"{out}/golden/golden.json", "w"), indent=1)
    print("== gemma4-a-assistant params", sum(p.numel() for p in a.parameters()), "loss %.2f err %.1e" % (loss.item(), worst))
    for k in cases: print("  ", k["name"], k["drafts"], "position rule", k["drafts_position_window"], "margin %.3g" % min(k["margins"]), "accepted", [r["accepted"] for r in k["rounds"]], "same text", k["transformers_assisted_equals_greedy"])

def main(specs, root, names=None):
    for name in names or specs:
        m, c = build(name, specs[name], root)
        if name == "a" and specs is SPECS: assistant(m, c, root)
if __name__ == "__main__": main(SPECS, sys.argv[1] if len(sys.argv) > 1 else ROOT, sys.argv[2:])
