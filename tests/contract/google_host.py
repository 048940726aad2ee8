"""Google's host name on this machine, for clients that know no other: an HTTPS proxy that answers in its place.

What a company's proxy does for such a client: it takes every tunnel to the host itself, with a certificate of its own
authority, and passes what is in it on to the gateway, byte by byte.
"""

import asyncio
import datetime
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

GOOGLE = "generativelanguage.googleapis.com"


@dataclass(frozen=True)
class Stand:
    """`environment` is all that the client's user sets; `tunnels` are the addresses that clients asked for."""

    environment: dict[str, str]
    tunnels: list[str]


@contextmanager
def googles_host(gateway_port: int, folder: Path) -> Iterator[Stand]:
    """Runs until the block ends; `folder` takes the certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_certified(folder))
    loop, tunnels = asyncio.new_event_loop(), []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, address, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            tunnels.append(address)
            if (method, address) != ("CONNECT", f"{GOOGLE}:443"):
                writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
                return
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.start_tls(context)
            await _relay(reader, writer, *await asyncio.open_connection("127.0.0.1", gateway_port))
        finally:
            writer.close()

    server = loop.run_until_complete(asyncio.start_server(tunnel, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield Stand({"HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(folder / "authority.pem")}, tunnels)
    finally:
        asyncio.run_coroutine_threadsafe(_closed(server), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


async def _closed(server: asyncio.Server) -> None:
    server.close()
    tunnels = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tunnels:
        task.cancel()
    await asyncio.gather(*tunnels, return_exceptions=True)


async def _relay(
    client_in: asyncio.StreamReader,
    client_out: asyncio.StreamWriter,
    gateway_in: asyncio.StreamReader,
    gateway_out: asyncio.StreamWriter,
) -> None:
    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()

    pumps = [asyncio.ensure_future(pump(client_in, gateway_out)), asyncio.ensure_future(pump(gateway_in, client_out))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in pumps:
            each.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        gateway_out.close()


def _certified(folder: Path) -> tuple[Path, Path]:
    """A certificate for Google's host and its key, made by an authority whose own stands in `authority.pem`."""
    authority_key, host_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority of this test")])
    host = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, GOOGLE)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    ) | {"decipher_only": False}
    root = (
        _builder(authority, authority, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    leaf = (
        _builder(host, authority, host_key)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(GOOGLE)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(root.public_bytes(pem))
    (folder / "host.pem").write_bytes(leaf.public_bytes(pem))
    secret = host_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "host.key").write_bytes(secret)
    return folder / "host.pem", folder / "host.key"


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
