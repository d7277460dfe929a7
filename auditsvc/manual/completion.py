"""Completion for bash, zsh and fish, made from the commands and the program's own names.

    commands, names -> the text of a script

The scripts know verbs, options and their fixed values, names of system calls, record types,
views, rule sets, reports, settings, words for times, and keys: those of the shipped sets, and
those in the rule files of the host. They start no program of ours, so that they answer at once:
but for containers and units, which only the store knows. Of these, names with a character that a
shell could take for its own are left out: who makes a container chooses its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditsvc.manual.commands import Command, Parameter

FILES: Final = "files"
KEYS: Final = "keys"
_CHOICE: Final = "fixed:"
_OPTIONS: Final = {
    "--key": KEYS,
    "--syscall": "calls",
    "--message": "types",
    "--start": "moments",
    "--end": "moments",
    "--since": "times",
    "--until": "times",
    "--rules": "sets",
    "--arch": "machines",
    "--by": "groups",
    "--container": "containers",
    "--unit": "units",
}
"""Which names the value of an option is one of."""
_OF_VERB: Final = {("top", "--by"): "live_groups"}
"""The same, where an option means something else than those of other commands."""
_METAVARS: Final = {"FILE": FILES, "PATH": FILES, "DIR": FILES, "TIME": "times", "URL": "stores"}
_ARGUMENTS: Final = {
    "query": "views",
    "report": "reports",
    "config show": "settings",
    "rules check": "sets",
    "rules diff": "sets",
    "rules load": "sets",
    "rules report": "sets",
}
_WITH_FILES: Final = ("sets",)
"""Names that may also be files."""
_FIXED: Final = {
    "times": ("today", "yesterday", "-1h", "-24h", "-7d"),
    "machines": ("b64", "b32", "x86_64", "i386", "aarch64"),
    "stores": ("sqlite:////", "postgresql://"),
}


@dataclass(frozen=True, slots=True)
class Names:
    """What the scripts know beside the commands, by kind."""

    words: Mapping[str, Sequence[str]]

    def all(self) -> dict[str, Sequence[str]]:
        """Give all kinds with their words."""
        return {**_FIXED, **self.words}


@dataclass(frozen=True, slots=True)
class _Verb:
    """A command as the scripts see it."""

    name: str
    """`rules check`; "" is the program."""
    verbs: tuple[tuple[str, str], ...]
    """Verbs of a group, with their summaries."""
    options: tuple[tuple[Parameter, str], ...]
    """Options with the kind of their value: a kind of names, `fixed: a b`, or ""."""
    argument: str


def _verbs(commands: Sequence[Command]) -> list[_Verb]:
    summaries = {command.words: command.summary for command in commands}
    made = []
    for command in commands:
        name = " ".join(command.words)
        made.append(
            _Verb(
                name,
                tuple((verb, summaries[(*command.words, verb)]) for verb in command.verbs),
                tuple((option, _kind(name, option)) for option in command.options),
                _ARGUMENTS.get(name) or _kind(name, *command.arguments[:1]),
            )
        )
    return made


def _kind(verb: str, parameter: Parameter | None = None) -> str:
    if parameter is None:
        return ""
    for name in parameter.names:
        if kind := _OF_VERB.get((verb, name)) or _OPTIONS.get(name):
            return kind
    if parameter.choices:
        return f"{_CHOICE}{' '.join(parameter.choices)}"
    return _METAVARS.get(parameter.metavar.rstrip("."), "")


# --- bash and zsh -------------------------------------------------------------------------

_FIND: Final = (
    "find /etc/auditsvc/rules.d /etc/audit/rules.d -name '*.rules' -exec cat {} + 2>/dev/null"
)
_KEYS_SH: Final = rf"""{_FIND} |
        sed -nE 's/.*(-k *|key=)([^ ]+).*/\2/p'"""

_FROM_STORE: Final = (
    "auditsvc query --timeout 2 --format csv"
    " \"SELECT DISTINCT fields ->> '{0}' FROM events WHERE type = 'DAEMON_CONFIG'"
    " AND fields ->> 'op' = 'cgroup'{1}\" 2>/dev/null | grep -E '^[A-Za-z0-9_.@:-]+$'"
)
"""What names of places are asked for with: the field, and where more stand; a shell's command."""
_MORE_NAMES: Final = (
    " UNION SELECT DISTINCT fields ->> 'name' FROM events WHERE type = 'DAEMON_CONFIG'"
    " AND fields ->> 'op' = 'cgroup'"
)
_STORED: Final = {
    "containers": _FROM_STORE.format("container", _MORE_NAMES),
    "units": _FROM_STORE.format("unit", ""),
}

_SHELL: Final = r"""
# The command of a line, from its words: `rules check`.
_auditsvc_verb() {
  local word skip= verb=
  for word in "$@"; do
    if [ "$word" = = ]; then skip=1; continue; fi  # bash makes three words of --config=FILE
    if [ -n "$skip" ]; then skip=; continue; fi
    case $word in
      --config) skip=1 ;;
      -*) ;;
      *)
        if [ -z "$verb" ]; then
          verb=$word
          case $verb in %(groups)s) ;; *) break ;; esac
        else
          verb="$verb $word"; break
        fi ;;
    esac
  done
  printf '%%s' "$verb"
}
_auditsvc_names() {
  case $1 in
%(names)s
  esac
}
# What a value is: of an option, or "" for a command's argument.
_auditsvc_kind() {
  case "$1|$2" in
%(kinds)s
  esac
}
_auditsvc_options() {
  case $1 in
%(options)s
  esac
}
_auditsvc_verbs() {
  case $1 in
%(verbs)s
  esac
}
# The words that may stand at a place: command, the word before, the word that was begun.
_auditsvc_words() {
  local kind
  kind=$(_auditsvc_kind "$1" "$2")
  [ -n "$kind" ] || case $3 in
    -*) _auditsvc_options "$1"; return ;;
    *)
      if [ -n "$(_auditsvc_verbs "$1")" ]; then _auditsvc_verbs "$1"; return; fi
      kind=$(_auditsvc_kind "$1" "") ;;
  esac
  case $kind in
    fixed:*) printf '%%s\n' "${kind#fixed:}" | tr ' ' '\n' ;;
    files) printf 'FILES\n' ;;
    ?*) _auditsvc_names "$kind" ;;
  esac
}
"""
_BASH_END: Final = r"""
_auditsvc() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb words before=
  # --OPTION=VALUE is three words.
  if [ "$cur" = = ]; then
    cur=
  elif [ "$prev" = = ]; then
    prev=${COMP_WORDS[COMP_CWORD-2]}
  fi
  verb=$(_auditsvc_verb "${COMP_WORDS[@]:1:COMP_CWORD-1}")
  words=$(_auditsvc_words "$verb" "$prev" "$cur")
  # SQL is one word in quotes: its last part is completed.
  if [ "$verb" = query ] && [[ $cur == *[[:space:],\(]* ]]; then
    before=${cur%"${cur##*[[:space:],\(]}"}
    before=${before#[\'\"]}
    cur=${cur##*[[:space:],\(]}
  elif [[ $cur == *,* && $'\n'"$words"$'\n' != *$'\nFILES\n'* ]]; then  # a list: its last part
    before=${cur%,*},
    cur=${cur##*,}
  fi
  mapfile -t COMPREPLY < <(IFS=$'\n'; compgen -P "$before" -W "${words//FILES/}" -- "$cur")
  case $'\n'"$words"$'\n' in
    *$'\nFILES\n'*)
      mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur")
      compopt -o filenames 2> /dev/null ;;
  esac
}
complete -F _auditsvc auditsvc
"""
_ZSH_END: Final = r"""
_auditsvc() {
  local verb cur=${words[CURRENT]} prev=${words[CURRENT-1]}
  local -a found
  if [[ $cur == --*=* ]]; then
    prev=${cur%%=*} cur=${cur#*=}
    compset -P 1 '*='
  fi
  verb=$(_auditsvc_verb "${(@)words[2,CURRENT-1]}")
  found=(${(f)"$(_auditsvc_words "$verb" "$prev" "$cur")"})
  if (( ${found[(Ie)FILES]} )); then
    found=(${found:#FILES})
    _files
  elif [[ $verb == query && $cur == *[[:space:],\(]* ]]; then  # SQL: its last word
    compset -P '*[[:space:],(]'
  elif [[ $cur == *,* ]]; then  # a list: its last part is completed
    compset -P '*,'
  fi
  (( $#found )) && compadd -- $found
}
# Autoloaded, this file is the function; sourced, it makes it known.
if [ "$funcstack[1]" = "_auditsvc" ]; then _auditsvc "$@"; else compdef _auditsvc auditsvc; fi
"""


def bash(commands: Sequence[Command], names: Names) -> str:
    """Write the script for bash."""
    return f"# Completion of auditsvc for bash.{_shell(commands, names)}{_BASH_END}"


def zsh(commands: Sequence[Command], names: Names) -> str:
    """Write the function for zsh, a file `_auditsvc` in its fpath."""
    return (
        f"#compdef auditsvc\n# Completion of auditsvc for zsh.{_shell(commands, names)}{_ZSH_END}"
    )


def _shell(commands: Sequence[Command], names: Names) -> str:
    verbs = _verbs(commands)
    listed = [
        _case(kind, words, f"{_KEYS_SH} ;" if kind == KEYS else "")
        for kind, words in names.all().items()
    ] + [f"    '{kind}') {command} ;;" for kind, command in _STORED.items()]
    kinds = [
        f"    {'|'.join(_quoted(f'{verb.name}|{name}') for name in option.names)})"
        f" printf '%s' {_quoted(kind)} ;;"
        for verb in verbs
        for option, kind in verb.options
        if kind
    ] + [
        f"    {_quoted(f'{verb.name}|')}) printf '%s' {_quoted(verb.argument)} ;;"
        for verb in verbs
        if verb.argument
    ]
    return _SHELL % {
        "groups": "|".join(verb.name for verb in verbs if verb.verbs and verb.name),
        "names": "\n".join(listed),
        "kinds": "\n".join(kinds),
        "options": "\n".join(_case(verb.name, [*_spelled(verb), "--help"]) for verb in verbs),
        "verbs": "\n".join(
            _case(verb.name, [name for name, _ in verb.verbs]) for verb in verbs if verb.verbs
        ),
    }


def _spelled(verb: _Verb) -> list[str]:
    return [name for option, _ in verb.options for name in option.names]


def _case(name: str, words: Sequence[str], more: str = "") -> str:
    files = " FILES" if name in _WITH_FILES else ""
    lines = " ".join(_quoted(word) for word in words)
    return f"    {_quoted(name)}) {more} printf '%s\\n' {lines}{files} ;;"


def _quoted(text: str) -> str:
    """Quote a word for a shell; words of ours have no quotes."""
    if re.search(r"['\\]", text):
        raise ValueError(text)
    return f"'{text}'"


# --- fish ---------------------------------------------------------------------------------

_FISH: Final = r"""# Completion of auditsvc for fish.
function __auditsvc_verb
    set -l verb
    set -l skip
    for word in (commandline -opc)[2..]
        if test -n "$skip"
            set skip
            continue
        end
        switch $word
            case --config
                set skip 1
            case '-*'
            case '*'
                set verb $verb $word
                contains -- $verb[1] %(groups)s; or break
                test (count $verb) -ge 2; and break
        end
    end
    echo "$verb"
end
function __auditsvc_at
    test (__auditsvc_verb) = "$argv"
end
function __auditsvc_keys
    %(find)s |
        string replace -rf '.*(-k *|key=)([^ ]+).*' '$2'
    printf '%%s\n' %(keys)s
end
# The words of a kind, each behind what was begun of a list or a statement: that stays.
function __auditsvc_last
    set -l begun (commandline -ct | string replace -r '^(-[^=]*=)?["\']?' '')
    set -l before (string match -r "^.*[$argv[2]]" -- "$begun")
    printf '%%s\n' "$before"(__auditsvc_$argv[1])
end
complete -c auditsvc -f
"""


def fish(commands: Sequence[Command], names: Names) -> str:
    """Write the script for fish."""
    verbs, known = _verbs(commands), names.all()
    groups = " ".join(verb.name for verb in verbs if verb.verbs and verb.name)
    lines = [
        _FISH
        % {
            "groups": groups,
            "keys": " ".join(map(_quoted, known[KEYS])),
            "find": _FIND,
        }
    ]
    for kind, words in known.items():
        if kind != KEYS:
            text = " ".join(map(_quoted, words))
            lines.append(f"function __auditsvc_{kind}\n    printf '%s\\n' {text}\nend\n")
    for kind, command in _STORED.items():
        lines.append(f"function __auditsvc_{kind}\n    {command}\nend\n")
    for verb in verbs:
        at = f"complete -c auditsvc -n '__auditsvc_at {verb.name}'".replace(" '", " '", 1)
        for name, summary in verb.verbs:
            lines.append(f"{at} -a {name} -d {_described(summary)}\n")
        for option, kind in verb.options:
            lines.append(f"{at}{_fish_option(option, kind)}\n")
        if verb.argument:
            lines.append(f"{at} {_fish_values(verb.argument)}\n")
    return "".join(lines)


def _fish_option(option: Parameter, kind: str) -> str:
    spelled = ""
    for name in option.names:
        bare = name.lstrip("-")
        letter = "l" if name.startswith("--") else "s" if len(bare) == 1 else "o"
        spelled += f" -{letter} {bare}"
    value = ""
    if option.metavar:
        value = f" -r {_fish_values(kind)}" if kind else " -x"
    return f"{spelled}{value} -d {_described(option.help)}"


def _fish_values(kind: str) -> str:
    if kind.startswith(_CHOICE):
        return f"-f -a '{kind.removeprefix(_CHOICE)}'"
    if kind == FILES:
        return "-F"
    files = "-F" if kind in _WITH_FILES else "-f"
    between = r"\s,\(" if kind == "views" else ","  # SQL, or a list
    return f"{files} -a '(__auditsvc_last {kind} \"{between}\")'"


def _described(text: str) -> str:
    text = text.partition(". ")[0].rstrip(".")
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
