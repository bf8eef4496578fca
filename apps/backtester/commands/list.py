"""`backtester list`: the saved runs."""

from onetape.cli import options


def list_runs(*, json_: options.Json = False) -> None:
    """List the saved runs in data/runs, the newest last."""
    from backtester.rendering.result import convert_to_builtins
    from onetape.backtest.storage.runs import RUNS_FOLDER, read_stored_runs
    from onetape.cli.output import get_terminal_width, note, print_json, print_line
    from onetape.core.message_text import format_count

    runs, damaged = read_stored_runs()
    if json_:
        print_json(
            {
                "folder": RUNS_FOLDER,
                "runs": [
                    {
                        "id": run.id,
                        "folder": run.folder,
                        "made": run.manifest.made,
                        **convert_to_builtins(run.summary),
                    }
                    for run in runs
                ],
                "damaged": damaged,
            }
        )
        return
    if runs:
        from backtester.rendering.runs import format_run_list

        print_line(format_run_list(runs, width=get_terminal_width()))
    print_line(
        f"{format_count(len(runs), 'run')} in {RUNS_FOLDER}; to remove one, delete its folder"
    )
    for text in damaged:
        note(text)
