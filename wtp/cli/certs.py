"""`wtp certs`: the router's development certificate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wtp.cli.options import Output, OutputFormat, Profile, load_settings, option
from wtp.cli.out import put
from wtp.config.load import certs_folder
from wtp.errors import StorageError, UsageError

if TYPE_CHECKING:
    from wtp.transport.certs import Certificate

app = typer.Typer(no_args_is_help=True, help="Create and show the router's certificate.")

Folder = Annotated[str | None, option("router.certs", "--certs", metavar="DIR")]
MAX_DAYS = 14
"""Longest validity with which browsers take a certificate by its hash (W3C WebTransport)."""


@app.command()
def create(
    ctx: typer.Context,
    certs: Folder = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="Name or address it is for; may be repeated."),
    ] = None,
    days: Annotated[int, typer.Option("--days", help="Days of validity, 1 to 14.")] = 13,
    force: Annotated[bool, typer.Option("--force", help="Replace one that is valid.")] = False,
    output: OutputFormat = Output.TABLE,
    profile: Profile = "local",
) -> None:
    """Create a certificate and its key, and show them."""
    from wtp.transport.certs import DEFAULT_HOSTS, create_certificate

    if not 1 <= days <= MAX_DAYS:
        raise UsageError(
            f"--days {days} is out of bounds.",
            hint=f"Browsers take 1 to {MAX_DAYS} days; longer ones need a certificate authority.",
        )
    folder = certs_folder(load_settings(ctx))
    if not force and _usable(folder):
        raise UsageError(
            f"There is a valid certificate in {folder}.",
            hint="See it with `wtp certs show`, or replace it with --force.",
        )
    hosts = tuple(dict.fromkeys([*DEFAULT_HOSTS, *(host or [])]))
    _put(create_certificate(folder, hosts=hosts, days=days), folder, output)


@app.command()
def show(
    ctx: typer.Context,
    certs: Folder = None,
    output: OutputFormat = Output.TABLE,
    profile: Profile = "local",
) -> None:
    """Show the certificate: folder, validity, hash, and the line for publishers."""
    from wtp.transport.certs import load_certificate

    folder = certs_folder(load_settings(ctx))
    _put(load_certificate(folder), folder, output)


def _usable(folder: Path) -> bool:
    """Whether the folder holds a whole and valid certificate."""
    from wtp.transport.certs import load_certificate

    try:
        return not load_certificate(folder).expired
    except StorageError:
        return False


def _put(certificate: Certificate, folder: Path, output: Output) -> None:
    values: dict[str, Any] = {
        "folder": str(folder.resolve()),
        "valid_from": certificate.not_before.isoformat(),
        "valid_to": certificate.not_after.isoformat(),
        "expired": certificate.expired,
        "sha256": certificate.sha256,
    }
    rows = [
        f"folder     {values['folder']}",
        f"valid      {certificate.not_before:%Y-%m-%d %H:%M} to "
        f"{certificate.not_after:%Y-%m-%d %H:%M} UTC" + (" - EXPIRED" * certificate.expired),
        f"sha256     {certificate.sha256}",
        f"publish    --cert-hash {certificate.sha256}",
    ]
    put(values, "\n".join(rows), output)
