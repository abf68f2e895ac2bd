"""Run directories: one folder a run, never shared, that says what was run, how it ended and what came of it.

config.yaml        the resolved config
run.json           status, command line, overrides, versions, git commit, times; the reason of a failure; digests
series.npz         the series that was trained on
history.csv        losses, learning rate and seconds by epoch (means over replicas)
history_replicas.csv  the same by seed, where there are replicas
metrics.json       scores of the best and the last epoch, baselines, skill, seconds, parameters
predictions.csv    the test segment (and the training segment, where asked for): truth, forecasts, baselines
free_run.csv       the free run, where asked for: truth, forecasts, baselines
figures/           series.png, forecast.png, loss.png; overlay.png, free_run.png where asked for
checkpoints/       best.ckpt, last.ckpt, previous.ckpt (the one before last.ckpt)
output.log         of a sweep's run: what it would have printed
evaluation/        what scripts/evaluate.py wrote later
export/            what scripts/export.py wrote later
events.out.*       TensorBoard events, here so that TensorBoard shows the run by its directory's name
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from unroll.errors import HeldError, PrunedError, RunError, UnrollError
from unroll.interrupts import TERMINATED, stoppable
from unroll.runs.environment import environment
from unroll.runs.files import IS_PARTIAL, PARTIAL, file_digest, read_json, write_json, write_text

STOPS = ("interrupted (", "stopped (")  # reasons that are no fault of the run
LOOKS = 5
LOCK = ".lock"  # a file: network file systems lock no directories
QUICK_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SHORT = 4000  # bytes, about twice a config of ours


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few of them, one in the other, are a file that fills the memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node of the document."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds an alias")
        return super().compose_node(parent, index)


class RunDirectory:
    """A run's folder, and the names of what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.state = path / "run.json"
        self.series = path / "series.npz"
        self.history = path / "history.csv"
        self.replica_history = path / "history_replicas.csv"
        self.metrics = path / "metrics.json"
        self.predictions = path / "predictions.csv"
        self.free_run = path / "free_run.csv"
        self.log = path / "output.log"
        self.figures = path / "figures"
        self.best_checkpoint = path / "checkpoints" / "best.ckpt"
        self.last_checkpoint = path / "checkpoints" / "last.ckpt"
        self.previous_checkpoint = path / "checkpoints" / "previous.ckpt"

    @classmethod
    def create(cls, parent: Path, name: str) -> "RunDirectory":
        """Make a new directory, named by time and `name`; runs started at the same instant get different ones.

        Raises:
            RunError: where it cannot be made.
        """
        slug = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]
        stem = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{slug}"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            number = 1
            while True:
                path = parent / (stem if number == 1 else f"{stem}_{number}")
                try:
                    path.mkdir()  # atomic: of two starts, one finds it taken
                    break
                except FileExistsError:
                    number += 1
        except OSError as error:
            raise RunError(
                f"{parent}: no run directory can be made here ({error.strerror}): set output_dir to a folder that can "
                "be written"
            ) from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """An existing run.

        Raises:
            RunError: where the path is none.
        """
        run = cls(path)
        if not (run.config.is_file() and run.state.is_file()):
            what = "holds no run (no config.yaml and run.json)" if path.is_dir() else "does not exist"
            raise RunError(f"{path} {what}: give a directory under outputs/, such as outputs/DATE_TIME_DATA_MODEL")
        return run

    def write_config(self, config: dict[str, Any]) -> None:
        """Write the resolved config."""
        write_text(self.config, _as_yaml(config))

    def read_config(self) -> dict[str, Any]:
        """The resolved config, as plain values.

        Raises:
            RunError: where it is missing, damaged, or not as the run wrote it (YAML cut short may still be YAML).
        """
        if not self.config.is_file():
            raise RunError(f"{self.config} is no regular file")
        text = self.config.read_bytes()
        written = self._digests_written().get(self.config.name)
        if written is not None and written != hashlib.sha256(text).hexdigest():
            raise RunError(
                f"{self.config} is not as the run wrote it (run.json holds its SHA-256): it is damaged or was changed; "
                "put the original back, or start a new run"
            )
        # The C parser is eight times as fast; depth kills it, and aliases can make a small file a large one.
        loader = _PlainLoader if len(text) > SHORT or b"*" in text else QUICK_LOADER
        try:
            config = yaml.load(text, loader)  # both are SafeLoaders
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise RunError(f"{self.config} is damaged: {str(error).splitlines()[0]}") from error
        if not isinstance(config, dict):
            raise RunError(f"{self.config} is damaged: it holds no mapping")
        missing = [name for name in ("data", "model", "optimizer", "trainer", "early_stopping") if name not in config]
        if missing:
            raise RunError(f"{self.config} is damaged: it holds no {', '.join(missing)}")
        try:
            text_again = json.dumps(config, default=str)
        except (TypeError, ValueError, RecursionError) as error:
            raise RunError(f"{self.config} is damaged: {error}") from error
        if "${" in text_again:  # it was written resolved; such a thing would read the environment
            raise RunError(f"{self.config} was changed by hand: it holds an interpolation (${{...}})")
        return config

    def read_state(self) -> dict[str, Any]:
        """Status and everything else that run.json says."""
        state = read_json(self.state)
        if "status" not in state:
            raise RunError(f"{self.state} is damaged: it holds no status")
        return state

    def changed_files(self) -> list[str]:
        """The files of a complete run that are no longer as it wrote them, by their paths in the directory."""
        return [name for name, written in self._digests_written().items() if file_digest(self.path / name) != written]

    def check_as_written(self, *paths: Path) -> None:
        """Raise RunError for the first file that is no longer as the run wrote it, where run.json says how it was."""
        written = self._digests_written()
        for path in paths:
            name = str(path.relative_to(self.path))
            if name in written and written[name] != file_digest(path):
                raise RunError(
                    f"{path} is not as the run wrote it (run.json holds its SHA-256): it is damaged or was changed; "
                    f"python train.py resume={self.path} writes it again"
                )

    def _digests_written(self) -> dict[str, Any]:
        """SHA-256 of files by their paths in the directory, as run.json holds them."""
        try:
            digests = self.read_state().get("files")
        except (RunError, OSError):  # said where the state itself is wanted
            return {}
        return digests if isinstance(digests, dict) else {}

    def _digests(self) -> dict[str, str | None]:
        """SHA-256 of all that belongs to a training."""
        paths = [self.config, self.series, self.history, self.replica_history, self.metrics]
        paths += [self.predictions, self.free_run]
        for folder in (self.figures, self.last_checkpoint.parent):
            paths += sorted(folder.iterdir())
        return {str(path.relative_to(self.path)): file_digest(path) for path in paths if path.is_file()}

    def set_state(self, **changes: Any) -> None:
        """Change some entries of run.json."""
        state = self.read_state() if self.state.exists() else {}
        write_json(self.state, state | changes)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process: nobody else changes it meanwhile.

        The lock ends with the process, however that ends: a run whose status is `running` and that nobody holds was
        killed.

        Raises:
            HeldError: where another process is training this run.
        """
        lock = _open_lock(self.path, os.O_RDWR | os.O_CREAT)
        try:
            try:
                _take(lock)
            except BlockingIOError as error:
                raise HeldError(f"{self.path} is being trained by another process: wait for it, or stop it") from error
            except OSError as error:
                raise RunError(
                    f"{self.path}: this file system has no locks ({error.strerror}), so that two processes could write "
                    "one run: set output_dir to another one"
                ) from error
            os.utime(lock)  # so that a run whose process died before it wrote anything is known as one
            yield
        finally:
            os.close(lock)

    @contextmanager
    def recording(self, config: dict[str, Any], overrides: Sequence[str], **identity: Any) -> Iterator[None]:
        """Write the config and keep the status: running, then complete, or failed (or pruned) with the reason.

        Ctrl-C and SIGTERM leave the run as failed too, with its checkpoints, so that it can be continued.

        Args:
            config: resolved.
            overrides: of the command line.
            identity: what run.json says beside that, to know the run again.
        """
        previous = self.read_state() if self.state.exists() else {}
        about = {
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "overrides": list(overrides),
            "environment": environment(),
            "process": os.getpid(),
            "host": socket.gethostname(),
            **identity,
        }
        history = [*previous.get("resumed", []), previous["started"]] if "started" in previous else []
        try:
            with stoppable():
                self._remove_leftovers()
                if file_digest(self.config) != hashlib.sha256(_as_yaml(config).encode()).hexdigest():
                    if previous:  # killed before the new config is there, this is an incomplete run of the old one
                        self.set_state(status="running", fingerprint=None, files={})
                    self.write_config(config)
                files = {self.config.name: file_digest(self.config)}
                self.set_state(
                    status="running", started=now(), finished=None, error=None, resumed=history, files=files, **about
                )
                self.figures.mkdir(exist_ok=True)
                self.last_checkpoint.parent.mkdir(exist_ok=True)
                yield
                self.set_state(status="complete", finished=now(), files=self._digests())
        except KeyboardInterrupt:
            self._fail("interrupted (Ctrl-C)")
            raise
        except SystemExit as error:
            self._fail(f"stopped ({'SIGTERM' if error.code == TERMINATED else f'exit {error.code}'})")
            raise
        except PrunedError as error:
            self._fail(str(error), status="pruned")
            raise
        except OSError as error:
            said = self._explained(error)
            self._fail(said)
            raise RunError(said) from error
        except BaseException as error:
            kind = "" if isinstance(error, UnrollError) else f"{type(error).__name__}: "
            self._fail(f"{kind}{error}".splitlines()[0].removesuffix(": "))
            raise

    def _remove_leftovers(self) -> None:
        """Remove the halves of files that a killed process left.

        Raises:
            RunError: where a folder of the run is a link, which nothing is written or removed through.
        """
        for folder in (self.figures, self.last_checkpoint.parent):
            if folder.is_symlink():
                raise RunError(f"{folder} is a link: put the folder itself there")
        for folder in (self.path, self.figures, self.last_checkpoint.parent):
            for path in folder.glob(f"*{PARTIAL}*"):
                if IS_PARTIAL.search(path.name):
                    path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what an earlier training left, to begin again. For the holder of the lock."""
        for path in self.path.iterdir():
            if path in (self.path / LOCK, self.log):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _fail(self, reason: str, status: str = "failed") -> None:
        with suppress(OSError):  # the disk may be what failed: the reason is raised anyway, and nobody holds the run
            self.set_state(status=status, finished=now(), error=reason)

    def _explained(self, error: OSError) -> str:
        """What became of the disk, and what to do then."""
        if not self.path.exists():
            return f"{self.path} was removed while it was being trained, or its disk is gone: start a new run"
        reason = f"{error.filename or self.path}: {error.strerror or error}"
        if not self.config.exists():
            return f"{reason}; mend this, and start a new run"
        return f"{reason}; what was written is kept: mend this, then python train.py resume={self.path}"


def _as_yaml(config: dict[str, Any]) -> str:
    """A config as text, without aliases."""
    return yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False)


def _take(lock: int) -> None:
    """Take a lock, also where somebody is just having a look (`is_held`)."""
    for _ in range(LOOKS):
        with suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.02)
    return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Whether a process is training this run now (RunDirectory.locked).

    The look takes a shared lock, so that two of them at once do not take each other for a training.
    """
    try:
        lock = _open_lock(path, os.O_RDONLY)
    except (OSError, RunError):  # none has trained here, or nobody may look
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks, where none can be held
        return False
    finally:
        os.close(lock)
    return False


def _open_lock(path: Path, flags: int) -> int:
    """Open the lock file; no link, and nothing that would wait, such as a pipe."""
    lock = os.open(path / LOCK, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    if not stat.S_ISREG(os.fstat(lock).st_mode):
        os.close(lock)
        raise RunError(f"{path / LOCK} is no regular file: remove it")
    return lock


def main_segment(parts: Mapping[str, Any]) -> str:
    """The segment whose scores stand for a run: test, or train where there is no test segment."""
    return "test" if "test" in parts else "train"


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
