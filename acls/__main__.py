"""``python -m acls``: creates the ACLs and SCRAM users of the pipeline's principals, or prints commands that create them."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from aiokafka.errors import KafkaError

from acls.acl import Acl, acls_of, principals_of
from acls.admin import create
from acls.kafka_acls_commands import commands
from acls.scram_users import read_passwords, set_passwords
from acls.table import markdown
from libs.events.rights import ROLES
from libs.runtime.errors import PipelineError, described
from libs.runtime.kafka_security.bootstrap_servers import parse_bootstrap_servers
from libs.runtime.kafka_security.login_rejections import unless_rejected
from libs.runtime.kafka_security.security import KafkaAddress
from libs.runtime.kafka_security.settings import kafka_security

_BY_NAME = {role.name: role for role in ROLES}


def main() -> None:
    """Create or print; exits with 1 if the cluster rejects a request."""
    arguments = _arguments()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    roles = [_BY_NAME[name] for name in dict.fromkeys(arguments.roles or _BY_NAME)]
    principals = principals_of(roles, arguments.topic_prefix, dict(arguments.principals))
    acls = list(acls_of(roles, arguments.topic_prefix, principals, may_create=arguments.may_create))
    if arguments.print == "table":
        sys.stdout.write(markdown())
    elif arguments.print == "commands":
        sys.stdout.writelines(f"{command}\n" for command in commands(acls, arguments.bootstrap))
    elif arguments.dry_run:
        sys.stdout.writelines(f"{acl}\n" for acl in acls)
    else:
        _create(arguments, acls, principals)


def _create(arguments: argparse.Namespace, acls: Sequence[Acl], principals: Mapping[str, str]) -> None:
    try:
        passwords = read_passwords(arguments.scram_passwords, principals) if arguments.scram_passwords else {}
        kafka = KafkaAddress(arguments.bootstrap, kafka_security())
        asyncio.run(unless_rejected(_set_up(kafka, acls, passwords)))
    except PipelineError as error:
        sys.exit(f"acls: {described(error)}")
    except (KafkaError, OSError) as error:
        sys.exit(f"acls: the broker cannot be reached: {error!r}")
    sys.stdout.writelines(f"{acl}\n" for acl in acls)
    sys.stdout.write(
        f"{len(acls)} ACLs are there" + (f", {len(passwords)} users have passwords\n" if passwords else "\n")
    )


async def _set_up(kafka: KafkaAddress, acls: Sequence[Acl], passwords: Mapping[str, str]) -> None:
    await create(kafka, acls)
    await set_passwords(kafka, passwords)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m acls", description=__doc__)
    parser.add_argument(
        "--bootstrap",
        type=_servers,
        default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or "localhost:9092",
        metavar="HOST:PORT",
        help="the broker (default: KAFKA_BOOTSTRAP_SERVERS, or localhost:9092)",
    )
    parser.add_argument(
        "--topic-prefix", default=os.environ.get("TOPIC_PREFIX", ""), help="the pipeline's TOPIC_PREFIX"
    )
    parser.add_argument(
        "--role",
        action="append",
        choices=list(_BY_NAME),
        dest="roles",
        help="only this role's; may be repeated (default: all)",
    )
    parser.add_argument(
        "--principal",
        type=_principal,
        action="append",
        default=[],
        dest="principals",
        metavar="ROLE=User:NAME",
        help="another principal than User:{TOPIC_PREFIX}{ROLE}, as in processor=User:CN=processor; may be repeated",
    )
    parser.add_argument(
        "--without-create",
        action="store_false",
        dest="may_create",
        help="no right to create topics, for a cluster whose topics others make",
    )
    parser.add_argument(
        "--scram-passwords",
        type=Path,
        metavar="FOLDER",
        help="make the principals users for SCRAM-SHA-512, each with the password in FOLDER/ROLE",
    )
    parser.add_argument("--dry-run", action="store_true", help="list the ACLs, and create none")
    parser.add_argument(
        "--print",
        choices=["commands", "table"],
        help="print commands for kafka-acls.sh, or the table of docs/security.md, and create none",
    )
    return parser.parse_args()


def _servers(text: str) -> str:
    try:
        return parse_bootstrap_servers(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _principal(text: str) -> tuple[str, str]:
    role, _, principal = text.partition("=")
    if role not in _BY_NAME or not principal.startswith("User:") or principal == "User:":
        raise argparse.ArgumentTypeError(
            f"{text!r} is not like processor=User:name, with one of the roles {', '.join(_BY_NAME)}"
        )
    return role, principal


if __name__ == "__main__":
    main()
