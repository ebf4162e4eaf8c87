"""Makes key files as OpenSSL and Python's `cryptography` write them: unencrypted PKCS#8 version 1, PEM.

    make_keys.py DIRECTORY [NAME=TYPE...]      TYPE: ed25519, p256, rsa (2048 bits), rsa3072, rsa4096

Writes DIRECTORY/NAME (mode 0600) and DIRECTORY/NAME.pub (SubjectPublicKeyInfo, PEM) for each. Without names it makes one
of each of the first three, named after its type. Prints {NAME: {"keyid", "keytype", "scheme"}}, the key ids as
securesystemslib computes them.
"""

import json
import os
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from securesystemslib.signer import SSlibKey

MAKERS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa4096": lambda: rsa.generate_private_key(65537, 4096),
}


def write(path, data, mode):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    directory, *wanted = sys.argv[1:]
    os.makedirs(directory, mode=0o700, exist_ok=True)
    described = {}
    for item in wanted or ["ed25519", "p256", "rsa"]:
        name, _, kind = item.partition("=")
        key = MAKERS[kind or name]()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = key.public_key()
        write(os.path.join(directory, name), pem, 0o600)
        spki = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        write(os.path.join(directory, name + ".pub"), spki, 0o644)
        known = SSlibKey.from_crypto(public)
        described[name] = {"keyid": known.keyid, "keytype": known.keytype, "scheme": known.scheme}
    print(json.dumps(described, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
