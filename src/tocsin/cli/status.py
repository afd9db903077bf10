"""How a command ends: what went wrong decides the exit code, and what the user reads on stderr.

0    fine                            78   something was wrong before the first reading
1    something broke on the way      130  Ctrl-C
2    wrong usage                     143  SIGTERM
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from tocsin.cli.terminal import say, speak
from tocsin.errors import ConfigError, SetupError, TocsinError

BROKE = 1
UNUSABLE = 78
INTERRUPTED = 130


class Commands(TyperGroup):
    """The commands, each of which ends with an exit code and never with a stack trace."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        speak("console")
        with explained():
            return super().invoke(ctx)


@contextmanager
def explained() -> Iterator[None]:
    """Make an exit code and a sentence of whatever is raised within."""
    try:
        yield
        sys.stdout.flush()
    except (ConfigError, SetupError) as error:
        _end(error, str(error), UNUSABLE)
    except TocsinError as error:
        _end(error, str(error), BROKE)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:  # the reader had enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except OSError as error:
        _end(error, f"{error.filename or 'the output'}: {error.strerror or error}", BROKE)
    except Exception as error:
        if isinstance(error, typer.Abort) or hasattr(error, "exit_code"):  # usage, said by Typer
            raise
        _end(error, _bug(error), BROKE)


def _end(error: BaseException, message: str, code: int) -> None:
    if os.environ.get("TOCSIN_DEBUG"):
        traceback.print_exception(error)
    say(message, "error", event="failed", exit_code=code)
    raise typer.Exit(code) from None


def _bug(error: Exception) -> str:
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return f"This is a bug in Tocsin, not your mistake: {what}. Run again with TOCSIN_DEBUG=1 for the trace to report."
