//! Every key of the configuration file: its section, its value, its default, an example and what it does.
//!
//! One table makes the shape that the file is read into and the page that documents it, so they cannot differ.

use core::{fmt::Display, str::FromStr};
use std::collections::BTreeMap;

use kos_base::{Capability, KeyId, Mac, Name, Role, SecurityProfile};
use kos_net::endpoints::{Endpoint, Pattern};

use super::{
    field::{
        CommandWord, CounterWord, DeviceIdPrefix, Discovery, Encryption, ExpectedKid, Fallback,
        HeartbeatInterval, HomeWord, ImageSigner, MachinePath, ManifestPolicy, OpenerWord, PairedWith,
        PcrsWord, Protocol, RootedPath, Serial, TokenName, TpmWord,
    },
    tree::{Entry, Fault, Lined, Node},
};
use crate::health::HealthCheck;

/// A value with the line that it stands on.
pub(super) type One<T> = Option<Lined<T>>;
/// A list of such values.
pub(super) type Many<T> = Option<Vec<Lined<T>>>;
/// Values under names that the owner of the file chooses.
pub(super) type Named<K, T> = Option<BTreeMap<K, Lined<T>>>;

/// Why the shape of the file is not read.
pub(super) enum Misshapen {
    /// A key that there is not, and those that there are.
    Unknown(Lined<String>, &'static [&'static str]),
    /// A value that its key does not take.
    Value(Fault),
}

/// What a key can hold.
trait Read: Sized {
    fn read(node: Lined<Node>) -> Result<Self, Fault>;
}

impl<T: FromStr<Err: Display>> Read for One<T> {
    fn read(node: Lined<Node>) -> Result<Self, Fault> {
        let line = node.line;
        let Some(text) = text(node)? else { return Ok(None) };
        let value = text.parse().map_err(|error: T::Err| Lined { line, value: error.to_string() })?;
        Ok(Some(Lined { line, value }))
    }
}

impl<T: FromStr<Err: Display>> Read for Many<T> {
    fn read(node: Lined<Node>) -> Result<Self, Fault> {
        let list = match node.value {
            Node::Nothing => return Ok(None),
            Node::List(list) => list,
            Node::Text(_) | Node::Map(_) => return Err(fault(node.line, "a list is expected here")),
        };
        let item = |node: Lined<Node>| {
            let line = node.line;
            One::read(node)?.ok_or_else(|| fault(line, "nothing, where a value is expected"))
        };
        list.into_iter().map(item).collect::<Result<_, _>>().map(Some)
    }
}

impl<K: FromStr<Err: Display> + Ord, T: FromStr<Err: Display>> Read for Named<K, T> {
    fn read(node: Lined<Node>) -> Result<Self, Fault> {
        let map = match node.value {
            Node::Nothing => return Ok(None),
            Node::Map(map) => map,
            Node::Text(_) | Node::List(_) => {
                return Err(fault(node.line, "names with values are expected here"));
            }
        };
        let mut read = BTreeMap::new();
        for Entry { key, value } in map {
            let (line, at) = (key.line, value.line);
            let name = key.value.parse().map_err(|error: K::Err| Lined { line, value: error.to_string() })?;
            let value = One::read(value)?.ok_or_else(|| fault(at, "nothing, where a value is expected"))?;
            read.insert(name, value);
        }
        Ok(Some(read))
    }
}

fn text(node: Lined<Node>) -> Result<Option<String>, Fault> {
    match node.value {
        Node::Nothing => Ok(None),
        Node::Text(text) => Ok(Some(text)),
        Node::List(_) | Node::Map(_) => Err(fault(node.line, "one value is expected here")),
    }
}

fn fault(line: u64, reason: &str) -> Fault {
    Lined { line, value: reason.to_owned() }
}

/// The keys of a section or of the file, with their values.
fn entries(node: Lined<Node>) -> Result<Vec<Entry>, Misshapen> {
    match node.value {
        Node::Nothing => Ok(Vec::new()),
        Node::Map(map) => Ok(map),
        Node::Text(_) | Node::List(_) => {
            Err(Misshapen::Value(fault(node.line, "keys with values are expected here")))
        }
    }
}

/// One key, for the reference page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// As YAML writes it.
    pub(super) example: &'static str,
    pub(super) otherwise: Otherwise,
    /// What it does, in sentences.
    pub(super) does: &'static str,
}

/// What holds when a key is absent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Otherwise {
    /// The same as with this value.
    Value(&'static str),
    /// Something that no value says.
    Words(&'static str),
}

macro_rules! sections {
    ($($section:ident: $shape:ident {
        $($(#[doc = $does:literal])+ $key:ident: $type:ty, like $example:literal, else $how:ident $default:literal;)+
    })+) => {
        /// The file as it is written.
        #[derive(Debug, Default)]
        pub(super) struct File { $(pub(super) $section: $shape,)+ }

        impl File {
            /// Reads the sections that are there.
            pub(super) fn read(node: Lined<Node>) -> Result<Self, Misshapen> {
                let mut file = Self::default();
                for Entry { key, value } in entries(node)? {
                    match key.value.as_str() {
                        $(stringify!($section) => file.$section = $shape::read(value)?,)+
                        _ => return Err(Misshapen::Unknown(key, &[$(stringify!($section),)+])),
                    }
                }
                Ok(file)
            }
        }

        $(
            #[derive(Debug, Default)]
            pub(super) struct $shape { $($(#[doc = $does])+ pub(super) $key: $type,)+ }

            impl $shape {
                fn read(node: Lined<Node>) -> Result<Self, Misshapen> {
                    let mut section = Self::default();
                    for Entry { key, value } in entries(node)? {
                        match key.value.as_str() {
                            $(stringify!($key) => {
                                section.$key = Read::read(value).map_err(Misshapen::Value)?;
                            })+
                            _ => return Err(Misshapen::Unknown(key, &[$(stringify!($key),)+])),
                        }
                    }
                    Ok(section)
                }
            }
        )+

        /// Every key, in the order of the reference page.
        pub(super) const KEYS: &[Key] = &[$($(Key {
            section: stringify!($section),
            name: stringify!($key),
            example: $example,
            otherwise: Otherwise::$how($default),
            does: concat!($($does,)+),
        },)+)+];
    };
}

sections! {
    identity: Identity {
        /// The device id that this machine is expected to have, whole or its first characters. Recorded before
        /// enrolment; afterwards another id is told as a warning, since this file then belongs to another device.
        device_id: One<DeviceIdPrefix>, like "kdev-7f4ac3", else Words "any";
        /// The kID that it is expected to have. Another authority or device, or a lower number, is told as a warning.
        kind_id: One<ExpectedKid>, like "k:auth/kdev-7f4ac3/001", else Words "any";
        /// Where the certificate is written for other programs to read, below ROOT. kosd itself never reads it.
        cert_path: One<RootedPath>, like "/etc/kos/identity.cert", else Value "/etc/kos/identity.cert";
        /// What the device asks to be called. A ticket that is bound to a name decides.
        name: One<Name>, like "kitchen", else Words "the host name";
        /// The role that it asks for: `gateway`, `sensor`, `companion`, `compute`, `actuator` or `relay`. A ticket for
        /// another one is refused.
        role: One<Role>, like "sensor", else Words "what the ticket gives; `compute` without one";
        /// The security profile that it asks for, `SEC-0` to `SEC-4`. A ticket that allows less is refused.
        profile: One<SecurityProfile>, like "SEC-1", else Words "what the ticket gives; `SEC-2` without one";
    }
    network: Network {
        /// The protocol to the authority. `klp` is the only one.
        protocol: One<Protocol>, like "klp", else Value "klp";
        /// How a device that is not enrolled finds its authority. `ticket`: at the addresses in the ticket. `fixed`: at
        /// those of `authority`. `mdns`: on the local network. `kDNS` is not there yet; it is told as `kdns-absent`, and
        /// `authority`, the ticket and mDNS are tried in this order.
        discovery_method: One<Discovery>, like "mdns", else Value "ticket";
        /// The carriers after QUIC, in the order in which they are tried: `tls`, `websocket`, `https` (the same as
        /// `websocket`), `klp` (QUIC again, which changes nothing). `mqtt` is not there yet; it is told as `mqtt-absent`
        /// and skipped. An empty list leaves QUIC alone. Carriers outside the role profile are never dialled.
        fallback: Many<Fallback>, like "[tls, https]", else Value "[tls, websocket]";
        /// Addresses of the authority, `host:port`. Needed by `fixed`.
        authority: Many<Endpoint>, like "[\"attic.example:8641\"]", else Value "[]";
        /// Key ids of the authority's root key, at most two: the one in use and perhaps the next. A ticket brings its
        /// own. Without any, a person compares six digits on both ends.
        pin: Many<KeyId>, like "[ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad]", else Value "[]";
        /// Seconds between heartbeats, 1 to 86400.
        heartbeat_s: One<HeartbeatInterval>, like "30", else Words "as the role profile says, 60 at first";
    }
    enrolment: Enrolment {
        /// PEM file with the public key of the device's maker, below ROOT. A voucher that this key signed for this device tells
        /// whose it is: it then needs neither ticket nor pin.
        maker: One<RootedPath>, like "/etc/kos/maker.pem", else Words "none";
        /// PEM file with the certificate that the maker issued for the identity key, and its issuers, below ROOT.
        certificate: One<RootedPath>, like "/etc/kos/factory.pem", else Words "none";
        /// The word of a device that is trusted already, as `kosd vouch` wrote it, below ROOT. It names the root key of the
        /// authority where `network.pin` does not.
        vouch: One<RootedPath>, like "/etc/kos/vouch", else Words "none";
    }
    services: Services {
        /// What the device tells that it offers, at most 32 words.
        capabilities: Many<Capability>, like "[telemetry, voice-assistant]", else Value "[]";
        /// The only addresses that kosd connects to: `name`, `*.name`, or an address, with or without `:port`. An empty
        /// list allows none.
        allowed_endpoints: Many<Pattern>, like "[\"*.kai.local\", \"control.kos\"]", else Words "all are allowed";
    }
    secrets: Secrets {
        /// The folder of keys and tokens, below ROOT. Nothing else holds any, but a key file that lies elsewhere.
        vault: One<RootedPath>, like "/etc/kos/secrets", else Value "/etc/kos/secrets";
        /// How keys are kept: `aes-256-gcm`, in a vault, `machine.json` in that folder. `none` is told as
        /// `always-encrypted` and changes nothing. The journal and the kID, which nobody can use without a key, are files
        /// (0600) that are not encrypted.
        encryption: One<Encryption>, like "aes-256-gcm", else Value "aes-256-gcm";
        /// How the vault opens when nobody is there. `key-file`: by a file, which is made with the first key.
        /// `credential`: by the systemd credential `kos-machine-key`. `tpm`: by a key that the machine's TPM sealed. A change
        /// is taken over at the next start, if the new key is there.
        opener: One<OpenerWord>, like "credential", else Value "key-file";
        /// Where the key file lies, below ROOT. On another medium it keeps the keys from whoever copies the disk.
        key_file: One<RootedPath>, like "/mnt/key/machine.key", else Words "`machine.key` in the folder of keys";
        /// Where signing keys are made and stay. `vault`: in the vault. `tpm`: in the TPM, which then proves itself and them to the authority. `token`: in a PKCS#11 token. The
        /// identity key stays where it was made; the others follow at their next renewal. The agreement key is always in
        /// the vault.
        keys: One<HomeWord>, like "tpm", else Value "vault";
        /// The TPM: `device:PATH`, `swtpm:HOST:PORT` or `swtpm:unix:PATH`. Its owner hierarchy has no password.
        tpm: One<TpmWord>, like "device:/dev/tpmrm0", else Value "device:/dev/tpmrm0";
        /// PCRs (SHA-256 bank) to whose values the TPM binds the key of the vault. Another start of the machine than the one
        /// that they tell of does not open it; neither does an update of what they measure.
        tpm_pcrs: One<PcrsWord>, like "\"4,7\"", else Words "none";
        /// The counter of the TPM that shows an older vault, for `opener: tpm`. `none`: no counter. Whoever has lost one says
        /// `none` for one start.
        tpm_counter: One<CounterWord>, like "0x01806b01", else Value "0x01806b01";
        /// The PKCS#11 library of the token's maker, for `keys: token`; a path of the machine.
        token_module: One<MachinePath>, like "/usr/lib/softhsm/libsofthsm2.so", else Words "none";
        /// The token's label or serial number.
        token: One<TokenName>, like "kos", else Words "none";
        /// The file with the PIN of the token, below ROOT: one line.
        token_pin_file: One<RootedPath>, like "/etc/kos/secrets/token.pin", else Value "/etc/kos/secrets/token.pin";
    }
    health: Health {
        /// Health checks by name, at most 12. The role profile has some of `disk`, `memory`, `load` and `clock`: a check
        /// of the same name replaces the profile's, the others are reported as well. A check is one of `disk-free
        /// PATH PERCENT`, `memory-free PERCENT`, `load PER_CPU`, `socket PATH`, `clock SECONDS`.
        checks: Named<Capability, HealthCheck>, like "{web: \"socket /run/web.sock\"}", else Value "{}";
    }
    image: Image {
        /// Who signs image manifests: base64 of the public key's SubjectPublicKeyInfo. Wins over /etc/kos/image.pub.
        signer: One<ImageSigner>, like "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", else Words "the key in /etc/kos/image.pub";
        /// What a boot without a manifest does. `report`: goes on and tells `image: unverified`. `require`: ends.
        policy: One<ManifestPolicy>, like "require", else Value "report";
    }
    bootloader: Bootloader {
        /// The command that locks the bootloader, run once after enrolment, without a shell. Its failure is recorded and
        /// keeps the device out of SEC-3 and SEC-4.
        lock_command: Many<CommandWord>, like "[/usr/sbin/fw_setenv, lock, \"1\"]", else Words "none";
    }
    pairing: Pairing {
        /// With whom pairings are confirmed without asking: `user:NAME` of the owner, `kai:ID`. Others wait for a person at
        /// the device (`kosd pair`). At most 8.
        accept: Many<PairedWith>, like "[\"user:anna\"]", else Words "each is asked about";
    }
    verifier: Verifier {
        /// JSON file, below ROOT, with the endorsement keys and golden sets by which this device judges others before these get
        /// SEC-4, once an operator of the authority has named it (`kosctl attest verifier add`). Read each time. Without it the
        /// device says that it cannot judge.
        file: One<RootedPath>, like "/etc/kos/verifier.json", else Words "none";
        /// PEM files, below ROOT, with roots of makers of TPMs that count for it. At most 16.
        ek_roots: Many<RootedPath>, like "[/etc/kos/tpm/maker.pem]", else Value "[]";
    }
    hardware: Hardware {
        /// Hardware addresses instead of those of the network cards, for machines that have none of their own.
        macs: Many<Mac>, like "[\"00:1a:2b:00:00:01\"]", else Words "those of the network cards";
        /// Serial numbers instead of those that the firmware tells.
        serials: Many<Serial>, like "[\"PF3XYZ12\"]", else Words "those that the firmware tells";
    }
}
