"""`graphjit cache`: what is stored on disk, where, and how to delete it."""

from __future__ import annotations

import json

import click

from graphjit.core import disk_cache


@click.group("cache")
def cache_group() -> None:
    """Show or clear the compiled code that is stored on disk."""


@cache_group.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def info(as_json: bool) -> None:
    """Say how much is stored, how much may be, and whether the cache is in use."""
    found = disk_cache.info()
    if as_json:
        click.echo(json.dumps(found._asdict(), indent=1))
        return
    click.echo(f"folder   {found.folder}")
    click.echo(f"entries  {found.entries}")
    click.echo(f"bytes    {found.bytes} of at most {found.limit_bytes}")
    click.echo(f"used     {'no: ' + found.problem if found.problem else 'yes'}")


@cache_group.command()
def clear() -> None:
    """Remove all entries."""
    count = disk_cache.clear()
    click.echo(f"removed {count} {'entry' if count == 1 else 'entries'}")


@cache_group.command()
def path() -> None:
    """Print the folder."""
    click.echo(disk_cache.code_folder())


__all__ = ["cache_group"]
