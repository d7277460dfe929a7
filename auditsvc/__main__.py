"""The command `auditsvc`, also as `python -m auditsvc`."""

import gc
import sys
from importlib import import_module

from auditsvc.verb import named


def main() -> None:
    """Run the command line.

    While its modules are loaded no garbage is searched for, as there is none: a tenth of the
    time of a short command. The signals of `run` are kept from here on: loading takes longer
    than a rotation or a manager waits before it sends one, and unhandled each would end it.
    """
    gc.disable()
    if named(sys.argv[1:])[0] == "run":
        import_module("auditsvc.host.signals").block_of_run()
    import_module("auditsvc.cli").main()


if __name__ == "__main__":
    main()
