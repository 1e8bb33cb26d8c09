//! 06: the vault.

super::codes! {
    VAULT_MALFORMED = 601, "this is not a vault", Usage, "check that it is the right file, and that nobody edited it";
    VAULT_NEWER = 602, "the vault was written by a newer version", Other, "use that version or a newer one";
    VAULT_DAMAGED = 603, "the vault is damaged", Trust, "put the newest good copy in its place; do not edit it";
    VAULT_FORGED = 604, "the vault was changed by somebody without its key", Trust, "keep this file as evidence, and put the newest good copy in its place";
    VAULT_DERIVATION_WEAK = 605, "the passphrase is protected too weakly", Refused, "open it with the program that wrote it, and raise the iterations there";
    VAULT_DERIVATION_HEAVY = 606, "the passphrase asks for too much work", Refused, "do not open it, unless it is known who wrote it";
    VAULT_NO_SLOT = 607, "the vault has no slot of this kind", NotFound, "use what it was made for: a passphrase, a key, an offline key or a passkey";
    VAULT_SECRET = 608, "this secret does not open the vault", Refused, "try again with the right passphrase, key or passkey";
    VAULT_LAST_SLOT = 609, "the vault would have no slot left", Conflict, "add another slot first";
    VAULT_SLOT_EXISTS = 610, "a slot has this name already", Conflict, "choose another name, or remove the slot first";
    VAULT_SLOT_UNKNOWN = 611, "the vault has no slot of this name", NotFound, "list the slots";
    VAULT_ENTRY_UNKNOWN = 612, "the vault has no such entry", NotFound, "list the entries";
    VAULT_ENTRY_EXPIRED = 613, "the secret has expired", Refused, "put a new one in its place";
    VAULT_ENTRY_TYPE = 614, "a secret of this type cannot be used so", Usage, "use a secret of the right type";
    VAULT_VALUE = 615, "the value is not of its type", Usage, "a private_key is PKCS#8 (DER; kosctl takes PEM as well) of Ed25519 or P-256, a totp_seed is base32 or an otpauth://totp/ URI; anything else is opaque";
    VAULT_FULL = 616, "the vault is full", Usage, "remove what is no longer needed, or make another vault";
    VAULT_PASSPHRASE = 617, "the passphrase is too short or too long", Usage, "take at least 12 characters, and at most 1 024 bytes";
    VAULT_NAME = 618, "this name cannot be used", Usage, "take a name of 1 to 128 bytes of visible characters";
    VAULT_PASSKEY_THERE = 619, "the vault has this passkey already", Conflict, "use it, or remove it first: kosctl vault passkey remove NAME --env ENVIRONMENT";
    VAULT_PASSKEY_NONE = 620, "the vault has no passkey that can be used here", NotFound, "open it with its passphrase, and add one: kosctl vault passkey add --env ENVIRONMENT";
    VAULT_PASSKEY_PRF = 621, "this passkey cannot open a vault", Refused, "take an authenticator and a browser with the PRF extension of WebAuthn (hmac-secret): a security key with a PIN, a phone, or the passkeys of a password manager that has it; and delete a passkey that was made for this";
    VAULT_PASSKEY_PERSON = 622, "the authenticator did not make sure of the person", Refused, "set a PIN, fingerprint or face on it: a passkey that a thief can use alone opens no vault";
    VAULT_PASSKEY_ANSWER = 623, "what the browser sent does not hold", Trust, "begin again in a browser that you trust; if it happens again, somebody is in between";
    VAULT_PASSKEY_CODE = 624, "too many wrong codes were typed into the page", Refused, "begin again; if it was not you, somebody else on this machine has tried to get in between";
    VAULT_PASSKEY_TIME = 625, "nobody used the page in time", Unreachable, "begin again: the page waits for five minutes";
    VAULT_PASSKEY_PORT = 626, "the page cannot be served", Other, "name a free port of 127.0.0.1 and ::1 with --port";
    VAULT_LOCKED = 630, "the vault is locked", Refused, "open it: kosctl vault unlock --env ENVIRONMENT";
    VAULT_BEHIND = 631, "the file of the vault is older than it should be", Trust, "keep this file as evidence, and put the newest good copy in its place";
    VAULT_FORKED = 632, "the file of the vault is not the one that was kept", Trust, "keep this file as evidence, and put the newest good copy in its place";
    VAULT_GONE = 633, "the file of the vault is gone", Trust, "put the newest good copy in its place";
    VAULT_UNKNOWN = 634, "there is no vault of this environment", NotFound, "see which there are: kosctl vault status; make one: kosctl vault unlock --create --env ENVIRONMENT";
    VAULT_EXISTS = 635, "there is a vault of this environment already", Conflict, "use it, or choose another environment";
    VAULT_ATTEMPTS = 636, "too many wrong passphrases", Unreachable, "wait five minutes, and try the right one";
    VAULT_NOT_SHARED = 637, "the vault has no shares", NotFound, "share it while somebody knows the passphrase: kosctl vault share --env ENVIRONMENT";
    VAULT_NOT_RECOVERED = 638, "shares are missing", Refused, "hand in the shares of other holders";
    VAULT_ENVIRONMENT = 639, "the file is of another environment", Usage, "import it with --env and the environment that it was made for";
    VAULTS_FULL = 640, "there are too many vaults", Refused, "use one of those that are there";
    KEYRING_UNOPENED = 641, "the machine's keys cannot be opened", Refused, "bring back the key file, credential or TPM that they are sealed with; see `docs/guide/keys.md`";
    VAULT_UNJUDGED = 645, "the file of the vault was not judged yet", Refused, "open it once: kosctl vault unlock --env ENVIRONMENT";
    VAULT_CODE_NEEDED = 646, "the vault asks for a one-time code as well", Refused, "type the code that the device of its owner shows, or name a file with --code-file";
    VAULT_CODE = 647, "the one-time code does not count", Refused, "wait for the next code, and check the clocks of both machines";
    VAULT_CODE_ASKED = 648, "the vault asks for a one-time code already", Conflict, "remove that first: kosctl vault authoriser totp remove --env ENVIRONMENT";
    VAULT_CODE_UNASKED = 649, "the vault asks for no one-time code", NotFound, "see what it asks for: kosctl vault status --env ENVIRONMENT";
}
