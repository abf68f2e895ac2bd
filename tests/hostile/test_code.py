"""What no line of this repository does: unpickle, evaluate, or build by name otherwise than `unroll.targets`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT

FILES = [*(ROOT / "src").rglob("*.py"), *(ROOT / "scripts").rglob("*.py"), ROOT / "train.py"]
MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"}
CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
ENDINGS = (
    *("instantiate", "get_class", "get_method", "get_object", "read_pickle", "to_pickle", "load_from_checkpoint"),
    *("unsafe_load", "full_load", "unsafe_load_all", "full_load_all", "add_safe_globals", "hub.load", "jit.load"),
    *("export.load", "register_new_resolver", "os.system", "os.popen", "run_path", "run_module"),
)
WANTED = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
LOADERS = {"QUICK_LOADER", "_PlainLoader", "loader"}  # of runs/directory.py: both are SafeLoaders
OWN = {("src/unroll/export.py", "torch.export.load")}  # of what this process has just written, to check it
IMPORTING = {"src/unroll/targets.py", "src/unroll/export.py", "scripts/fits/worker.py"}  # names from code, or checked


def broken(tree: ast.AST, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            base = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(part.partition(".")[0] in MODULES for part in [*base, *(alias.name for alias in node.names)]):
                yield f"{where} imports {ast.unparse(node)}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {word.arg: word.value for word in node.keywords}
        if (called in CALLS or called.endswith(ENDINGS)) and (name, called) not in OWN:
            yield f"{where} calls {called}"
        if called in WANTED:
            key, value = WANTED[called]
            if not (isinstance(given.get(key), ast.Constant) and given[key].value is value):
                yield f"{where} calls {called} without {key}={value}"
        if called == "yaml.load" and ast.unparse(node.args[1]) not in LOADERS:
            yield f"{where} calls yaml.load with {ast.unparse(node.args[1])}"
        if called == "importlib.import_module" and name not in IMPORTING:
            yield f"{where} imports by name"
        if "shell" in given or (called.endswith(".fit") and "ckpt_path" in given and "weights_only" not in given):
            yield f"{where} calls {called} with {', '.join(map(str, given))}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_no_evaluation(path: Path):
    assert not list(broken(ast.parse(path.read_text()), str(path.relative_to(ROOT))))


BAD = (
    *(
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
    ),
    *("np.load(path)", "np.load(path, allow_pickle=True)", "yaml.load(text, yaml.Loader)", "yaml.unsafe_load(text)"),
    *("hydra.utils.instantiate(cfg)", "instantiate(cfg)", "subprocess.run(words, shell=True)", "torch.jit.load(path)"),
    *("importlib.import_module(name)", "trainer.fit(module, ckpt_path=path)", "pd.read_pickle(path)"),
)


@pytest.mark.parametrize("line", BAD)
def test_the_look_sees_it(line):
    assert list(broken(ast.parse(line), "x.py"))
