"""Losses of the tiny model, its f32 error against float64, and how much each term of the model matters to it."""
import sys, json, torch, numpy as np; torch.set_num_threads(1)
from gen_oracle import forward, ABL
from transformers import Gemma3nForCausalLM
from tokenizers import Tokenizer
D = sys.argv[1]; m = Gemma3nForCausalLM.from_pretrained(D, dtype=torch.float32, attn_implementation="eager").eval(); tok = Tokenizer.from_file(D + "/tokenizer.json")
t = open("shakespeare.txt").read(); ps = [p for p in t.split("\n\n") if p.strip()]; va = "\n\n".join(ps[int(len(ps) * .97):]); tr = "\n\n".join(ps[2000:2120])
F = torch.nn.functional
with torch.no_grad():
    for n, s in (("val", va), ("train", tr)):
        ids = tok.encode(s, add_special_tokens=False).ids; k = len(ids) // 128; x = torch.tensor(ids[:k * 128]).view(k, 128); x = torch.cat([torch.full((k, 1), 2), x], 1)
        ls = [F.cross_entropy(m(input_ids=b[:, :-1], use_cache=False).logits.reshape(-1, 1024), b[:, 1:].reshape(-1), reduction="sum").item() for b in x.split(16)]
        nt = sum(ls) / (k * 128); print(n, "tokens", k * 128, "nats/token %.3f" % nt, "nats/char %.3f" % (nt * len(ids) / len(s)))
    g = json.load(open(D + "/golden/golden.json")); c = g["cases"][4]; ids = torch.tensor(c["ids"] + c["greedy"]); sd = m.state_dict()
    base = forward(m.config, sd, ids)[0]; lg = m(input_ids=ids[None]).logits[0]; print("T", len(ids), "fp32 vs f64 max", (lg.double() - base).abs().max().item(), "logit std", base.std().item())
    r = {}
    for ab in ABL:
        if ab in ("no_kv_sharing", "ple_oov_last"): continue
        d = forward(m.config, sd, ids, {ab})[0]; r[ab] = ((d - base).abs().max().item(), F.cross_entropy(d[:-1], ids[1:]).item() - F.cross_entropy(base[:-1], ids[1:]).item())
    print("ablations (max dlogit / dNLL):", "  ".join(f"{k}={a:.2g}/{b:+.2f}" for k, (a, b) in r.items()))
