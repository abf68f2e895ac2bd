"""Random command lines for `python train.py`: some that must work, and these with something odd in them.

A case is made from its number alone, so that one that was found can be run again. The words name files in the folder
that the command is started in: `series.csv` of `SERIES`.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

SERIES = "step,sold,price\n" + "".join(f"{row},{5 + 3 * math.sin(row):.4f},{row % 7}\n" for row in range(90))
BACKBONE, HEAD = "unroll.models.backbones.gru.GRU", "unroll.models.heads.mlp.MLPHead"

GROUPS = {
    "data": ["sine", "trend", "cinema", "csv"],
    "model": ["rnn", "lstm", "gru"],
    "optimizer": ["adam", "adamw", "sgd"],
    "scheduler": ["none", "plateau", "cosine", "step"],
    "trainer": ["auto", "cpu"],
    "model/head": ["mlp", "quantile", "gaussian", "student_t", "negative_binomial"],
    "experiment": ["cinema_week", "cinema_gru", "trend_gru", "sine_gru", "sine_gru_two_layer", "noisy_sine_gru"],
}
KEYS = {  # what is valid for a key alone, and small; with others it may still be refused
    "seed": ["0", "7", "4294967295"],
    "replicas": ["1", "2", "3"],
    "threads": ["1", "2"],
    "checkpoint_seconds": ["0", "0.5", "1e9"],
    "early_stopping.patience": ["null", "1", "9223372036854775807"],
    "early_stopping.min_delta": ["0", "0.1", "1e300"],
    "evaluate_train": ["true", "false"],
    "free_run.steps": ["0", "1", "7", "40"],
    "free_run.start": ["null", "100", "100.5", "2018-06-01", "-5"],
    "free_run.step": ["null", "0.5", "3"],
    "sweep.name": ["null", "name", "a.b-c_d"],
    "data.window_size": ["1", "3", "12"],
    "data.horizon": ["1", "2", "5"],
    "data.stride": ["1", "2", "7"],
    "data.batch_size": ["null", "1", "16", "9223372036854775807"],
    "data.shuffle": ["true", "false"],
    "data.order": ["split_then_window", "window_then_split"],
    "data.history": ["true", "false"],
    "data.validation": ["0", "0.2", "9", "0.0"],
    "data.test": ["0", "0.2", "9"],
    "data.transform": [
        *("none", "minmax", "robust", "[log1p,standard]", "[standard,log1p]", "[difference]", "[]", "log"),
        *("[standard,window_centre]", "[seasonal_difference]", "[difference,window_standard]", "[log1p,log1p]"),
    ],
    "data.calendar": [
        "[]",
        "auto",
        "[weekday]",
        "[month,hour]",
        "[holiday]",
        "[day_of_year,week]",
        "[weekday,weekday]",
    ],
    "data.calendar_encoding": ["one_hot", "cyclic"],
    "data.holidays": ["null", "DE", "SA", "XX", "price", "DE-BY"],
    "data.known_ahead": ["[]", "[price]", "[sold]", "[none]"],
    "data.seasonal_period": ["null", "1", "7", "1000", "9223372036854775807"],
    "data.end": ["null", "50", "1000", "2018-06-01", "'2018-06-01 12:00'", "now", "2018"],
    "data.points": ["2", "60", "120"],
    "data.period": ["25", "1e-300", "1e300", "0.1"],
    "data.step": ["null", "1", "1e-300", "0.01", "1e300"],
    "data.span": ["null", "10", "1e-300", "1e300"],
    "data.amplitude": ["0", "-3", "1e300", "1e-300", "1e30"],
    "data.phase": ["0", "-1e300", "2"],
    "data.noise": ["0", "0.3", "1e300", "1e38"],
    "data.frequency": ["0", "-1", "1e300"],
    "data.slope": ["0", "-1e300", "1e38", "3"],
    "data.days": ["14", "60", "150"],
    "data.seed": ["0", "${seed}", "5", "18446744073709551615"],
    "data.missing": ["error", "interpolate", "ffill", "zero"],
    "data.target": ["null", "sold", "price", "total_sales", "tickets_sold"],
    "data.covariates": ["[]", "[price]", "[price,price]", "[sold]", "[none]"],
    "data.separator": [",", "';'", "'\\t'"],
    "data.date": ["null", "step", "sold"],
    "data.date_format": ["null", "'%Y'", "'%d'"],
    "data.timezone": ["null", "UTC", "Europe/Berlin"],
    "data.unit": ["null", "EUR"],
    "data.path": ["series.csv", "null", "none.csv", ".", "/dev/null"],
    "model.hidden_size": ["1", "3", "8"],
    "model.num_layers": ["1", "2", "3"],
    "model.dropout": ["0", "0.5", "0.999999"],
    "model.head_sizes": ["[]", "[1]", "[4,3]"],
    "model.input_layout": ["sequence", "features"],
    "model.head.levels": ["[0.1,0.5,0.9]", "[0.5]", "[0.01,0.25,0.5,0.99]", "[0.1,0.9]", "[0,0.5,1]", "[0.5,0.1,0.9]"],
    "model.loss": ["mse", "mae", "huber"],
    "model.backbone.hidden_size": ["2", "5"],
    "model.backbone._target_": [BACKBONE, HEAD, "torch.nn.GRU", "os.system", "unroll.models.backbones.gru.Nothing"],
    "model.head._target_": [HEAD, BACKBONE, "torch.load", "unroll.none.None"],
    "optimizer._target_": ["torch.optim.Adam", "torch.optim.LBFGS", "torch.optim.Rprop", "torch.optim.Adadelta"],
    "scheduler._target_": ["torch.optim.lr_scheduler.StepLR", "torch.optim.lr_scheduler.OneCycleLR", "print"],
    "data._target_": ["unroll.data.trend.TrendData", "unroll.data.module.WindowDataModule", "unroll.data.csv.CSVData"],
    "optimizer.lr": ["0.001", "1e-300", "1e300", "10", "1"],
    "optimizer.weight_decay": ["0", "0.1", "1e300"],
    "optimizer.momentum": ["0", "0.9", "5"],
    "scheduler.factor": ["0.5", "1e-300"],
    "scheduler.patience": ["0", "3"],
    "scheduler.interval": ["epoch", "step"],
    "scheduler.frequency": ["1", "2", "9223372036854775807"],
    "scheduler.monitor": ["val/loss", "train/loss"],
    "scheduler.T_max": ["1", "3", "9223372036854775807"],
    "scheduler.eta_min": ["0", "1", "1e300"],
    "scheduler.step_size": ["1", "2"],
    "scheduler.gamma": ["0.5", "1e300", "1e-300", "2"],
    "trainer.accelerator": ["auto", "cpu", "gpu", "mps"],
    "trainer.devices": ["1"],
    "trainer.max_epochs": ["1", "2", "3"],
    "trainer.max_steps": ["-1", "1", "5"],
    "trainer.gradient_clip_val": ["null", "0", "0.5", "1e300"],
    "trainer.gradient_clip_algorithm": ["norm", "value"],
    "trainer.limit_train_batches": ["null", "1", "2", "0.5", "1.0", "1e-300", "1000000"],
    "trainer.deterministic": ["true", "false", "warn"],
    "trainer.fast_dev_run": ["true", "false"],
}
ADDED = {  # arguments of torch and Lightning that no file of conf holds
    "optimizer.betas": ["[0.9,0.99]", "[0,0]", "[1,1]", "[0.9]", "0.9", "[2,0.5]", "[nan,0.9]", "[0.9,0.99,0.9]"],
    "optimizer.amsgrad": ["true", "1", "no", "maybe"],
    "optimizer.eps": ["1e-8", "0", "-1", "1e300", "nan"],
    "optimizer.nesterov": ["true", "false"],
    "optimizer.dampening": ["0", "0.5", "-1", "text"],
    "optimizer.maximize": ["true"],
    "optimizer.foreach": ["true", "false"],
    "optimizer.fused": ["true", "false", "7"],
    "optimizer.capturable": ["true"],
    "optimizer.differentiable": ["true"],
    "optimizer.params": ["[]", "1"],
    "scheduler.last_epoch": ["-1", "0", "3", "text"],
    "scheduler.min_lr": ["0", "[0.1]", "[0,0]", "1"],
    "scheduler.cooldown": ["1", "-1"],
    "scheduler.threshold": ["0", "nan", "1e300"],
    "scheduler.mode": ["min", "max", "other"],
    "scheduler.verbose": ["true"],
    "scheduler.milestones": ["[1,2]"],
    "scheduler.optimizer": ["null"],
    "data.loaded": ["1"],
    "data.shuffle_seed": ["3"],
    "model.backbone.input_size": ["4"],
    "model.backbone.bias": ["false"],
    "model.head.horizon": ["3"],
    "trainer.limit_val_batches": ["0", "1", "0.5", "1.0", "-1", "2.5"],
    "trainer.limit_test_batches": ["0", "1", "0.5"],
    "trainer.limit_predict_batches": ["0", "1"],
    "trainer.overfit_batches": ["0", "1", "0.5", "3", "-1"],
    "trainer.val_check_interval": ["1", "2", "0.5", "1.0", "100", "0", "00:00:00:01"],
    "trainer.accumulate_grad_batches": ["1", "2", "1000", "{0:2}", "0"],
    "trainer.check_val_every_n_epoch": ["1", "2", "5", "null", "0"],
    "trainer.precision": ["32", "64", "16", "bf16", "32-true", "64-true", "bf16-mixed", "16-mixed", "16-true"],
    "trainer.max_time": ["00:00:00:02", "00:01:00:00", "{seconds:2}", "0", "text", "00:00:00:00", "{weeks:x}"],
    "trainer.min_epochs": ["0", "1", "2", "-1", "null", "text"],
    "trainer.min_steps": ["0", "1", "5", "text"],
    "trainer.detect_anomaly": ["true", "false", "7"],
    "trainer.profiler": ["simple", "advanced", "pytorch", "null", "other"],
    "trainer.num_nodes": ["1", "2", "0", "-1"],
    "trainer.strategy": ["auto", "ddp", "ddp_spawn", "fsdp", "deepspeed", "none", "single_device", "null", "dp"],
    "trainer.inference_mode": ["true", "false"],
    "trainer.benchmark": ["true", "false"],
    "trainer.barebones": ["true", "false"],
    "trainer.use_distributed_sampler": ["true", "false"],
    "trainer.sync_batchnorm": ["true"],
    "trainer.reload_dataloaders_every_n_epochs": ["0", "1", "-1"],
    "trainer.plugins": ["[]", "null", "text", "[1]"],
    "trainer.model_registry": ["null", "name"],
    "trainer.enable_autolog_hparams": ["true", "false"],
    "trainer.callbacks": ["[]", "null"],
    "trainer.logger": ["true"],
    "trainer.enable_progress_bar": ["true"],
    "trainer.num_sanity_val_steps": ["2"],
    "trainer.log_every_n_steps": ["1"],
    "trainer.default_root_dir": ["x"],
    "trainer.enable_checkpointing": ["false"],
}
HUGE = {"trainer.max_epochs", "trainer.max_steps", "trainer.min_epochs", "trainer.min_steps", "trainer.max_time"}
NUMBERS = ["0", "1", "-1", "0.0", "1.0", "-0.0", "0.5", "1e-300", "-1e300", "1e300", "5e-324", "2147483648"]
NUMBERS += ["9223372036854775808", "9223372036854775807", "100000000000000000000", "1" + "0" * 400, "1e400", "2.5"]
KINDS = ["text", "[1,2]", "{a:1}", "null", "true", "nan", "inf", "-inf", "'1'", '"2"', "[]", "{}", "[[1]]", "[null]"]
ODD = [
    "",
    "'  '",
    "'ü 😀'",
    "../x",
    "${seed}",
    "${oc.env:HOME}",
    "${oc.env:NO_SUCH_NAME}",
    "${none}",
    "???",
    "=",
    "a=b",
]
ODD += [
    "1,2",
    "${data}",
    "${.seed}",
    "${oc.decode:1}",
    "${",
    "$",
    "\\",
    "'",
    '"',
    "[",
    "{",
    "*",
    "~",
    "%d",
    "0x10",
    "1_0",
]
ODD += ["tag(a,1)", "range(3)", "choice(1,2)", "glob(*)", "sort(2,1)", "x" * 3000, "${seed}${seed}", "null,null", "!!x"]
ODD += ["\x1b[31m", "1 2", "'1\\n2'", "½", "1e", "--x", "@x", "{a:{b:[1]}}", "${hydra:job.name}", "yes", "off", "None"]
WHOLE = ["+x=1", "x", "=1", "+", "~", "~data", "~model", "~optimizer", "~trainer", "~scheduler", "data=", "data=null"]
WHOLE += ["data@here=sine", "+data@model=sine", "model/head=mlp", "model/head=none", "+model/head@data=mlp", "@=1"]
WHOLE += ["scheduler=null", "experiment=null", "experiment=none", "sweep=backbones", "sweep=none", "data=[sine,trend]"]
WHOLE += [
    "data=sine,trend",
    "+data=trend",
    "data=../model/gru",
    "data=sine.yaml",
    "DATA=sine",
    "data=Sine",
    "model=gur",
]
WHOLE += [
    "hydra/launcher=basic",
    "hydra/launcher=ray",
    "hydra/launcher=none",
    "hydra/sweeper=basic",
    "hydra.job.chdir=1",
]
WHOLE += ["hydra.sweeper.params={seed: 1}", "hydra.none=1", "hydra/none=1", "hydra=none", "hydra.mode=RUN", "resume=x"]
WHOLE += ["hydra.job.name=x", "+hydra.callbacks.a._target_=os.system", "resume=.", "resume=''"]
WHOLE += ["++data._target_=os.system", "+data.x=1", "++model.x.y=1", "+sweep.x=1", "+free_run.x=1", "sweep.trial=0"]
WHOLE += ["+early_stopping={a:1}", "data={points:50}", "+data={points:50}", "early_stopping=null", "free_run=null"]
WHOLE += [
    "trainer=gpu",
    "trainer=tpu",
    "base=data",
    "base/data=x",
    "~seed",
    "~data.points",
    "~model.head",
    "~optimizer.lr",
]
WHOLE += [
    "~trainer.max_epochs",
    "~data.window_size",
    "~free_run",
    "~early_stopping",
    "~sweep",
    "~output_dir",
    "~seed=0",
]
WHOLE += ["~data.test", "~model.dropout", "~checkpoint_seconds", "~evaluate_train", "~threads", "~replicas", "~resume"]
FLAGS = [
    ["--cfg", "job"],
    ["--cfg", "x"],
    ["--none"],
    ["--config-name", "none"],
    ["--config-dir", "none"],
    ["--resolve"],
]
FLAGS += [
    ["--info"],
    ["--config-path", "none"],
    ["--package", "data", "--cfg", "job"],
    ["-m"],
    ["--version"],
    ["--run"],
]


@dataclass
class Case:
    """A command line.

    Args:
        words: after train.py, but for output_dir.
        good: whether it must work.
        again: words of `resume=RUN` of the run that it makes; None: none.
        about: what was done to it.
    """

    words: list[str]
    good: bool
    again: list[str] | None = None
    about: list[str] = field(default_factory=list)

    @property
    def is_sweep(self) -> bool:
        """Whether it asks for several runs."""
        return "-m" in self.words


def make(number: int) -> Case:
    """The case of a number."""
    dice = random.Random(number)
    words = _good_words(dice)
    case = Case(words, good=True)
    if dice.random() < 0.3:
        return case
    case.good = False
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        change = dice.choice(CHANGES)
        case.about.append(change.__name__.strip("_"))
        change(dice, case)
    if not case.is_sweep and dice.random() < 0.12:
        case.again = []
        for _ in range(dice.choice([0, 1, 1, 2])):
            key = dice.choice([key for key in (*KEYS, *ADDED) if key.startswith(("trainer.", "early_"))])
            case.again.append(_word(dice, key))
    return case


def _good_words(dice: random.Random) -> list[str]:
    """A command line that must work, of few and small parts."""
    data, scheduler = dice.choice(GROUPS["data"]), dice.choice(GROUPS["scheduler"])
    optimizer, horizon, replicas = (
        dice.choice(GROUPS["optimizer"]),
        dice.choice([1, 1, 2, 3]),
        dice.choice([1, 1, 1, 2, 3]),
    )
    words = {"data": data, "optimizer": optimizer, "scheduler": scheduler}
    words |= {group: dice.choice(GROUPS[group]) for group in ("model", "trainer")}
    head = dice.choice(["mlp", *GROUPS["model/head"][:4]])  # counts are not what these series hold
    words |= {} if head == "mlp" else {"model/head": head}
    words |= {
        "sine": {"data.points": dice.choice(["90", "150"]), "data.noise": dice.choice(["0", "0.1", "3"])},
        "trend": {"data.points": dice.choice(["90", "150"]), "data.test": "20"},
        "cinema": {"data.days": dice.choice(["90", "150"])},
        "csv": {"data.path": "series.csv", "data.target": "sold"},
    }[data]
    maybe = {
        "data.window_size": ["1", "3", "6"],
        "data.stride": ["1", "2"],
        "data.batch_size": ["null", "1000000", "16"],
        "data.shuffle": ["true", "false"],
        "data.order": ["split_then_window", "window_then_split"],
        "data.test": ["0.2", "15"],
        "data.transform": ["none", "minmax", "standard", "robust", "[robust,window_centre]", "[none,window_standard]"],
        "data.calendar": ["[]", "auto"],
        "data.calendar_encoding": ["cyclic"],
        "data.seasonal_period": ["null", "1", "7"],
        "model.hidden_size": ["1", "3", "8"],
        "model.num_layers": ["1", "2"],
        "model.dropout": ["0", "0.5"],
        "model.head_sizes": ["[]", "[4,3]"],
        "model.input_layout": ["sequence", "features"],
        "model.loss": ["mse", "mae", "huber"],
        "optimizer.lr": ["0.001", "1e-5"],
        "optimizer.weight_decay": ["0", "0.01"],
        "seed": ["0", "7", "4294967290"],
        "threads": ["1", "2"],
        "early_stopping.patience": ["null", "1", "5"],
        "early_stopping.min_delta": ["0", "0.1"],
        "evaluate_train": ["true", "false"],
        "checkpoint_seconds": ["0", "0.5"],
        "trainer.gradient_clip_val": ["0", "0.5"],
        "trainer.limit_train_batches": ["null", "1", "1.0"],
        "+trainer.accumulate_grad_batches": ["1", "2", "1000"],
        "+trainer.precision": ["32-true", "64-true", "64"],
        "+trainer.detect_anomaly": ["true", "false"],
        "+trainer.inference_mode": ["true", "false"],
    }
    maybe |= {"scheduler.step_size": ["1"], "scheduler.gamma": ["0.5"]} if scheduler == "step" else {}
    maybe |= {"scheduler.patience": ["0"], "scheduler.monitor": ["train/loss"]} if scheduler == "plateau" else {}
    maybe |= {"scheduler.interval": ["step"], "scheduler.T_max": ["3"]} if scheduler == "cosine" else {}
    maybe |= {"+optimizer.nesterov": ["true"]} if optimizer == "sgd" else {"+optimizer.betas": ["[0.8,0.9]"]}
    maybe |= {"+optimizer.amsgrad": ["true"]} if optimizer != "sgd" else {}
    maybe |= {"data.validation": ["0.2", "12", *(["0"] if scheduler != "plateau" else [])]}
    maybe |= (
        {"data.covariates": ["[price]"], "data.known_ahead": ["[price]"]}
        if data == "csv"
        else {"free_run.steps": ["0", "4"]}
        if horizon == 1
        else {}
    )
    chosen = {key: dice.choice(values) for key, values in maybe.items() if key not in words and dice.random() < 0.3}
    words |= chosen | {"data.horizon": str(horizon), "replicas": str(replicas)}
    words["trainer.max_epochs"] = dice.choice(["1", "2", "3"])
    return [f"{key}={value}" for key, value in words.items()]


def _word(dice: random.Random, key: str) -> str:
    """An override of a key with a value that may be anything."""
    pool = dice.choice(["valid", "valid", "number", "kind", "odd"])
    valid = KEYS.get(key) or ADDED[key]
    numbers = NUMBERS if key not in HUGE else [value for value in NUMBERS if len(value) < 5 and "e" not in value]
    value = dice.choice({"valid": valid, "number": numbers, "kind": KINDS, "odd": ODD}[pool])
    if key == "trainer.max_time" and pool == "number":
        value = "1"
    return f"{'+' if key in ADDED else ''}{key}={value}"


def _other_values(dice: random.Random, case: Case) -> None:
    for _ in range(dice.choice([1, 1, 2, 4])):
        case.words.append(_word(dice, dice.choice(list(KEYS))))


def _other_valid_values(dice: random.Random, case: Case) -> None:
    for _ in range(dice.choice([1, 2, 4])):
        key = dice.choice([key for key in KEYS if not key.endswith("_target_")])
        case.words.append(f"{key}={dice.choice(KEYS[key])}")


def _added_arguments(dice: random.Random, case: Case) -> None:
    for _ in range(dice.choice([1, 1, 2])):
        case.words.append(_word(dice, dice.choice(list(ADDED))))


def _valid_arguments(dice: random.Random, case: Case) -> None:
    for _ in range(dice.choice([1, 2, 3])):
        key = dice.choice([key for key in ADDED if key.startswith("trainer.")])
        case.words.append(f"+{key}={dice.choice(ADDED[key])}")


def _another_mark(dice: random.Random, case: Case) -> None:
    """+, ++, ~ and the like before a word that is there, or before one more of its kind."""
    word = dice.choice(case.words)
    key = word.lstrip("+").partition("=")[0]
    forms = [f"+{word}", f"++{word}", f"~{key}", f"~{word}", f"{key}@x={word.partition('=')[2]}", key, f"{key}=", word]
    case.words.append(dice.choice(forms))


def _misspelt(dice: random.Random, case: Case) -> None:
    place = dice.randrange(len(case.words))
    key, _, value = case.words[place].partition("=")
    at = dice.randrange(len(key))
    other = dice.choice(
        [key[:at] + key[at + 1 :], key[:at] + "x" + key[at:], key.upper(), f"{key}.x", f"x.{key}", f" {key}"]
    )
    value = dice.choice([value, value, value[:-1], f"{value}x"])
    case.words[place] = f"{other}={value}"


def _whole_word(dice: random.Random, case: Case) -> None:
    case.words.insert(dice.randrange(len(case.words) + 1), dice.choice(WHOLE))


def _option(dice: random.Random, case: Case) -> None:
    group = dice.choice(list(GROUPS))
    case.words.append(f"{group}={dice.choice(dice.choice([GROUPS[group], KINDS, ODD]))}")
    if case.words[-1].startswith("experiment="):  # some ask for many epochs, or more than one wants to wait for
        case.words += ["trainer.max_epochs=1", "data.window_size=4"]


def _flag(dice: random.Random, case: Case) -> None:
    case.words += dice.choice(FLAGS)


def _sweep(dice: random.Random, case: Case) -> None:
    """Two runs; one may be refused."""
    key = dice.choice(list(KEYS))
    values = dice.sample([*KEYS[key], dice.choice(NUMBERS if key not in HUGE else ["1"]), dice.choice(KINDS)], 2)
    case.words += ["-m", f"{key}={','.join(values)}"]
    if dice.random() < 0.4:
        case.words.append("sweep.name=study")


CHANGES: list[Callable[[random.Random, Case], None]] = [
    *[_other_values] * 5,
    *[_other_valid_values] * 4,
    *[_added_arguments] * 3,
    *[_valid_arguments] * 3,
    _another_mark,
    _misspelt,
    *[_whole_word] * 2,
    _option,
    _flag,
    _sweep,
]
