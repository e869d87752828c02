#!/usr/bin/env python3
"""Golden outputs for a Gemma 3n (text) engine.  Reference = transformers Gemma3nForCausalLM, CPU, fp32, eager attention,
weights rounded to the stored dtype first (bf16) and upcast.  Writes gemma3n-random-{a,b,c}/ (checkpoint + golden/) into the
directory given (default: the one above this script).
An independent float64 re-implementation (forward() below, with ablation switches) measures conditioning and ablations."""
import json, math, os, shutil, sys
import numpy as np, torch
import torch.nn.functional as F
torch.set_num_threads(1)
from safetensors.torch import save_file
from transformers import Gemma3nForCausalLM, Gemma3nTextConfig
ROOT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
L = 30
ASP = [0.95] * 10 + [0.0] * 20

# ------------------------------------------------------------------ reference with ablation switches
def forward(c, sd, ids, ab=(), dt=torch.float64):
    w = {k[6:] if k.startswith("model.") else k: v.to(dt) for k, v in sd.items()}
    eps = c.rms_norm_eps; d, P, H, KV, D = c.hidden_size, c.hidden_size_per_layer_input, c.num_attention_heads, c.num_key_value_heads, c.head_dim
    def rms(x, g=None, n=None):
        if n in ab: return x
        y = x * (x.pow(2).mean(-1, keepdim=True) + eps).pow(-0.5); return y if g is None else y * (1 + g if "one_plus_w" in ab else g)
    gelu = (lambda x: F.gelu(x)) if "gelu_erf" in ab else (lambda x: F.gelu(x, approximate="tanh"))
    T = ids.shape[-1]; ids = ids.view(-1)
    e = F.embedding(ids, w["embed_tokens.weight"]) * (float(torch.tensor(d ** 0.5).bfloat16()) if "embed_scale_bf16" in ab else 1.0 if "no_embed_scale" in ab else d ** 0.5)
    pid = torch.where(ids < c.vocab_size_per_layer_input, ids, torch.tensor(c.vocab_size_per_layer_input - 1 if "ple_oov_last" in ab else 0))
    tokp = (F.embedding(pid, w["embed_tokens_per_layer.weight"]) * (1.0 if "no_ple_scale" in ab else P ** 0.5)).view(T, L, P)
    ctx = rms((F.linear(e, w["per_layer_model_projection.weight"]) * d ** -0.5).view(T, L, P), w["per_layer_projection_norm.weight"])
    if "no_ple_token" in ab: tokp = tokp * 0
    if "no_ple_ctx" in ab: ctx = ctx * 0
    pli = (ctx + tokp) * (1.0 if "no_ple_rsqrt2" in ab else 2 ** -0.5)
    def renorm(y, ref):
        if "no_renorm" in ab: return y
        return y * ref.pow(2).mean(-1, keepdim=True).sqrt() / y.pow(2).mean(-1, keepdim=True).clamp(min=1e-5).sqrt()
    h = torch.stack([e] + [renorm(F.linear(e, w[f"altup_projections.{i}.weight"]), e) for i in range(3)])
    h0 = h.clone()
    i = torch.arange(T); causal = i[None] <= i[:, None]; W = c.sliding_window + (1 if "window_plus1" in ab else 0)
    swa = causal if "no_sliding" in ab else causal & (i[None] > i[:, None] - W)
    def rope(x, t):
        th = c.rope_parameters[t]["rope_theta"] if "rope_swap" not in ab else c.rope_parameters[{"full_attention": "sliding_attention", "sliding_attention": "full_attention"}[t]]["rope_theta"]
        f = i[:, None].to(dt) / (th ** (torch.arange(0, D, 2).to(dt) / D)); cs, sn = f.cos()[:, None], f.sin()[:, None]
        if "rope_interleaved" in ab:
            x1, x2 = x[..., ::2], x[..., 1::2]; return torch.stack((x1 * cs - x2 * sn, x2 * cs + x1 * sn), -1).flatten(-2)
        x1, x2 = x[..., :D // 2], x[..., D // 2:]
        return torch.cat((x1 * cs - x2 * sn, x2 * cs + x1 * sn), -1)
    fs = L - c.num_kv_shared_layers; store, states, frac = {}, [], []
    for li in range(L):
        g = {k[len(f"layers.{li}."):]: v for k, v in w.items() if k.startswith(f"layers.{li}.")}; t = c.layer_types[li]
        def router(x):
            r = x if "no_router_norm" in ab else rms(x, g["altup.router_norm.weight"])
            r = F.linear(r / (1.0 if "no_router_scale" in ab else d), g["altup.modality_router.weight"])
            return r if "no_router_tanh" in ab else r.tanh()
        cp = F.linear(router(h[0]), g["altup.prediction_coefs.weight"]).view(T, 4, 4)      # [t,out,in]
        if "predict_transposed" in ab: cp = cp.transpose(1, 2)
        p = h if "no_predict" in ab else h + torch.einsum("toi,itd->otd", cp, h)
        x = rms(p[0], g["input_layernorm.weight"])
        lr = rms(F.linear(F.linear(x, g["laurel.linear_left.weight"]), g["laurel.linear_right.weight"]), g["laurel.post_laurel_norm.weight"])
        la = x + (0 if "no_laurel_lowrank" in ab else lr)
        if "no_laurel" in ab: la = la * 0
        if "laurel_resid_unnormed" in ab: la = p[0] + lr
        q = F.linear(x, g["self_attn.q_proj.weight"]).view(T, H, D); q = rope(rms(q, g["self_attn.q_norm.weight"], "no_q_norm"), t)
        share = li >= fs
        if "no_kv_sharing" in ab and share and "self_attn.k_proj.weight" in g: share = False
        if share: k, v = store[t if "kv_share_wrong_type" not in ab else {"full_attention": "sliding_attention", "sliding_attention": "full_attention"}[t]]
        else:
            k = rope(rms(F.linear(x, g["self_attn.k_proj.weight"]).view(T, KV, D), g["self_attn.k_norm.weight"], "no_k_norm"), t)
            v = rms(F.linear(x, g["self_attn.v_proj.weight"]).view(T, KV, D), None, "no_v_norm")
            if li < fs and not ("kv_share_first" in ab and t in store): store[t] = (k, v)
        rep = (lambda z: z.repeat(1, H // KV, 1)) if "gqa_tiled" in ab else (lambda z: z.repeat_interleave(H // KV, 1))
        s = torch.einsum("qhd,khd->hqk", q, rep(k)) * (D ** -0.5 if "attn_scale" in ab else 1.0)
        s = s.masked_fill(~(causal if t == "full_attention" else swa), -math.inf).softmax(-1)
        a = F.linear(torch.einsum("hqk,khd->qhd", s, rep(v)).reshape(T, H * D), g["self_attn.o_proj.weight"])
        al = (p[0] + rms(a, g["post_attention_layernorm.weight"]) + la) / (1.0 if "no_sqrt2" in ab else math.sqrt(2))
        n = rms(al, g["pre_feedforward_layernorm.weight"]); gt = F.linear(n, g["mlp.gate_proj.weight"]); sp = c.activation_sparsity_pattern[li]
        if sp > 0 and "no_sparsity" not in ab:
            z = float(torch.distributions.Normal(0., 1.).icdf(torch.tensor(sp)))
            gt = F.relu(gt - (gt.mean(-1, keepdim=True) + gt.std(-1, keepdim=True, unbiased="std_unbiased" in ab) * z)); frac.append((gt > 0).float().mean().item())
        act = al + rms(F.linear(gelu(gt) * F.linear(n, g["mlp.up_proj.weight"]), g["mlp.down_proj.weight"]), g["post_feedforward_layernorm.weight"])
        cc = torch.ones(T, 4, dtype=dt) if "no_correct_coefs" in ab else F.linear(router(act), g["altup.correction_coefs.weight"]) + (0.0 if "no_correct_plus1" in ab else 1.0)
        if "no_correct" in ab: o = p.clone(); o[0] = act
        else: o = p + (act - p[0])[None] * cc.T[..., None]
        y = o[0] * (1.0 if "no_correct_scale" in ab else g["altup.correct_output_scale"])
        y = rms(F.linear(gelu(F.linear(y, g["per_layer_input_gate.weight"])) * pli[:, li], g["per_layer_projection.weight"]), g["post_per_layer_input_norm.weight"])
        if "no_ple" in ab: y = y * 0
        o = o.clone(); o[(0 if "ple_on_all_streams" in ab else 1):] += y; h = o; states.append(h)
    y = h[0] if "no_unembed" in ab else (h[0] + sum(renorm(F.linear(h[i + 1], w[f"altup_unembed_projections.{i}.weight"]), h[0]) for i in range(3))) / (1 if "no_mean4" in ab else 4)
    x = rms(y, w["norm.weight"], "no_final_norm"); lg = F.linear(x, w["embed_tokens.weight"])
    cap = c.final_logit_softcapping
    if "no_softcap" not in ab: lg = cap * torch.tanh(lg / cap)
    return lg, h0, states, x, frac
ABL = ["no_laurel", "no_laurel_lowrank", "laurel_resid_unnormed", "no_predict", "predict_transposed", "no_correct", "no_correct_coefs", "no_correct_plus1",
  "no_correct_scale", "no_router_norm", "no_router_scale", "no_router_tanh", "no_ple", "no_ple_token", "no_ple_ctx", "no_ple_scale", "no_ple_rsqrt2",
  "ple_on_all_streams", "ple_oov_last", "no_sparsity", "std_unbiased", "no_kv_sharing", "kv_share_wrong_type", "kv_share_first", "no_softcap", "no_sliding", "window_plus1",
  "rope_swap", "rope_interleaved", "gqa_tiled", "attn_scale", "no_q_norm", "no_k_norm", "no_v_norm", "one_plus_w", "gelu_erf", "no_sqrt2", "no_embed_scale",
  "embed_scale_bf16", "no_renorm", "no_unembed", "no_mean4", "no_final_norm"]

# ------------------------------------------------------------------ random checkpoints
SPECS = {
  "a": dict(vocab=512, plev=480, hidden=64, inter=96, heads=4, kv=2, hd=16, ple=8, lr=8, win=8, dtype="float32", layout="flat", seed=11,
            lens=[1, 2, 7, 8, 9, 24, 61]),
  "b": dict(vocab=1024, plev=960, hidden=96, inter=[96 + 32 * (i % 3) for i in range(L)], heads=4, kv=2, hd=32, ple=16, lr=16, win=12, dtype="bfloat16", layout="flat", seed=22,
            lens=[1, 5, 12, 13, 64]),
  "c": dict(vocab=1280, plev=1152, hidden=128, inter=160, heads=4, kv=2, hd=32, ple=16, lr=16, win=16, dtype="bfloat16", layout="nested", seed=33,
            lens=[1, 16, 17, 90]),
}
def make_cfg(s):
    return Gemma3nTextConfig(vocab_size=s["vocab"], vocab_size_per_layer_input=s["plev"], hidden_size=s["hidden"], intermediate_size=s["inter"], num_hidden_layers=L,
        num_attention_heads=s["heads"], num_key_value_heads=s["kv"], head_dim=s["hd"], hidden_size_per_layer_input=s["ple"], laurel_rank=s["lr"], sliding_window=s["win"],
        num_kv_shared_layers=10, activation_sparsity_pattern=ASP, max_position_embeddings=1024, final_logit_softcapping=30.0, rope_theta=1e6, rope_local_base_freq=1e4,
        bos_token_id=2, eos_token_id=1, pad_token_id=0, attn_implementation="eager")
def rand_init(m, s):
    g = torch.Generator().manual_seed(s["seed"]); N = lambda p, sd: p.copy_(torch.randn(p.shape, generator=g) * sd); U = lambda p, a, b: p.copy_(torch.rand(p.shape, generator=g) * (b - a) + a)
    with torch.no_grad():
        for n, p in m.named_parameters():
            if n == "lm_head.weight": continue
            if n == "model.norm.weight": U(p, 2.0, 6.0)                      # final norm: large, so the softcap bites
            elif any(f"layers.{k}." in n for k in (26, 27, 28, 29)) and n.split(".")[-2] in ("post_laurel_norm", "post_attention_layernorm", "post_feedforward_layernorm"):
                U(p, 0.6, 1.8)                                                # last layers strong: greedy text does not just echo the input token
            elif "post_laurel_norm" in n: U(p, 0.05, 0.2)
            elif "post_attention_layernorm" in n or "post_feedforward_layernorm" in n: U(p, 0.05, 0.25)
            elif "post_per_layer_input_norm" in n: U(p, 0.05, 0.2)
            elif "q_norm" in n or "k_norm" in n: U(p, 0.4, 0.8)
            elif "norm" in n: U(p, 0.5, 1.5)
            elif "correct_output_scale" in n: U(p, 0.5, 1.5)
            elif "prediction_coefs" in n or "correction_coefs" in n: N(p, 0.08)
            elif "modality_router" in n: N(p, 4.0 * s["hidden"] ** 0.5 / 4)    # router input is x/hidden
            elif "embed_tokens_per_layer" in n: N(p, s["ple"] ** -0.5)
            elif "embed_tokens" in n: N(p, s["hidden"] ** -0.5)
            elif "altup_projections" in n or "altup_unembed" in n: N(p, 0.7 * s["hidden"] ** -0.5)
            elif p.dim() == 2: N(p, p.shape[1] ** -0.5)
            else: raise RuntimeError(n)
            p.copy_(p.to(getattr(torch, s["dtype"])).float())               # exactly representable in the stored dtype
        m.tie_weights()
    return g
def raw(path, t):
    a = t.detach().float().contiguous().numpy().astype("<f4"); a.tofile(path); return list(a.shape)

def save_ckpt(m, c, s, g, out):
    dt = getattr(torch, s["dtype"]); sd = {k: v.detach().to(dt).contiguous().clone() for k, v in m.state_dict().items() if k != "lm_head.weight"}
    full_cfg = c.to_dict(); full_cfg = {k: v for k, v in full_cfg.items() if not k.startswith("_")}
    extra = {}
    rope_legacy = {"rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "rope_scaling": None}   # field names in the published 2025 config.json
    if s["layout"] == "flat":
        full_cfg.update(architectures=["Gemma3nForCausalLM"], model_type="gemma3n_text", dtype=s["dtype"])
        if s["seed"] == 22: full_cfg.pop("rope_parameters"); full_cfg.update(rope_legacy)            # b: legacy rope fields
        json.dump(full_cfg, open(f"{out}/config.json", "w"), indent=1)
        save_file(sd, f"{out}/model.safetensors", metadata={"format": "pt"}); return sd, extra
    # nested: model.language_model.*, with the unused k/v tensors of shared layers and some non-text tensors present, 3 shards
    sd = {k.replace("model.", "model.language_model.", 1): v for k, v in sd.items()}
    H, KV, D = s["heads"], s["kv"], s["hd"]
    R = lambda *sh: (torch.randn(*sh, generator=g) * (sh[-1] ** -0.5)).to(dt)
    for li in range(L - 10, L):
        p = f"model.language_model.layers.{li}.self_attn."
        extra[p + "k_proj.weight"], extra[p + "v_proj.weight"], extra[p + "k_norm.weight"] = R(KV * D, s["hidden"]), R(KV * D, s["hidden"]), (torch.rand(D, generator=g) + .5).to(dt)
    non = {"model.vision_tower.timm_model.conv_stem.conv.weight": R(8, 3, 3, 3), "model.audio_tower.subsample_conv_projection.conv_0.conv.weight": R(4, 1, 3, 3),
           "model.embed_vision.embedding.weight": R(8, 16), "model.embed_audio.embedding.weight": R(8, 16)}
    allt = {**sd, **extra, **non}; names = sorted(allt); wm, size = {}, 0
    ns = 3; cuts = np.array_split(np.array(names, dtype=object), ns)
    for i, cut in enumerate(cuts):
        fn = f"model-{i+1:05d}-of-{ns:05d}.safetensors"; save_file({k: allt[k] for k in cut}, f"{out}/{fn}", metadata={"format": "pt"})
        for k in cut: wm[k] = fn; size += allt[k].numel() * allt[k].element_size()
    json.dump({"metadata": {"total_size": size}, "weight_map": wm}, open(f"{out}/model.safetensors.index.json", "w"), indent=1)
    tc = dict(full_cfg); tc.pop("rope_parameters"); tc.pop("architectures", None); tc.update(rope_legacy, model_type="gemma3n_text", torch_dtype=s["dtype"]); tc.pop("dtype", None)
    json.dump({"architectures": ["Gemma3nForConditionalGeneration"], "model_type": "gemma3n", "torch_dtype": s["dtype"], "audio_soft_tokens_per_image": 188, "audio_token_id": 1279,
               "boa_token_id": 1200, "boi_token_id": 1201, "eoa_token_id": 1202, "eoi_token_id": 1203, "eos_token_id": [1, 106], "image_token_id": 1204, "initializer_range": 0.02,
               "vision_soft_tokens_per_image": 256, "text_config": tc,
               "vision_config": {"model_type": "gemma3n_vision", "hidden_size": 2048, "architecture": "mobilenetv5_300m_enc", "vocab_offset": 1216, "vocab_size": 32},
               "audio_config": {"model_type": "gemma3n_audio", "hidden_size": 1536, "vocab_offset": 1248, "vocab_size": 32}}, open(f"{out}/config.json", "w"), indent=1)
    return sd, extra

def main():
    report = {}
    for name, s in SPECS.items():
        out = f"{ROOT}/gemma3n-random-{name}"; shutil.rmtree(out, ignore_errors=True); os.makedirs(out + "/golden")
        c = make_cfg(s); m = Gemma3nForCausalLM(c).float().eval(); g = rand_init(m, s); _, extra = save_ckpt(m, c, s, g, out)
        full = {**m.state_dict(), **{k.replace("model.language_model.", "model."): v for k, v in extra.items()}}
        ig = torch.Generator().manual_seed(s["seed"] + 1); cases = []
        with torch.no_grad():
            for T in s["lens"]:
                ids = torch.randint(3, s["vocab"], (1, T), generator=ig); ids[0, 0] = 2
                if T >= 5: ids[0, 2] = s["vocab"] - 1; ids[0, 4] = s["plev"]        # ids beyond the per-layer table -> row 0
                lg = m(input_ids=ids, use_cache=False).logits[0]
                gen = m.generate(ids, max_new_tokens=32, do_sample=False, eos_token_id=None, pad_token_id=0)[0]
                fl = m(input_ids=gen[None], use_cache=False).logits[0]; cont = gen[T:].tolist()
                assert fl[T - 1:-1].argmax(-1).tolist() == cont, "cache vs no-cache greedy differ"
                top = fl[T - 1:-1].topk(2, -1).values; marg = (top[:, 0] - top[:, 1])
                ref, *_ = forward(c, m.state_dict(), ids)
                f = f"len{T}.logits.f32"; sh = raw(f"{out}/golden/{f}", lg)
                cases.append(dict(name=f"len{T}", ids=ids[0].tolist(), logits=f, shape=sh, greedy=cont, greedy_min_margin=marg.min().item(), greedy_margins=[round(x, 5) for x in marg.tolist()],
                                  logit_std=lg.std().item(), logit_absmax=lg.abs().max().item(), hf32_vs_f64_maxabs=(lg.double() - ref).abs().max().item(),
                                  argmax=lg.argmax(-1).tolist(), unique_greedy=len(set(cont))))
            # layer dumps for one short input
            T = 6; ids = torch.randint(3, s["vocab"], (1, T), generator=ig); ids[0, 0] = 2; rec, pre = [], []
            hk = [l.register_forward_hook(lambda mod, i, o: rec.append(o[:, 0].clone())) for l in m.model.layers]
            hk.append(m.model.layers[0].register_forward_pre_hook(lambda mod, i: pre.append((i[0][:, 0].clone()))))
            o = m.model(input_ids=ids, use_cache=False); lg = m(input_ids=ids, use_cache=False).logits[0]; rec = rec[:L]
            for h in hk: h.remove()
            pl = m.model.project_per_layer_inputs(m.model.embed_tokens(ids), m.model.get_per_layer_inputs(ids))[0]
            _, h0, st, x, frac = forward(c, m.state_dict(), ids)
            err = [(a.double() - b).abs().max().item() for a, b in zip(rec, st)]
            layers = dict(ids=ids[0].tolist(), input_streams=dict(file="layers.input.f32", shape=raw(f"{out}/golden/layers.input.f32", pre[0])),
                after_each_layer=dict(file="layers.hidden.f32", shape=raw(f"{out}/golden/layers.hidden.f32", torch.stack(rec)), axes="layer,stream,token,hidden"),
                per_layer_inputs=dict(file="layers.pli.f32", shape=raw(f"{out}/golden/layers.pli.f32", pl), axes="token,layer,dim"),
                final_normed=dict(file="layers.final.f32", shape=raw(f"{out}/golden/layers.final.f32", o.last_hidden_state[0])),
                logits=dict(file="layers.logits.f32", shape=raw(f"{out}/golden/layers.logits.f32", lg)))
            # ablations on the second longest input (beyond the window) in float64
            T = s["lens"][-1]; ids = torch.tensor(cases[-1]["ids"]); base, *_ , frac = forward(c, full, ids); abl = {}
            for ab in ABL:
                if ab == "no_kv_sharing" and not extra: continue
                dlt = (forward(c, full, ids, {ab})[0] - base).abs(); abl[ab] = dict(maxabs=dlt.max().item(), mean=dlt.mean().item())
            pert = {k: v for k, v in full.items()}; e = pert["model.embed_tokens.weight"].double(); nz = torch.Generator().manual_seed(5)
            pert["model.embed_tokens.weight"] = e * (1 + 1e-7 * torch.randn(e.shape, generator=nz).double()); amp = (forward(c, pert, ids)[0] - base).abs().max().item()
        j = dict(model=f"gemma3n-random-{name}", reference="transformers Gemma3nForCausalLM fp32 CPU eager, weights exactly those stored", torch=torch.__version__, cases=cases, layers=layers,
                 ablation_logit_diff=abl, sparsity_kept_fraction=frac, embed_rel_noise_1e7_logit_diff=amp, layer_err_hf32_vs_f64=err)
        json.dump(j, open(f"{out}/golden/golden.json", "w"), indent=1)
        print(f"== gemma3n-random-{name} params {sum(p.numel() for p in m.parameters())}")
        for k in cases: print("  ", k["name"], "std %.2f max %.2f err32 %.1e margin %.3g uniq %d" % (k["logit_std"], k["logit_absmax"], k["hf32_vs_f64_maxabs"], k["greedy_min_margin"], k["unique_greedy"]))
        print("   stream rms first/last", [round(x.pow(2).mean().sqrt().item(), 2) for x in rec[0]], [round(x.pow(2).mean().sqrt().item(), 2) for x in rec[-1]], "layer err max %.1e amp %.1e kept %.3f" % (max(err), amp, sum(frac) / len(frac)))
        print("   ablations:", "  ".join(f"{k}={v['maxabs']:.2g}/{v['mean']:.2g}" for k, v in abl.items()), flush=True)
if __name__ == "__main__": main()
