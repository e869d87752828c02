#!/usr/bin/env python3
"""Golden outputs for the tiny trained model: fp32 run of transformers with the stored bf16 weights upcast."""
import json, os, sys, torch, numpy as np
torch.set_num_threads(1)
D = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."); OUT = sys.argv[2] if len(sys.argv) > 2 else D + "/golden"; os.makedirs(OUT, exist_ok=True)
from transformers import AutoModelForCausalLM, AutoTokenizer
from tokenizers import Tokenizer
m = AutoModelForCausalLM.from_pretrained(D, dtype=torch.float32, attn_implementation="eager").eval(); print(type(m).__name__, m.config.model_type)
tk = AutoTokenizer.from_pretrained(D); raw = Tokenizer.from_file(D + "/tokenizer.json"); print(type(tk).__name__, len(tk))
EOT = raw.token_to_id("<end_of_turn>"); EOS = raw.token_to_id("<eos>")
P = [("plain", "First Citizen:\nBefore we"), ("plain", "ROMEO:\n"), ("plain", "KING RICHARD III:\nMy lord, "), ("plain", "The quick brown fox, caf\u00e9 42 \u2014 \U0001F600\n"),
     ("plain", "To be, or not to be: that is the question, and I have heard it said by many a noble lord that he who sleeps before the battle of the day shall never wake to see the crown upon the head of his own son; for so the fates decree, and so the heavens themselves have written in the stars above this island and these seas. What say you, my lord? "),
     ("chat", "Who are you?"), ("chat", "What news, my lord?"), ("chat", "Speak, speak!")]
cases = []
for i, (kind, text) in enumerate(P):
    if kind == "chat":
        s = tk.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)
        ids = raw.encode(s, add_special_tokens=False).ids
        e = tk.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False)
        assert list(e) == ids, (e, ids)
    else: s = text; ids = raw.encode(s).ids; assert tk(s)["input_ids"] == ids, (tk(s)["input_ids"], ids)
    x = torch.tensor([ids])
    with torch.no_grad():
        lg = m(input_ids=x, use_cache=False).logits[0]
        gen = m.generate(x, max_new_tokens=40, do_sample=False, eos_token_id=None, pad_token_id=0)[0, len(ids):].tolist()
        fl = m(input_ids=torch.tensor([ids + gen]), use_cache=False).logits[0]; st = fl[len(ids) - 1:-1]
    assert st.argmax(-1).tolist() == gen
    t2 = st.topk(2, -1).values; marg = (t2[:, 0] - t2[:, 1]).tolist()
    f = f"prompt{i}.logits.f32"; lg.numpy().astype("<f4").tofile(f"{OUT}/{f}")
    stop = next((k for k, t in enumerate(gen) if t in (EOT, EOS)), None)
    cases.append(dict(kind=kind, text=text, rendered=s, ids=ids, greedy=gen, greedy_text=raw.decode(gen, skip_special_tokens=False), stops_at=stop,
                      min_margin=min(marg), margins=[round(v, 5) for v in marg], logits=f, shape=list(lg.shape)))
    print(f"[{kind}] {text[-40:]!r} n={len(ids)} margin {min(marg):.4f} stop {stop}\n    -> {cases[-1]['greedy_text']!r}")
json.dump(dict(model="tiny-gemma3n", reference="transformers fp32 CPU eager, bf16 weights upcast, no eos stop, 40 new tokens", eos=[EOS, EOT], cases=cases),
          open(OUT + "/golden.json", "w"), indent=1, ensure_ascii=False)
torch.manual_seed(0)
for s in ("ROMEO:\n", "<start_of_turn>user\nWhere is the king?<end_of_turn>\n<start_of_turn>model\n"):
    x = torch.tensor([raw.encode(s).ids])
    with torch.no_grad(): g = m.generate(x, max_new_tokens=120, do_sample=True, temperature=0.8, top_k=40, eos_token_id=[EOS, EOT], pad_token_id=0)[0]
    print("--- sample T=0.8 top_k=40\n" + raw.decode(g.tolist(), skip_special_tokens=False))
