"""What is wrong is told in a line, before anything is computed, and nothing is left half done."""

import os
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from torch.distributed.run import get_args_parser

from biglearn_core import BigLearnEM
from biglearn_core.command import arguments
from biglearn_core.command.main import main
from biglearn_core.command.rows import files_read
from tests.command.small import failure, rows_file, words
from tests.helpers import random_gmm

COMMANDS = ("fit", "predict", "score", "sample", "info")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows_file(tmp_path)
    random_gmm(0).save("model.npz")
    random_gmm(0, D=2).save("two.npz")
    np.savez("state.npz", **{"condition/seed": "0"}, **random_gmm(0).arrays())
    return tmp_path


def usage(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("", "name a command"),
        ("fit rows.npy --out m.npz", "required: --components"),
        ("fit rows.npy --components 2", "required: --out"),
        (
            "fit rows.npy --components 0 --out m.npz",
            "must be a whole number of at least 1, got '0'",
        ),
        ("fit rows.npy --components two --out m.npz", "got 'two'"),
        ("fit rows.npy --components 2 --tol nan --out m.npz", "positive number, got 'nan'"),
        ("fit rows.npy --components 2 --seed -1 --out m.npz", "--seed"),
        ("fit rows.npy --components 2 --device tpu --out m.npz", "invalid choice: 'tpu'"),
        ("fit rows.npy --components 2 --columns a,,b --out m.npz", "commas between them"),
        ("fit rows.npy --comp 2 --out m.npz", "--components"),
        ("predict model.npz rows.npy", "required: --out"),
        ("sample model.npz --out s.npy", "required: -n"),
    ],
)
def test_wrong_usage(capsys, folder, command, text):
    assert text in usage(capsys, *words(command))


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("fit none.npy --components 2 --out m.npz", "there is no file none.npy"),
        (
            "fit rows.npy --components 500 --out m.npz",
            "n_components=500 exceeds the number of rows",
        ),
        ("fit rows.npy --components 2 --out m.txt", "m.txt is to be a .npz file"),
        ("fit model.npz --components 2 --out model.npz", "is one of the files that are read"),
        ("fit rows.npy --components 2 --out rows.npy/m.npz", "no folder that you may write in"),
        ("fit rows.npy --components 2 --covariance-type ful --out m.npz", "'ful'"),
        ("fit rows.npy --components 2 --covariance-type full,tied --out m.npz", "name one"),
        ("fit rows.npy --components 2 --max-components 3 --out m.npz", "--components auto"),
        ("fit rows.npy --components auto --checkpoint s.npz --out m.npz", "leave it out"),
        (
            "fit rows.npy --components 2 --weight w --out m.npz",
            "--weight names columns of Parquet files, and rows.npy holds none",
        ),
        (
            "score model.npz rows.npy rows.npy --columns a",
            "--columns names columns of Parquet files, and rows.npy holds none",
        ),
        ("score model.npz none.npy --columns a", "there is no file none.npy"),
        (
            "fit rows.npy --components 2 --out m_{rank}.npz",
            "m_{rank}.npz is one file, of process 0 alone: leave {rank} out of its name",
        ),
        ("fit rows.npy --components 2 --out m.npz --checkpoint s_{rank}.npz", "leave {rank} out"),
        ("sample model.npz -n 2 --out s_{rank}.npy", "leave {rank} out"),
        ("fit rows.npy --components 2 --out m.npz --checkpoint ./m.npz", "are both m.npz"),
        ("predict none.npz rows.npy --out l.npy", "none.npz: No such file or directory"),
        ("predict rows.npy model.npz --out l.npy", "rows.npy is not the file of a mixture"),
        ("predict state.npz rows.npy --out l.npy", "state.npz is the checkpoint of a fit"),
        ("predict two.npz rows.npy --out l.npy", "rows.npy has 3 features, two.npz is a mixture"),
        ("predict model.npz rows.npy --out l.npz", "l.npz is to be a .npy file"),
        ("predict model.npz rows.npy --out rows.npy", "is one of the files that are read"),
        ("score model.npz rows.npy --samples rows.npy", "is one of the files that are read"),
        ("info rows.npy", "rows.npy is not the file of a mixture"),
    ],
)
def test_failures(capsys, folder, monkeypatch, command, text):
    before = sorted(os.listdir())
    message = failure(capsys, *words(command))
    assert text in message
    assert message.startswith(f"biglearn {words(command)[0]}: ")
    assert message.count("\n") == 1
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    "command",
    [
        "predict model.npz rows_{rank}.npy --out rows_{rank}.npy",
        "predict model.npz rows_{rank}.npy --out rows_0.npy",
        "predict model.npz rows --out rows/a.npy",
        "predict model.npz rows --out rows/b/../b/a.npy",
        "predict model.npz rows --out link.npy",
        "predict model.npz linked --out rows/a.npy",
        "score model.npz rows.npy --sample-weight w_{rank}.npy --samples w_0.npy",
        "score model.npz rows --samples rows/a.npy",
        "fit rows.npy --components 2 --sample-weight w.npz --out w.npz",
        "fit rows --components 2 --out rows/c.npz",
        "fit rows --components 2 --out m.npz --checkpoint rows/c.npz",
        "fit rows.npy --components 2 --sample-weight w.npz --out m.npz --checkpoint w.npz",
        "fit w.checkpoint.npz --components 2 --out w.npz",
    ],
)
def test_what_is_read_is_not_written(capsys, folder, command):
    X = np.load("rows.npy")
    os.makedirs("rows/b")
    for name in ("rows_0", "rows/a", "rows/b/a"):
        np.save(f"{name}.npy", X)
    for name in ("rows/c", "w.checkpoint"):
        np.savez(f"{name}.npz", X=X)
    np.save("w_0.npy", np.ones(120))
    np.savez("w.npz", np.ones(120))
    os.symlink("rows/b/a.npy", "link.npy")
    os.symlink("rows", "linked")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    message = failure(capsys, *words(command))
    assert "is one of the files that are read: name another one to write" in message
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_another_process_reads_is_read(folder):
    options = Namespace(rows=["a_{rank}.npy", "b.npy"], sample_weight="w_{rank}.npy")
    names = ("a_0.npy", "a_1.npy", "b.npy", "w_0.npy", "w_1.npy")
    assert list(files_read(options, 2)) == list(map(Path, names))


def test_files_beside_those_that_are_read_may_be_written(capsys, folder):
    pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    os.mkdir("rows")
    pandas.DataFrame(np.load("rows.npy"), columns=list("abc")).to_parquet("rows/x.parquet")
    for _ in range(2):
        assert main(words("predict model.npz rows --out rows/labels.npy")) == 0


def test_columns_are_found_in_a_folder_of_each_process(capsys, folder):
    pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    os.mkdir("rows_0")
    frame = pandas.DataFrame(np.load("rows.npy"), columns=list("abc")).assign(id="x")
    frame.to_parquet("rows_0/x.parquet")
    random_gmm(0).with_feature_names(list("abc")).save("named.npz")
    for more in ("", " --columns a,b,c"):
        assert main(words("score named.npz rows_{rank}" + more)) == 0


def test_outputs_are_refused_before_the_fit(capsys, folder, monkeypatch):
    def fitted(*_, **__):
        raise AssertionError("the fit went on")

    monkeypatch.setattr(BigLearnEM, "fit", fitted)
    os.mkdir("m.npz")
    assert "m.npz is a folder" in failure(capsys, *words("fit rows.npy --components 2 --out m.npz"))


def test_rows_that_fail_half_way_leave_nothing(capsys, folder, monkeypatch):
    monkeypatch.setattr("biglearn_core.estimators.blocks._ANSWERED", 40)
    X = np.load("rows.npy")
    X[100] = np.inf
    np.save("rows.npy", X)
    before = sorted(os.listdir())
    for out in (
        "predict model.npz rows.npy --out l.npy",
        "score model.npz rows.npy --samples l.npy",
    ):
        assert "infinity" in failure(capsys, *words(out))
        assert sorted(os.listdir()) == before


def test_rows_that_go_while_they_are_read_are_named(capsys, folder, monkeypatch):
    from biglearn_core.rows.files import NpyRows

    def blocks(*_):
        raise FileNotFoundError(2, "rows.npy has gone since it was opened")
        yield

    monkeypatch.setattr(NpyRows, "blocks", blocks)
    message = failure(capsys, *words("predict model.npz rows.npy --out l.npy"))
    assert message == "biglearn predict: rows.npy has gone since it was opened\n"


def test_errors_of_the_library_are_told_with_their_kind(capsys, folder, monkeypatch):
    def fit(*_, **__):
        raise RuntimeError("an unforeseen one")

    monkeypatch.setattr(BigLearnEM, "fit", fit)
    command = words("fit rows.npy --components 2 --out m.npz")
    message = failure(capsys, *command)
    assert message == "biglearn fit: RuntimeError: an unforeseen one (--debug shows where)\n"
    assert main([*command, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_processes_without_torchrun_are_refused(capsys, folder, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    message = failure(capsys, *words("score model.npz rows.npy"))
    assert "WORLD_SIZE=2" in message
    assert "RANK, MASTER_ADDR, MASTER_PORT is not set" in message


def test_the_first_process_alone_tells_of_wrong_usage(capsys, folder, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert usage(capsys, "fit") == ""
    assert main(["info", "model.npz"]) == 0
    assert capsys.readouterr().out == ""


def test_torchrun_takes_no_option_for_its_own(capsys):
    """It reads all words for abbreviations of its options, those of the program's as well."""
    theirs = [s for action in get_args_parser()._actions for s in action.option_strings]
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        help_ = capsys.readouterr().out
        own = {word.strip("[],|()") for word in help_.split() if word.startswith(("--", "[--"))}
        assert "--debug" in own
        for option in own - {"--help"}:
            assert not [name for name in theirs if name.startswith(option)], (command, option)


def test_seeds_go_to_the_end_of_their_range():
    assert arguments.seed(str(2**32 - 1)) == 2**32 - 1
    with pytest.raises(Exception, match="4294967296"):
        arguments.seed(str(2**32))
