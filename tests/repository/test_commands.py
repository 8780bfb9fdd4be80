"""Every command refuses what it does not know, and nothing has then been done."""

import importlib
import importlib.util

import pytest

from tests.helpers import load_script

MODULES = (
    *("reproduce.readme", "reproduce.report", "reproduce.compare", "reproduce.run"),
    "reproduce.keep",
    *("datasets.__main__", "command.main"),
)
SCRIPTS = ("docs/build.py", "benchmarks/table.py", "benchmarks/scale.py", "tools/lock.py")


def loaded(command):
    if command in MODULES:
        return importlib.import_module(f"biglearn_core.{command}")
    return load_script(command)


@pytest.mark.parametrize("command", [*MODULES, *SCRIPTS])
@pytest.mark.parametrize("arguments", [["--foo"], ["--root=.", "--foo"], ["-x"]])
def test_an_unknown_option_is_refused(command, arguments, monkeypatch, capsys):
    def written(*_, **__):
        raise AssertionError("the command went on")

    monkeypatch.setattr("biglearn_core.system.persistence.write_atomically", written)
    monkeypatch.setattr("subprocess.run", written)
    monkeypatch.setattr("sphinx.application.Sphinx.build", written)
    monkeypatch.setattr("sys.argv", [command, *arguments])
    module = loaded(command)
    if hasattr(module, "write_atomically"):
        monkeypatch.setattr(module, "write_atomically", written)
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 2
    assert arguments[-1] in capsys.readouterr().err


@pytest.mark.parametrize("command", [*MODULES[:-2], *SCRIPTS[1:]])
def test_a_word_where_none_belongs_is_refused(command, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [command, "gmm25"])
    with pytest.raises(SystemExit) as ended:
        loaded(command).main()
    assert ended.value.code == 2
    assert "unrecognized arguments: gmm25" in capsys.readouterr().err
