"""Plain sentences on what holds over seeds and what does not, made from the numbers alone."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from unroll.reproduction.published import CINEMA_R2, REFERENCES, SINE_SECONDS, TREND_EPOCHS
from unroll.reproduction.runs import Run, Spread, spread, wins

Groups = Mapping[str, Sequence[Run]]
"""Runs by experiment, one a seed."""

TRIO = ("rnn", "lstm", "gru")
FITS = 0.99  # test R2 from which a clean sine counts as fitted
SURE = 0.9  # share of draws from which an order is one that a single seed would show
LEAVES = 0.1  # RMSE from which a free run has left the sine: a tenth of its amplitude
MODELS = ("gru", "lstm", "rnn")  # the published order on cinema sales, best first


def verdicts(groups: Groups) -> list[str]:
    """One paragraph a claim, for the experiments that were run. What was changed is no judge of what was published."""
    published = {name: runs for name, runs in groups.items() if runs and not runs[0].changed}
    found = [judge(published) for judge in (_cinema_order, _cinema_figures, _trend, _sine, _sine_seconds)]
    found += [_in_sample(groups), _linear(groups)]
    return [text for text in found if text]


def number(value: float | None) -> str:
    """Four significant digits; more close below 1, where an R2 differs in nothing else."""
    if value is None:
        return "n/a"
    if 0.999 < value < 1:
        return f"{value:.6f}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"


def plus_minus(found: Spread) -> str:
    """Mean, standard deviation and range."""
    if found.deviation is None:
        return f"{number(found.mean)} (one seed)"
    deviation = f"{found.deviation:,.0f}" if 1e3 <= found.deviation < 1e7 else f"{found.deviation:.2g}"
    return f"{number(found.mean)} ± {deviation} ({number(found.lowest)} to {number(found.highest)})"


def larger_than_spread(one: Spread, other: Spread) -> bool | None:
    """Whether the difference of two means exceeds the standard deviation between seeds, pooled; None for one seed."""
    if one.deviation is None or other.deviation is None:
        return None
    return abs(one.mean - other.mean) > pooled(one, other)


def pooled(one: Spread, other: Spread) -> float:
    """The standard deviation between seeds of two models together."""
    return float(np.sqrt(((one.deviation or 0.0) ** 2 + (other.deviation or 0.0) ** 2) / 2))


def share_of_draws(spreads: Sequence[Spread]) -> float:
    """How often one seed of each, drawn at random, has the order given: strictly falling values."""
    falling = np.ones(len(spreads[0].values))  # for each value, how many falling draws end in it
    for before, after in itertools.pairwise(spreads):
        falling = falling @ (before.values[:, None] > after.values[None, :])
    return float(falling.sum() / np.prod([len(found.values) for found in spreads], dtype=float))


def _cinema_order(groups: Groups) -> str:
    found = [spread(groups.get(f"cinema_{model}", ()), lambda run: run.score("test", "r2")) for model in MODELS]
    spreads = [one for one in found if one]
    if len(spreads) < len(MODELS):
        return ""
    published = " > ".join(f"{model.upper()} {CINEMA_R2[model]}" for model in MODELS)
    ours = ", ".join(f"{model.upper()} {plus_minus(one)}" for model, one in zip(MODELS, spreads, strict=True))
    parts, holds = [], True
    for (better, one), (worse, other) in itertools.pairwise(zip(MODELS, spreads, strict=True)):
        large = larger_than_spread(one, other)
        if large is None:
            return (
                f"**{published} in test R2 on cinema sales: cannot be said from one seed.** Ours: {ours}. Ask for "
                "more: `--seeds 5`."
            )
        difference = one.mean - other.mean
        holds = holds and large and difference > 0
        word = "larger" if large else "not larger"
        parts.append(
            f"{better.upper()} - {worse.upper()} is {difference:+.3f}, {word} than the spread between seeds "
            f"({pooled(one, other):.3f})"
        )
    share = share_of_draws(spreads)
    seeds = " and ".join(sorted({f"{len(one.values)}" for one in spreads}, key=int))
    verdict = f"does not hold over our {seeds} seeds"
    if holds:
        verdict = f"holds in the mean of our {seeds} seeds" + ("" if share >= SURE else ", not from seed to seed")
    return (
        f"**{published} in test R2 on cinema sales: {verdict}.** Ours: {ours}. {'; '.join(parts)}. One seed of each, "
        f"drawn at random, shows the published order in {share:.0%} of the draws."
    )


def _cinema_figures(groups: Groups) -> str:
    runs = [run for model in MODELS for run in groups.get(f"cinema_{model}", ())]
    if not runs:
        return ""
    if runs[0].metrics["kind"] != "real":
        return (
            "**The cinema figures are not comparable one by one**: the tutorial read a file that this repository does "
            "not hold, and without `data.path` ours are of simulated sales. `data.path=FILE` runs them on real ones."
        )
    windows = runs[0].metrics["windows"]
    reached = []
    for model in MODELS:
        scores = [run.score("test", "r2") or 0.0 for run in groups.get(f"cinema_{model}", ())]
        if scores:
            count = sum(score >= CINEMA_R2[model] for score in scores)
            reached.append(f"{count} of {len(scores)} {model.upper()}s reach {CINEMA_R2[model]}")
    return (
        f"**The published R2 on cinema sales: {', '.join(reached)}.** These runs are of the file given "
        f"({windows['train']} training and {windows['test']} test windows); the tutorial's had 222 days (181 and 32 "
        "windows), so numbers may differ by data alone."
    )


def _trend(groups: Groups) -> str:
    claims, runs = REFERENCES["trend_gru"].claims, groups.get("trend_gru", ())
    found = [(claim.value, spread(runs, claim.ours)) for claim in claims]
    reached = [(value, ours) for value, ours in found if ours and value is not None]
    if not reached:
        return ""
    if len(runs) == 1:
        value, ours = reached[-1]
        epoch = TREND_EPOCHS[len(reached) - 1]
        compared = f"at epoch {epoch} published {value}, ours {number(ours.mean)}"
        return f"**The loss of the trend experiment cannot be judged from one seed:** {compared}."
    places = ["below" if value < ours.lowest else "above" if value > ours.highest else "" for value, ours in reached]
    missed = []
    for place in ("below", "above"):
        epochs = [str(epoch) for epoch, other in zip(TREND_EPOCHS, places, strict=False) if other == place]
        missed += [f"{place} all of ours at {', '.join(epochs)}"] if epochs else []
    outside = f"; the published loss is {' and '.join(missed)}" if missed else ""
    value, ours = reached[-1]
    epoch = TREND_EPOCHS[len(reached) - 1]
    data, windows = runs[0].config["data"], runs[0].metrics["windows"]["train"]
    size = windows % (data["batch_size"] or windows) or data["batch_size"] or windows
    return (
        f"**The loss of the trend experiment: {places.count('')} of {len(reached)} published values lie between the "
        f"lowest and the highest of our seeds** (at epoch {epoch}: published {value}, ours "
        f"{plus_minus(ours)}{outside}). It is the loss of the last batch alone, {size} of {windows} windows, and each "
        f"seed draws its own noise, of variance {number(data['noise'] ** 2 / 12)}."
    )


def _sine(groups: Groups) -> str:
    found = {
        model: spread(groups.get(f"sine_{model}", ()), lambda run: run.score("test", "r2"))
        for model in ("rnn", "lstm", "gru")
    }
    known = {model: one for model, one in found.items() if one}
    if not known:
        return ""
    lowest = ", ".join(f"{model.upper()} {number(one.lowest)}" for model, one in known.items())
    fit = all(one.lowest > FITS for one in known.values())
    free = {model: spread(groups[f"sine_{model}"], lambda run: run.free_run_rmse) for model in known}
    left = {model: int((one.values > LEAVES).sum()) for model, one in free.items() if one}
    runs = ", ".join(f"{model.upper()} {plus_minus(one)}" for model, one in free.items() if one)
    verdict = "holds one step ahead" if fit else f"does not hold for every seed (R2 of {FITS} or less)"
    claim = "All three fit the sine" if len(known) == 3 else f"{' and '.join(map(str.upper, known))} fit the sine"
    those = [f"{count} of {len(groups[f'sine_{model}'])} {model.upper()}s" for model, count in left.items() if count]
    after = (
        f"but {' and '.join(those)} leave the sine (RMSE above {LEAVES})" if those else "and no seed leaves the sine"
    )
    return (
        f"**{claim}: {verdict}, {after} in the free run.** The lowest test R2 of any seed: {lowest}. RMSE of the free "
        f"run: {runs}. It starts at t = 123, inside the training part: it shows that the sine was learned, not that it "
        "was extrapolated."
    )


def _sine_seconds(groups: Groups) -> str:
    trio = [groups.get(f"sine_{model}", ()) for model in TRIO]
    if not all(trio):
        return ""
    ours = sum(float(np.mean([run.seconds for run in runs])) for runs in trio)
    published = " and ".join(f"{seconds} s on {device}" for device, seconds in SINE_SECONDS.items())
    how = f"threads {trio[0][0].config['threads']}, device {trio[0][0].metrics['device']}"
    return (
        f"**The three sine models take {ours:.0f} s** (the sum of their mean fits, {how}); published: {published}. "
        "Other machines, so this checks nothing."
    )


def _in_sample(groups: Groups) -> str:
    runs = groups.get("noisy_sine_gru", ())
    if not runs or runs[0].segment != "train":
        return ""
    return (
        "**noisy_sine_gru is scored on the data it was trained on**, as in its source. That says how well it was "
        "learned, nothing of how well it forecasts."
    )


def _linear(groups: Groups) -> str:
    """Where linear autoregression wins."""
    every, some, never = [], [], []
    for name, runs in groups.items():
        if not runs:
            continue
        won = wins(runs, "linear autoregression")
        if won == 0:
            every.append(name)
        elif won < len(runs):
            some.append(f"{name} ({len(runs) - won} of {len(runs)} seeds)")
        else:
            never.append(name)
    parts = [
        f"{words} {', '.join(names)}"
        for words, names in (("in every seed of", every), ("in some seeds of", some), ("in none of", never))
        if names
    ]
    clean = " On a sine without noise it is exact: two values are enough to continue a sine by a linear rule."
    return (
        f"**Linear autoregression on the same windows wins** {'; '.join(parts)} (lower RMSE on the same targets)."
        f"{clean if any(name.startswith('sine_') for name in groups) else ''}"
    )
