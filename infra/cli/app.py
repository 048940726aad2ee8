"""`gwctl`, the operator's command line."""

from typing import Annotated

import typer

from infra.cli import keys, usage
from infra.cli.deployment import Target

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # their tracebacks show local values, keys among them
    help="Keys and usage of a gateway: the one that `make run` runs here, or a deployed one.",
)
app.add_typer(keys.app, name="keys")
app.add_typer(usage.app, name="usage")


@app.callback()
def chosen(
    context: typer.Context,
    stack: Annotated[
        str | None, typer.Option(help="The CloudFormation stack of a deployed gateway, in your AWS account and region.")
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="Instead of a stack: its stage, with the table's name in USAGE_TABLE.")
    ] = None,
) -> None:
    """Keeps what was named for the command."""
    context.obj = Target(stack, stage)
