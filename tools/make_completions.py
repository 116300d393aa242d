"""Write the completions of one shell to stdout. Called by `make install`.

    make_completions.py bash|zsh|fish

Static text: nothing is asked of Pacha while a person presses Tab.
"""

from __future__ import annotations

import sys

from command_line import Option, Verb, verbs


def options_of(verb: Verb) -> list[Option]:
    """The options of a verb and of its second words."""
    return [option for each in (verb, *verb.actions) for option in each.options if option.names]


def words(verb: Verb) -> str:
    """What may follow a verb: option names, second words and the choices of arguments."""
    found = [name for option in options_of(verb) for name in option.names]
    found += [action.name for action in verb.actions]
    found += [choice for option in verb.options if not option.names for choice in option.choices]
    return " ".join(dict.fromkeys(found))


def bash(known: list[Verb]) -> str:
    """Completion for bash, with or without the bash-completion package; paths where nothing else fits."""
    cases = "\n".join(f"        {verb.name}) words='{words(verb)}' ;;" for verb in known)
    values = "\n".join(
        f"        {verb.name}:{name}) words='{' '.join(option.choices)}' ;;"
        for verb in known
        for option in options_of(verb)
        if option.choices
        for name in option.names
    )
    return f"""\
# bash completion for pacha, made from its parsers
_pacha() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} verb='' word words=''
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in -*) ;; *) verb=$word; break ;; esac
    done
    case $verb in
        '') words='{" ".join(verb.name for verb in known)} --help --version' ;;
{cases}
    esac
    case $verb:${{COMP_WORDS[COMP_CWORD-1]}} in
{values or "        :) ;;"}
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    # No word fits: a path, for which bash itself does the quoting.
    if [ -n "$verb" ] && [ ${{#COMPREPLY[@]}} -eq 0 ] || [ -n "$verb" ] && [ -z "$current" ]; then
        COMPREPLY=()
        compopt -o default
    fi
}}
complete -F _pacha pacha
"""


def quoted(text: str) -> str:
    """A single-quoted word of a shell, also where the text holds a quote."""
    return "'" + text.replace("'", "'\\''") + "'"


def zsh(known: list[Verb]) -> str:
    """Completion for zsh: verbs and options with their help, values by their choices or as paths."""
    verbs_ = "\n".join("        " + quoted(f"{verb.name}:{verb.summary}") for verb in known)
    cases = "\n".join(
        f"        {verb.name})\n            _arguments -s \\\n{zsh_arguments(verb)}\n            ;;"
        for verb in known
    )
    return f"""\
#compdef pacha
# zsh completion for pacha, made from its parsers
_pacha() {{
    local curcontext=$curcontext state line
    local -a verbs
    verbs=(
{verbs_}
    )
    _arguments -C '--version[print the version]' '1:verb:->verb' '*::argument:->argument'
    case $state in
        verb) _describe verb verbs ;;
        argument) case $line[1] in
{cases}
        esac ;;
    esac
}}
_pacha "$@"
"""


def zsh_arguments(verb: Verb) -> str:
    """The specifications that _arguments wants, one a line."""
    lines = []
    for option in options_of(verb):
        text = "".join("\\" + char if char in "[]:\\" else char for char in option.help)
        value = f":{option.value.replace(':', ' ')}:{zsh_value(option)}" if option.value else ""
        lines += [f"                {quoted(f'*{name}[{text}]{value}')} \\" for name in option.names]
    seconds = " ".join(action.name for action in verb.actions)
    if seconds:
        lines.append(f"                {quoted(f'1:action:({seconds})')} \\")
    return "\n".join([*lines, "                '*:path:_files'"])


def zsh_value(option: Option) -> str:
    """How zsh finds the values of one option."""
    return f"({' '.join(option.choices)})" if option.choices else "_files"


def fish(known: list[Verb]) -> str:
    """Completion for fish; paths are what it offers by itself."""
    lines = ["# fish completion for pacha, made from its parsers"]
    for verb in known:
        lines.append(
            f"complete -c pacha -n __fish_use_subcommand -f -a {verb.name} -d {fish_quoted(verb.summary)}"
        )
        when = f"-n '__fish_seen_subcommand_from {verb.name}'"
        for option in options_of(verb):
            names = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
            )
            value = (
                f" -x -a '{' '.join(option.choices)}'" if option.choices else " -r" if option.value else ""
            )
            lines.append(f"complete -c pacha {when} {names}{value} -d {fish_quoted(option.help)}")
        lines += [
            f"complete -c pacha {when} -f -a {action.name} -d {fish_quoted(action.summary)}"
            for action in verb.actions
        ]
    return "\n".join([*lines, ""])


def fish_quoted(text: str) -> str:
    """A single-quoted word of fish, which has other rules than sh."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


if __name__ == "__main__":
    sys.stdout.write({"bash": bash, "zsh": zsh, "fish": fish}[sys.argv[1]](verbs()))
