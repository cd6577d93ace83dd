"""Teaches a text encoder which words belong together: at the noun of each thing it must tell the thing's colour, shape,
size, motion and place in the picture.

Flow matching alone leaves small encoders with a bag of words for a long time: pictures then have the right colours and
shapes on the wrong things. The ground truth of the renderer says what each noun means, so it is asked for, first by
itself and then beside the flow. The heads are thrown away afterwards.
"""

import random

import torch
import torch.nn.functional as F

import models
import tabletop

PLACES = 12  # bins of each axis
NOUNS = (*tabletop.SHAPES, "ball", "block", "ring")
MOTIONS = ("still", "left", "right", "near", "far", "bounce", "rise", "fall", "orbit", "spin")
HEADS = {"colour": len(tabletop.COLOURS), "shape": len(tabletop.SHAPES), "size": len(tabletop.SIZES),
         "motion": len(MOTIONS), "x": PLACES, "y": PLACES}


def mentioned(truth, caption):
    """A scene's things in the order its caption names them."""
    things = truth["things"]
    return [things[1], things[0], things[2]] if " between " in caption else things


def place(value):
    return min(PLACES - 1, max(0, int(value * PLACES)))


class Grounding(torch.nn.Module):
    def __init__(self, tokenizer, width):
        super().__init__()
        ids = [tokenizer(noun, add_special_tokens=False).input_ids for noun in NOUNS]
        assert all(len(word) == 1 for word in ids), f"nouns of several tokens: {ids}"
        self.register_buffer("nouns", torch.tensor([word[0] for word in ids]))
        self.heads = torch.nn.ModuleDict({name: torch.nn.Linear(width, count) for name, count in HEADS.items()})

    def forward(self, states, ids, truths, captions):
        """Mean cross-entropy, and the share of nouns whose colour and shape are both told right."""
        things = [thing for truth, caption in zip(truths, captions) if caption for thing in mentioned(truth, caption)]
        rows, columns = torch.isin(ids, self.nouns).nonzero(as_tuple=True)
        assert len(rows) == len(things), f"{len(rows)} nouns for {len(things)} things"
        index = lambda name, names: [names.index(thing[name]) for thing in things]
        centres = [thing.get("centre") for thing in things]  # none if hidden
        labels = {"colour": index("colour", list(tabletop.COLOURS)), "shape": index("shape", tabletop.SHAPES),
                  "size": index("size", list(tabletop.SIZES)), "motion": index("motion", MOTIONS),
                  "x": [-100 if c is None else place(c[0]) for c in centres],
                  "y": [-100 if c is None else place(c[1]) for c in centres]}
        found, loss, right = states[rows, columns].float(), 0, True
        for name, head in self.heads.items():
            logits, label = head(found), torch.tensor(labels[name], device=states.device)
            loss = loss + F.cross_entropy(logits, label)
            if name in ("colour", "shape"):
                right = (logits.argmax(1) == label) & right
        return loss / len(HEADS), right.float().mean().item()


def pretrain(text, tokenizer, grounding, truths, steps, device, batch=64, lr=2e-3):
    """The encoder by itself, on captions alone."""
    rng = random.Random("grounding")
    # Relative positions are few and begin near zero: at the others' rate they would take thousands of steps.
    places = [p for name, p in text.named_parameters() if "relative" in name]
    rest = [p for name, p in text.named_parameters() if "relative" not in name] + list(grounding.parameters())
    optimizer = torch.optim.AdamW(
        [{"params": rest, "share": 1}, {"params": places, "share": 30}], lr, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(steps):
        models.wait_while_paused()
        picked = [rng.choice(truths) for _ in range(batch)]
        captions = [tabletop.describe(truth, rng) for truth in picked]
        ids, mask = models.tokenize(tokenizer, captions, device)
        states = text(input_ids=ids, attention_mask=mask).last_hidden_state
        loss, right = grounding(states, ids, picked, captions)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*text.parameters(), *grounding.parameters()], 1.0)
        for group in optimizer.param_groups:
            group["lr"] = lr * group["share"] * min(1.0, (step + 1) / 100) * (1 - step / steps)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 100 == 0:
            print(f"grounding step {step + 1} loss {loss.item():.4f} colour and shape {right:.3f}", flush=True)
