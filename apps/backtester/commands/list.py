"""`backtester list`: the runs that were kept."""

from onetape.cli import options


def list_runs(*, json_: options.Json = False) -> None:
    """List the saved runs in data/runs, the newest last."""
    from backtester.rendering.result import plain
    from onetape.backtest.storage.runs import RUNS_FOLDER, stored_runs
    from onetape.cli.output import note, print_json, print_line, terminal_width
    from onetape.core.words import counted

    runs, damaged = stored_runs()
    if json_:
        print_json(
            {
                "folder": RUNS_FOLDER,
                "runs": [
                    {
                        "id": run.id,
                        "folder": run.folder,
                        "made": run.manifest.made,
                        **plain(run.summary),
                    }
                    for run in runs
                ],
                "damaged": damaged,
            }
        )
        return
    if runs:
        from backtester.rendering.runs import list_text

        print_line(list_text(runs, width=terminal_width()))
    print_line(f"{counted(len(runs), 'run')} in {RUNS_FOLDER}; to forget one, delete its folder")
    for text in damaged:
        note(text)
