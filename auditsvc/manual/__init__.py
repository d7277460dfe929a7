"""The documentation that is made from the program: settings, commands, man pages, completion.

Each fact has one source: a setting its model (`auditsvc.config`), a command its typer function,
a view docs/sql.md. Nothing here reads a configuration or a store.
"""
